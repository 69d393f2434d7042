"""What goes on the wire for what was described, by the bytes that a server got."""

from __future__ import annotations

from typing import Any

import pytest
from http_source import calling
from raw_http import Received, answer, raw_server

from enclave_broker_core import ArgumentsError

pytestmark = pytest.mark.anyio

OK = answer(200, [("Content-Type", "application/json")], b'"ok"')
PNG = "iVBORw0KGgo="


async def sent(
    request: dict[str, Any], arguments: dict[str, Any] | None = None, **options: Any
) -> Received:
    async with raw_server(OK) as server, calling(server, request, **options) as session:
        assert await session.call("t", arguments or {}) == "ok"
    (got,) = server.got
    return got


ONE = {"a": "string?"}
ANY: dict[str, Any] = {"a": {"required": False}}


@pytest.mark.parametrize(
    ("request_", "arguments", "target"),
    [
        ({"url": "/x"}, {}, "/x"),
        ({"url": ""}, {}, "/"),
        ({"url": "?x=1"}, {}, "/?x=1"),
        ({"url": "/x/{a}", "parameters": {"a": "string"}}, {"a": "b c"}, "/x/b%20c"),
        ({"url": "/x{/a}", "parameters": ONE}, {}, "/x"),
        ({"url": "{/a}", "parameters": ONE}, {"a": "y"}, "/y"),
        ({"url": "{?a}", "parameters": ONE}, {"a": "y"}, "/?a=y"),
        (
            {"url": "/x", "query": {"q": "{a}"}, "parameters": ONE},
            {"a": "y z&=#?"},
            "/x?q=y%20z%26%3D%23%3F",
        ),
        ({"url": "/x", "query": {"q": "{a}"}, "parameters": ONE}, {}, "/x"),
        ({"url": "/x", "query": {"q": "{a}"}, "parameters": ONE}, {"a": ""}, "/x?q="),
        (
            {"url": "/x?p=1", "query": {"q": "{a}", "r": 2}, "parameters": ONE},
            {"a": "3"},
            "/x?p=1&q=3&r=2",
        ),
        ({"url": "/x{?a}", "query": {"q": True}, "parameters": ONE}, {"a": "3"}, "/x?a=3&q=true"),
        ({"url": "/x", "query": {"q": "<{a}>"}, "parameters": ONE}, {"a": "3"}, "/x?q=%3C3%3E"),
        ({"url": "/x", "query": {"q": "<{a}>"}, "parameters": ONE}, {}, "/x"),
        (
            {"url": "/x", "query": {"q": "{a}"}, "parameters": ANY},
            {"a": [1, None, "b"]},
            "/x?q=1&q=b",
        ),
        ({"url": "/x", "query": {"q": "{a}"}, "parameters": ANY}, {"a": []}, "/x"),
        ({"url": "/x", "query": {"q": "{a}"}, "parameters": ANY}, {"a": None}, "/x"),
        ({"url": "/x", "query": {"q": "{a}"}, "parameters": ANY}, {"a": 1.5}, "/x?q=1.5"),
        (
            {"url": "/x", "query": {"a b[]": "{{{a}}}"}, "parameters": ONE},
            {"a": "1"},
            "/x?a%20b%5B%5D=%7B1%7D",
        ),
        ({"url": "/x/{a}", "parameters": {"a": {"type": "integer", "default": 3}}}, {}, "/x/3"),
    ],
)
async def test_targets(request_: dict[str, Any], arguments: dict[str, Any], target: str) -> None:
    assert (await sent(request_, arguments)).target == target


async def test_a_base_url_may_have_a_path() -> None:
    async with raw_server(OK) as server:
        for base in (f"{server.url}/api", f"{server.url}/api/"):
            async with calling(server, {"url": "/x"}, base_url=base) as session:
                await session.call("t")
        async with calling(server, {"url": f"{server.url}/whole"}, base_url="") as session:
            await session.call("t")
    assert [one.target for one in server.got] == ["/api/x", "/api/x", "/whole"]


