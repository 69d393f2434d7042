"""The catalog as model APIs and MCP take it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, cast

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from enclave_broker_core import (
    AccessController,
    ArgumentsError,
    Broker,
    ConfigError,
    Principal,
    ToolSpec,
)
from enclave_broker_core.export import FORMATS, exported

anyio_test = pytest.mark.anyio

FORMAT_NAMES = ["openai", "openai-responses", "anthropic", "mcp"]


class User(BaseModel):
    id: int
    name: str | None = None


class Node(BaseModel):
    value: int
    next: Node | None = None


def broker_of() -> Broker:
    rules: list[Any] = [
        {"pattern": "admin:*", "allow": False, "unless": {"role": "admin"}},
        {"pattern": "files:*", "allow": "ask"},
    ]
    broker = Broker(access=AccessController(rules, default="allow"))

    @broker.tool("users:get", read_only=True, idempotent=True)
    async def get_user(
        id: Annotated[int, Field(description="Whose.")], brief: bool = False
    ) -> User:
        """Look a user up."""
        return User(id=id)

    @broker.tool("admin:stop", deprecated=True)
    async def stop() -> None: ...

    @broker.tool("files:delete")
    async def delete(path: str) -> None: ...

    @broker.tool("tree", model=Node, deprecated=True)
    async def tree(node: Node) -> Node:
        """Plant a tree."""
        return node

    @broker.tool("db:*")
    async def database(name: str, args: dict[str, Any]) -> str:
        return name

    return broker


def parameters(format: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    inside = tool["function"] if format == "openai" else tool
    key = {"anthropic": "input_schema", "mcp": "inputSchema"}.get(format, "parameters")
    return cast("dict[str, Any]", inside[key])


USER_ARGUMENTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer", "title": "Id", "description": "Whose."},
        "brief": {"type": "boolean", "title": "Brief", "default": False},
    },
    "required": ["id"],
}
USER = {
    "type": "object",
    "title": "User",
    "properties": {
        "id": {"type": "integer", "title": "Id"},
        "name": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "default": None,
            "title": "Name",
        },
    },
    "required": ["id"],
}


@anyio_test
@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (
            "openai",
            {
                "type": "function",
                "function": {
                    "name": "users_get",
                    "description": "Look a user up.",
                    "parameters": USER_ARGUMENTS,
                },
            },
        ),
        (
            "openai-responses",
            {
                "type": "function",
                "name": "users_get",
                "description": "Look a user up.",
                "parameters": USER_ARGUMENTS,
                "strict": False,
            },
        ),
        (
            "anthropic",
            {
                "name": "users_get",
                "description": "Look a user up.",
                "input_schema": USER_ARGUMENTS,
            },
        ),
        (
            "mcp",
            {
                "name": "users_get",
                "title": "users:get",
                "description": "Look a user up.",
                "inputSchema": USER_ARGUMENTS,
                "outputSchema": USER,
                "annotations": {"readOnlyHint": True, "idempotentHint": True},
            },
        ),
    ],
)
async def test_each_format(format: str, expected: dict[str, Any]) -> None:
    async with broker_of() as broker:
        assert (await broker.export(format))[0] == expected


def names(tools: list[dict[str, Any]]) -> list[str]:
    return [tool["name"] for tool in tools]


@anyio_test
async def test_only_the_tools_that_the_caller_may_use_in_that_session() -> None:
    admin = Principal(id="ada", roles=frozenset({"admin"}))
    async with broker_of() as broker:
        assert names(await broker.export("mcp")) == ["users_get", "tree"]
        all_of_hers = ["users_get", "admin_stop", "tree"]
        assert names(await broker.export("mcp", principal=admin)) == all_of_hers
        session = await broker.create_session(principal=admin, allowed_tools=["admin:*", "tree"])
        assert names(await broker.export("mcp", session=session)) == ["admin_stop", "tree"]
        other = Principal(id="eve")
        assert names(await broker.export("mcp", session=session, principal=other)) == ["tree"]


@anyio_test
async def test_deprecated_is_said_and_no_description_is_none() -> None:
    admin = Principal(id="ada", roles=frozenset({"admin"}))
    async with broker_of() as broker:
        tools = {tool["name"]: tool for tool in await broker.export("anthropic", principal=admin)}
        shown = exported("openai", {"bare": ToolSpec(name="bare")})
    assert tools["tree"]["description"] == "Deprecated. Plant a tree."
    assert tools["admin_stop"]["description"] == "Deprecated."
    assert shown == [
        {
            "type": "function",
            "function": {
                "name": "bare",
                "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
            },
        }
    ]


@anyio_test
@pytest.mark.parametrize("format", FORMAT_NAMES)
async def test_a_schema_that_is_a_reference_is_what_it_refers_to(format: str) -> None:
    async with broker_of() as broker:
        tree = (await broker.export(format))[1]
    schema = parameters(format, tree)
    assert "$ref" not in schema
    assert (schema["type"], schema["required"]) == ("object", ["value"])
    check = jsonschema_rs.validator_for(schema)
    assert check.is_valid({"value": 1, "next": {"value": 2, "next": None}})
    assert not check.is_valid({"value": 1, "next": {"value": "x"}})
    if format == "mcp":
        assert tree["outputSchema"]["type"] == "object"
        assert "$ref" not in tree["outputSchema"]


@pytest.mark.parametrize("format", ["openai", "openai-responses", "anthropic"])
def test_what_model_apis_refuse_at_the_top_is_left_out(format: str) -> None:
    schema: dict[str, Any] = {
        "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "b": {}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        "not": {"required": ["c"]},
        "anyOf": [{"required": ["a"]}, {}],
        "allOf": [{}],
        "enum": [{"a": "x"}, {"b": 1}],
    }
    spec = ToolSpec(name="either", input_schema=schema)
    shown = parameters(format, exported(format, {"either": spec})[0])
    assert shown == {"type": "object", "properties": schema["properties"]}
    whole = exported("mcp", {"either": spec})[0]["inputSchema"]
    assert whole == {"type": "object", **schema}


@pytest.mark.parametrize("output", [{"type": "array"}, {"anyOf": [{"type": "object"}]}, {}, None])
def test_mcp_results_that_are_no_objects_have_no_schema(output: dict[str, Any] | None) -> None:
    tool = exported("mcp", {"t": ToolSpec(name="t", output_schema=output)})[0]
    assert "outputSchema" not in tool
    assert "title" not in tool  # the name says it all


def test_a_default_that_json_can_not_hold() -> None:
    infinite = {"type": "number", "default": float("inf")}
    spec = ToolSpec(name="t", input_schema={"type": "object", "properties": {"x": infinite}})
    shown = exported("anthropic", {"t": spec})[0]["input_schema"]
    assert shown["properties"] == {"x": {"type": "number", "default": None}}


def test_what_is_exported_is_not_the_catalog_s_own() -> None:
    spec = ToolSpec(name="t", input_schema={"type": "object", "properties": {"a": {}}})
    exported("openai", {"t": spec})[0]["function"]["parameters"]["properties"]["a"]["type"] = "null"
    assert spec.input_schema == {"type": "object", "properties": {"a": {}}}


@anyio_test
@pytest.mark.parametrize("format", ["", "OpenAI", "gemini", "x" * 9999])
async def test_a_format_that_there_is_not(format: str) -> None:
    async with broker_of() as broker:
        with pytest.raises(ArgumentsError) as caught:
            await broker.export(format)
    assert str(caught.value).endswith("there are: openai, openai-responses, anthropic, mcp")
    assert len(str(caught.value)) < 200


@anyio_test
async def test_a_broker_that_is_not_open() -> None:
    with pytest.raises(ConfigError, match="not open"):
        await broker_of().export("openai")


tool_names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}", fullmatch=True)
leaves = st.sampled_from([{"type": "string"}, {"type": "integer", "minimum": 0}, {}, True])
schemas = st.fixed_dictionaries(
    {"properties": st.dictionaries(st.text(max_size=8), leaves, max_size=4)},
    optional={
        "type": st.just("object"),
        "additionalProperties": st.booleans(),
        "anyOf": st.lists(leaves, min_size=1, max_size=2),
        "description": st.text(max_size=20),
    },
)


@given(st.dictionaries(tool_names, st.tuples(schemas, st.text(max_size=40)), max_size=5))
def test_any_catalog_has_names_that_fit_and_schemas_that_are_schemas(
    tools: dict[str, tuple[dict[str, Any], str]],
) -> None:
    broker = Broker()
    for name, (schema, description) in tools.items():
        broker.tool(name, schema=schema, description=description)(_any)
    catalog = broker._registry.current
    specs = {outer: catalog.tools[name].spec for outer, name in catalog.external.items()}
    assert len(specs) == len(tools)
    for format in FORMATS:
        for tool in exported(format, specs):
            inside = tool["function"] if format == "openai" else tool
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", inside["name"])
            shown = parameters(format, tool)
            jsonschema_rs.meta.validate(shown)
            assert shown["type"] == "object"
            own = specs[inside["name"]]
            assert shown["properties"] == own.input_schema["properties"]
            assert inside.get("description", "") == own.description


async def _any(arguments: dict[str, Any]) -> None: ...
