"""Mistakes in the description of HTTP tools are found before any is called."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_http.config import HttpConfig
from enclave_broker_http.shape import RequestShape
from pydantic import ValidationError

from enclave_broker_core import ConfigError, ToolSpec, check, open_broker

BASE = "https://a.example"


def config(request: dict[str, Any], **source: Any) -> HttpConfig:
    given = {"base_url": BASE, **source, "requests": [{"name": "t", **request}]}
    return HttpConfig.model_validate(given)


def spec_of(request: dict[str, Any]) -> ToolSpec:
    described = config(request)
    return RequestShape(described, described.requests[0]).spec("crm")


A = {"a": "string"}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"name": "no name"}, "tool name"),
        ({"method": "get"}, "GET"),
        ({"method": "CONNECT"}, "GET"),
        ({"url": "x"}, "begins with"),
        ({"url": "/{a"}, "stands alone"),
        ({"url": "/{a}"}, "'a' has a place, and is no parameter"),
        ({"url": "/{a}", "parameters": {"a": "string?"}}, "may be left out"),
        ({"url": "/{+a}", "parameters": {"a": "string?"}}, "may be left out"),
        ({"url": "/#x"}, "'#'"),
        ({"url": "/{#a}", "parameters": A}, "'#'"),
        ({"url": "/../x"}, "segment"),
        ({"url": "https://{a}.example/", "parameters": A}, "host without places"),
        ({"url": "https://a.example{a}", "parameters": A}, "host without places"),
        ({"url": "https://a.example:{a}/", "parameters": A}, "host without places"),
        ({"url": "https://user:pw@a.example/"}, "user or a password"),
        ({"url": "https://2130706433/"}, "odd spelling"),
        ({"url": "ftp://a.example/"}, "begins with"),
        ({"parameters": A}, "'a' has no place"),
        ({"parameters": {"a": "text"}}, "'text' is no type"),
        ({"parameters": A, "arguments": {}}, "either parameters or arguments"),
        (
            {"arguments": {"properties": {"a": {"type": "nothing"}}}, "query": {"q": "{a}"}},
            "JSON Schema",
        ),
        ({"arguments": {"type": "array"}}, "object"),
        ({"arguments": {"properties": ["a"]}}, "JSON Schema"),
        ({"arguments": {"required": "a"}}, "JSON Schema"),
        ({"arguments": {"properties": {"a": True}}}, "'a' has no place"),
        ({"query": {"q": "{a}"}}, "'a' has a place"),
        ({"query": {"q": "{*}"}, "parameters": A}, "{*}"),
        ({"body": {"json": "all: {*}"}, "parameters": A}, "{*}"),
        ({"url": "/x/./y"}, "segment"),
        ({"query": {"q": "{a"}}, "a place is written"),
        ({"query": {"q": "{a b}"}}, "a place is written"),
        ({"query": {"q": "{secret:}"}}, "a place is written"),
        ({"query": {"q": ["x"]}}, "query"),
        ({"headers": {"Host": "x"}}, "'Host' can't be set"),
        ({"headers": {"Content-Length": "1"}}, "can't be set"),
        ({"headers": {"X A": "1"}}, "can't be set"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "there twice"),
        ({"headers": {"X-A": "é"}}, "can't be sent"),
        ({"headers": {"X-A": "a\nb"}}, "can't be sent"),
        ({"headers": {"Content-Type": "text/x"}}, "content_type"),
        ({"body": {}}, "a body is one of"),
        ({"body": {"json": 1, "text": "x"}}, "a body is one of"),
        ({"body": {"content_type": "text/x"}}, "a body is one of"),
        ({"body": {"multipart": {}, "content_type": "text/x"}}, "of its own"),
        ({"body": {"text": "x", "content_type": "text/x\r\nX: 1"}}, "content_type"),
        ({"body": {"json": {"x": ["{a}"]}}}, "'a' has a place"),
        ({"body": {"multipart": {"f": {"content": "x", "filename": "{a}"}}}}, "'a' has a place"),
        ({"body": {"text": "{*}"}, "parameters": A}, "{*}"),
        ({"result": "bodies"}, "takes nothing"),
        ({"result": "header:"}, "takes nothing"),
        ({"result": "body/~2"}, "JSON pointer"),
        ({"result": {}}, "result"),
        ({"result": {"x": "nothing"}}, "takes nothing"),
        ({"allow_status": [99]}, "allow_status"),
        ({"retries": {"attempts": 100}}, "attempts"),
        ({"timeout": 90}, "longer than network.timeouts.total"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_request_is_refused(request_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(request_)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"base_url": ""}, "no base_url"),
        ({"base_url": "a.example"}, "begin with http"),
        ({"base_url": "https://a.example/?x=1"}, "has no query"),
        ({"base_url": "https://a.example/#y"}, "'#'"),
        ({"auth": {"type": "bearer"}}, "token"),
        ({"auth": {"type": "digest"}}, "digest"),
        ({"auth": {"type": "bearer", "token": "{a}"}}, "for secrets"),
        ({"auth": {"type": "bearer", "token": "x"}, "headers": {"authorization": "y"}}, "twice"),
        ({"network": {"allow_private": ["all"]}}, "allow_private"),
        ({"network": {"proxy": "http://a.example"}}, "proxy"),
    ],
)
def test_a_wrong_source_is_refused(source: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config({"url": "/x"}, **source)
    assert said in str(caught.value)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two requests have the name t"):
        HttpConfig.model_validate({"base_url": BASE, "requests": [{"name": "t"}, {"name": "t"}]})


def test_a_mistake_has_its_place_in_the_configuration() -> None:
    table = {"use": "http", "base_url": BASE, "requests": [{"name": "t", "url": "/{a}"}]}
    (mistake,) = check({"tools": [table]})
    assert mistake == "tools[0].requests[0]: the argument 'a' has a place, and is no parameter"


@pytest.mark.anyio
async def test_a_file_of_certificates_is_looked_for_beside_the_configuration(
    tmp_path: Any,
) -> None:
    table = {
        "use": "http",
        "base_url": BASE,
        "network": {"ca_file": "no-such.pem"},
        "requests": [{"name": "t"}],
    }
    with pytest.raises(ConfigError, match=r"no-such\.pem"):
        async with open_broker({"tools": [table]}):
            pass


# What the catalog says of a tool


@pytest.mark.parametrize(
    ("request_", "read_only", "idempotent"),
    [
        ({"method": "GET"}, True, True),
        ({"method": "HEAD"}, True, True),
        ({"method": "OPTIONS"}, True, True),
        ({"method": "QUERY"}, True, True),
        ({"method": "PUT"}, False, True),
        ({"method": "DELETE"}, False, True),
        ({"method": "POST"}, False, False),
        ({"method": "PATCH"}, False, False),
        ({"method": "POST", "read_only": True, "idempotent": True}, True, True),
        ({"method": "GET", "read_only": False}, False, True),
    ],
)
def test_marks_come_from_the_method(
    request_: dict[str, Any], read_only: bool, idempotent: bool
) -> None:
    spec = spec_of(request_)
    assert (spec.read_only, spec.idempotent) == (read_only, idempotent)


def test_the_catalog_says_all_that_was_described() -> None:
    request = {
        "name": "crm:find",
        "url": "/find{?q,limit}",
        "description": "Find people.",
        "parameters": {
            "q": {"type": "string", "description": "a part of the name"},
            "limit": {"type": "integer", "default": 10, "maximum": 100},
        },
        "output_schema": {"type": "array"},
        "tags": ["crm"],
        "deprecated": True,
        "timeout": 5,
        "rate_limit": {"max_calls": 3, "window": 60},
        "requires_auth": True,
        "headers": {"X-Key": "{secret:CRM_KEY}"},
    }
    spec = spec_of(request)
    assert spec.input_schema == {
        "type": "object",
        "properties": {
            "q": {"type": "string", "description": "a part of the name"},
            "limit": {"type": "integer", "default": 10, "maximum": 100},
        },
        "required": ["q"],
        "additionalProperties": False,
    }
    assert (spec.name, spec.source, spec.secrets) == ("crm:find", "crm", ("CRM_KEY",))
    assert (spec.tags, spec.deprecated, spec.requires_auth) == (frozenset({"crm"}), True, True)
    assert spec.description == "Find people."
    assert spec.output_schema == {"type": "array"}
    assert (spec.timeout, spec.rate_limit and spec.rate_limit.max_calls) == (5.0, 3)