@pytest.mark.parametrize(
    ("headers", "arguments", "name", "value"),
    [
        ({"X-A": "{a}"}, {"a": "b c"}, "x-a", "b c"),
        ({"X-A": "<{a}/{a}>"}, {"a": "b"}, "x-a", "<b/b>"),
        ({"X-A": "{a}"}, {}, "x-a", None),
        ({"X-A": "{a}"}, {"a": ""}, "x-a", ""),
        ({"X-A": 5, "X-B": "{a}"}, {}, "x-a", "5"),
        ({"Accept": "text/x", "X-B": "{a}"}, {}, "accept", "text/x"),
        ({"User-Agent": "me", "X-B": "{a}"}, {}, "user-agent", "me"),
    ],
)
async def test_headers(
    headers: dict[str, Any], arguments: dict[str, Any], name: str, value: str | None
) -> None:
    got = await sent({"headers": headers, "parameters": ONE}, arguments)
    assert got.header(name) == value


async def test_headers_and_query_of_the_source_hold_for_all() -> None:
    got = await sent(
        {"headers": {"x-b": "own"}, "query": {"v": "own"}},
        headers={"X-A": "all", "X-B": "all"},
        query={"u": 1, "v": 2},
    )
    assert (got.header("x-a"), got.header("x-b")) == ("all", "own")
    assert got.target == "/?u=1&v=own"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (None, "Bearer all"),
        (False, None),
        ({"type": "bearer", "token": "own"}, "Bearer own"),
        ({"type": "basic", "username": "ä", "password": "b:c"}, "Basic w6Q6Yjpj"),
    ],
)
async def test_a_request_may_have_its_own_credentials(auth: Any, expected: str | None) -> None:
    request = {} if auth is None else {"auth": auth}
    got = await sent(request, auth={"type": "bearer", "token": "all"})
    assert got.header("authorization") == expected


BODY: dict[str, Any] = {"a": {"required": False}, "b": {"required": False}}


@pytest.mark.parametrize(
    ("body", "arguments", "content", "content_type"),
    [
        ({"json": "{a}"}, {"a": {"x": [1, None]}}, '{"x":[1,null]}', "application/json"),
        ({"json": "{a}"}, {"a": "text"}, '"text"', "application/json"),
        ({"json": "{a}"}, {"a": None}, "null", "application/json"),
        ({"json": "{a}"}, {}, "", None),
        ({"json": "{*}"}, {"a": 1, "b": "2"}, '{"a":1,"b":"2"}', "application/json"),
        ({"json": "{*}"}, {}, "{}", "application/json"),
        (
            {"json": {"all": "{*}", "a": "{a}"}},
            {"a": 1, "b": 2},
            '{"all":{"b":2},"a":1}',
            "application/json",
        ),
        (
            {"json": {"x": "{a}", "y": True, "z": ["{b}", 1]}},
            {"a": 1.5},
            '{"x":1.5,"y":true,"z":[1]}',
            "application/json",
        ),
        (
            {"json": {"x": "<{a}>", "{a}": 1}},
            {"a": 'q"}'},
            '{"x":"<q\\"}>","{a}":1}',
            "application/json",
        ),
        (
            {"json": "{a}", "content_type": "application/merge-patch+json"},
            {"a": 1},
            "1",
            "application/merge-patch+json",
        ),
        (
            {"form": {"x": "{a}", "y": "{b}", "z": 1}},
            {"a": "b c&d=é"},
            "x=b+c%26d%3D%C3%A9&z=1",
            "application/x-www-form-urlencoded",
        ),
        (
            {"form": {"x y": "{a}"}},
            {"a": [1, "2", None]},
            "x+y=1&x+y=2",
            "application/x-www-form-urlencoded",
        ),
        ({"text": "Hello {a}!"}, {"a": "é\r\n"}, "Hello é\r\n!", "text/plain; charset=utf-8"),
        ({"text": "{a}"}, {}, "", None),
        ({"text": "{a}", "content_type": "text/csv"}, {"a": "1;2"}, "1;2", "text/csv"),
        ({"bytes": "{a}"}, {"a": "aGVsbG8="}, "hello", "application/octet-stream"),
        ({"bytes": "{a}", "content_type": "image/png"}, {"a": ""}, "", "image/png"),
    ],
)
async def test_bodies(
    body: dict[str, Any], arguments: dict[str, Any], content: str, content_type: str | None
) -> None:
    used = f"{body}"
    parameters = {name: each for name, each in BODY.items() if f"{{{name}}}" in used or "*" in used}
    got = await sent({"method": "POST", "body": body, "parameters": parameters}, arguments)
    assert got.body.decode() == content
    assert got.header("content-type") == content_type


