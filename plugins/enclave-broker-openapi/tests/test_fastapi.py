"""A service whose document FastAPI wrote: what it receives is what was meant."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from openapi_service import application

from enclave_broker_core.errors import ArgumentsError, ToolError

pytestmark = pytest.mark.anyio

AUTH = {
    # Of fewer than eight characters: longer ones would be blotted out of what comes back.
    "HTTPBasic": {"type": "basic", "username": "ada", "password": "a:b c"},
    "HTTPBearer": {"type": "bearer", "token": "{secret:TOKEN}"},
    "APIKeyHeader": {"type": "api_key", "key": "h-key"},
    "APIKeyQuery": {"type": "api_key", "key": "q key&"},
    "APIKeyCookie": {"type": "api_key", "key": "c-key"},
}
SECRETS = {"TOKEN": "b-token"}
ITEM = {"name": "x", "price": 1.5, "tags": ["a", "b"], "pet": None, "when": "2026-01-31"}
TREE = {"name": "a", "children": [{"name": "b", "children": [{"name": "c", "children": []}]}]}
BINARY = base64.b64encode(bytes(range(256))).decode()

# Tool, arguments, and what the service says it got: the arguments themselves unless given.
CALLS: list[tuple[str, dict[str, Any], Any]] = [
    (
        "paths_path__text___number___colour__get",
        {"text": "a b?#%é", "number_path": -3, "colour": "blue", "number_query": 0.25},
        {"text": "a b?#%é", "number": -3, "colour": "blue", "ratio": 0.25},
    ),
    (
        "queries_query_get",
        {"q": "a&b=c+d e", "many": [3, 1], "flag": True, "when": "2026-02-03", "odd_name": "é"},
        {"q": "a&b=c+d e", "many": [3, 1], "flag": True, "when": "2026-02-03", "odd": "é"},
    ),
    (
        "queries_query_get",
        {"q": ""},
        {"q": "", "many": [], "flag": False, "when": None, "odd": None},
    ),
    (
        "filtered_filter_get",
        {"limit": 5, "tags": ["x,y", "z"]},
        {"limit": 5, "order_by": "a", "tags": ["x,y", "z"]},
    ),
    (
        "headers_headers_get",
        {"user-agent": "me/1.0 (x; y)", "x-number": 7},
        {"user_agent": "me/1.0 (x; y)", "x_number": 7},
    ),
    ("header_lists_header_lists_get", {"x-many": ["a", "b"]}, ["a", "b"]),
    ("cookies_cookies_get", {"session": "s-1=", "level": 2}, {"session": "s-1=", "level": 2}),
    ("create_item_items_post", {"body": ITEM}, ITEM),
    (
        "create_item_items_post",
        {"body": {"name": "x", "pet": {"kind": "dog", "barks": True}}},
        {
            "name": "x",
            "price": None,
            "tags": [],
            "pet": {"kind": "dog", "barks": True},
            "when": None,
        },
    ),
    (
        "update_item_items__item_id__put",
        {"item_id": 4, "body": {"item": ITEM, "owner": {"user": "u", "password": "p"}}},
        {"item_id": 4, "item": ITEM, "owner": {"user": "u", "password": "p"}, "weight": 1},
    ),
    ("tree_tree_post", {"body": TREE}, TREE),
    ("scalar_scalar_post", {"body": 5}, 5),
    ("listed_list_post", {"body": [ITEM, ITEM]}, [ITEM, ITEM]),
    (
        "form_form_post",
        {"body": {"user": "a&b= é+", "many": [1, 2], "note": "x\r\ny"}},
        {"user": "a&b= é+", "many": [1, 2], "note": "x\r\ny"},
    ),
    (
        "form_model_form_model_post",
        {"body": {"user": "u", "password": "%&="}},
        {"user": "u", "password": "%&="},
    ),
    (
        "files_files_post",
        {
            "body": {
                "one": {
                    "base64": BINARY,
                    "filename": "é b;c.png",
                    "content_type": "image/png",
                },
                "raw": {"base64": BINARY},
                "title": "ü\r\n--x",
                "many": ["first", {"text": "second", "filename": "2.txt"}],
            }
        },
        {
            "one": ["é b;c.png", "image/png", BINARY],
            "raw": BINARY,
            "title": "ü\r\n--x",
            "many": [["many", "first"], ["2.txt", "second"]],
        },
    ),
    ("basic_basic_get", {}, ["ada", "a:b c"]),
    ("bearer_bearer_get", {}, "b-token"),
    ("key_in_header_key_in_header_get", {}, "h-key"),
    ("key_in_query_key_in_query_get", {"q": "x"}, ["x", "q key&"]),
    ("key_in_cookie_key_in_cookie_get", {}, "c-key"),
    ("open_to_all_open_get", {}, []),
    ("text_text_get", {}, "plain"),
    ("raw_bytes_get", {}, {"base64": "AP8=", "content_type": "application/x-thing"}),
    ("nothing_nothing_delete", {}, None),
]


@pytest.fixture(scope="module")
def url(serve: Callable[[Any], str]) -> str:
    return serve(application())


async def test_the_service_receives_what_was_meant(
    url: str, open_tools: Any, call: Callable[..., Any]
) -> None:
    async with open_tools(spec=f"{url}/openapi.json", auth=AUTH, header_lists="lines") as provider:
        assert provider.outcome.broken == [], provider.outcome.broken
        assert provider.outcome.notes == []
        names = {tool.spec.name for tool in await provider.tools()}
        assert names == {f"api:{name}" for name, _, _ in CALLS} | {"api:missing_missing_get"}
        for name, arguments, expected in CALLS:
            received = await call(provider, f"api:{name}", arguments, SECRETS)
            assert received == expected, name


async def test_what_a_service_says_of_its_credentials_is_not_shown(
    url: str, open_tools: Any, call: Callable[..., Any]
) -> None:
    auth = {"HTTPBearer": {"type": "bearer", "token": "a-long-token-of-words"}}
    auth["APIKeyHeader"] = {"type": "api_key", "key": "{secret:KEY}"}
    async with open_tools(spec=f"{url}/openapi.json", auth=auth) as provider:
        assert await call(provider, "api:bearer_bearer_get") == "[secret]"
        name = "api:key_in_header_key_in_header_get"
        assert await call(provider, name, secrets={"KEY": "key-of-today"}) == "[secret]"
        assert await call(provider, name, secrets={"KEY": "key-of-tomorrow"}) == "[secret]"


async def test_what_the_service_refuses_is_told(
    url: str, open_tools: Any, call: Callable[..., Any]
) -> None:
    async with open_tools(spec=f"{url}/openapi.json") as provider:
        with pytest.raises(ToolError, match=r"with status 404: .*there is no such thing"):
            await call(provider, "api:missing_missing_get")


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "%2e%2e", "a\r\nb", "..%2f"])
async def test_a_path_argument_stays_in_its_place(
    url: str, open_tools: Any, call: Callable[..., Any], text: str
) -> None:
    async with open_tools(spec=f"{url}/openapi.json") as provider:
        arguments = {"text": text, "number_path": 1, "colour": "red", "number_query": 1}
        with pytest.raises(ArgumentsError) as caught:
            await call(provider, "api:paths_path__text___number___colour__get", arguments)
        assert caught.value.code == "VALIDATION_ERROR"
        assert caught.value.fields[0][0] == "text"


async def test_the_schemas_are_those_of_the_document(url: str, open_tools: Any) -> None:
    async with open_tools(spec=f"{url}/openapi.json") as provider:
        tools = {tool.spec.name: tool.spec for tool in await provider.tools()}
    spec = tools["api:tree_tree_post"]
    assert spec.input_schema["properties"]["body"] == {"$ref": "#/$defs/Node-Input"}
    assert spec.input_schema["required"] == ["body"]
    node = spec.input_schema["$defs"]["Node-Input"]
    assert node["properties"]["children"]["items"] == {"$ref": "#/$defs/Node-Input"}
    assert spec.output_schema is not None
    assert spec.output_schema["$ref"] == "#/$defs/Node-Output"
    assert (spec.read_only, spec.idempotent) == (False, False)
    assert tools["api:queries_query_get"].read_only
    put = tools["api:update_item_items__item_id__put"]
    assert (put.read_only, put.idempotent) == (False, True)