async def test_multipart() -> None:
    body = {
        "multipart": {
            "title": "{a}",
            "tags": "{tags}",
            "missing": "{b}",
            'odd"name\n': "1",
            "file": {"content": "{data}", "filename": "{name}", "base64": True},
            "note": {"content": "n", "content_type": "text/markdown"},
        }
    }
    parameters = {
        "a": "string",
        "b": "string?",
        "tags": "array",
        "data": "string",
        "name": "string",
    }
    arguments = {"a": "x\r\n--y", "tags": ["1", 2], "data": PNG, "name": 'a"\r\nX: ä.png'}
    got = await sent({"method": "POST", "body": body, "parameters": parameters}, arguments)
    kind, _, boundary = str(got.header("content-type")).partition("; boundary=")
    assert kind == "multipart/form-data"
    first, *parts, last = (b"\r\n" + got.body).split(f"\r\n--{boundary}".encode())
    assert (first, last) == (b"", b"--\r\n")
    disposition = b"\r\nContent-Disposition: form-data; name="
    assert parts == [
        disposition + b'"title"\r\n\r\nx\r\n--y',
        disposition + b'"tags"\r\n\r\n1',
        disposition + b'"tags"\r\n\r\n2',
        disposition + b'"odd%22name%0A"\r\n\r\n1',
        disposition
        + '"file"; filename="a%22%0D%0AX: ä.png"'.encode()
        + b"\r\nContent-Type: application/octet-stream\r\n\r\n\x89PNG\r\n\x1a\n",
        disposition + b'"note"\r\nContent-Type: text/markdown\r\n\r\nn',
    ]


@pytest.mark.parametrize(
    ("request_", "arguments", "field"),
    [
        ({"url": "/x/{a}"}, {"a": ".."}, "a"),
        ({"url": "/x/{a}/y"}, {"a": "%2e%2e"}, "a"),
        ({"url": "/x/{a}"}, {"a": "b/c"}, "a"),
        ({"url": "/x/{a}"}, {"a": ""}, "a"),
        ({"url": "/x/{a}"}, {"a": "b\r\nX: 1"}, "a"),
        ({"headers": {"X-A": "{a}"}}, {"a": "b\r\nX-Evil: 1"}, "a"),
        ({"headers": {"X-A": "{a}"}}, {"a": "b\0"}, "a"),
        ({"headers": {"X-A": "{a}"}}, {"a": " b"}, "a"),
        ({"headers": {"X-A": "({a})"}}, {"a": "é"}, "a"),
        ({"headers": {"X-A": "{a}"}}, {"a": ["b"]}, "a"),
        ({"query": {"q": "-{a}"}}, {"a": {"b": 1}}, "a"),
        ({"query": {"q": "{a}"}}, {"a": [[1]]}, "a"),
        ({"method": "POST", "body": {"text": "{a}"}}, {"a": [1]}, "a"),
        ({"method": "POST", "body": {"bytes": "{a}"}}, {"a": "no base64!"}, "a"),
        ({"method": "POST", "body": {"bytes": "{a}"}}, {"a": "é"}, "a"),
    ],
)
async def test_arguments_that_can_not_stand_there_are_refused(
    request_: dict[str, Any], arguments: dict[str, Any], field: str
) -> None:
    wanted = {**request_, "parameters": {"a": {}}}
    async with raw_server(OK) as server, calling(server, wanted) as session:
        with pytest.raises(ArgumentsError) as caught:
            await session.call("t", arguments)
    assert [name for name, _ in caught.value.fields] == [field]
    assert server.got == []


async def test_a_path_that_arguments_make_together_is_refused() -> None:
    request = {"url": "/x/{a}{b}/y", "parameters": {"a": "string", "b": "string"}}
    async with raw_server(OK) as server, calling(server, request) as session:
        for a, b in (("%2", "e"), ("%252", "e%252e")):
            with pytest.raises(ArgumentsError):
                await session.call("t", {"a": a, "b": b})
    assert server.got == []
