"""Every style with every explode and every type, as the specification's own table has them."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_documents import header_of, one, request_of, target_of

from enclave_broker_core.errors import ArgumentsError

STRING, ARRAY, OBJECT = "blue", ["blue", "black", "brown"], {"R": 100, "G": 200, "B": 150}
EMPTY = ""
REFUSED = None

# Of the tables "Style Examples" of OpenAPI 3.0.4, 3.1.1 and 3.2.0, and for those places
# in which a style may stand.
IN_PATH = [
    ("matrix", False, EMPTY, ";color"),
    ("matrix", False, STRING, ";color=blue"),
    ("matrix", False, ARRAY, ";color=blue,black,brown"),
    ("matrix", False, OBJECT, ";color=R,100,G,200,B,150"),
    ("matrix", True, EMPTY, ";color"),
    ("matrix", True, STRING, ";color=blue"),
    ("matrix", True, ARRAY, ";color=blue;color=black;color=brown"),
    ("matrix", True, OBJECT, ";R=100;G=200;B=150"),
    # "." alone would be the folder itself.
    ("label", False, EMPTY, REFUSED),
    ("label", False, STRING, ".blue"),
    ("label", False, ARRAY, ".blue,black,brown"),
    ("label", False, OBJECT, ".R,100,G,200,B,150"),
    ("label", True, EMPTY, REFUSED),
    ("label", True, STRING, ".blue"),
    ("label", True, ARRAY, ".blue.black.brown"),
    ("label", True, OBJECT, ".R=100.G=200.B=150"),
    # Nothing at all would be another path.
    ("simple", False, EMPTY, REFUSED),
    ("simple", False, STRING, "blue"),
    ("simple", False, ARRAY, "blue,black,brown"),
    ("simple", False, OBJECT, "R,100,G,200,B,150"),
    ("simple", True, EMPTY, REFUSED),
    ("simple", True, STRING, "blue"),
    ("simple", True, ARRAY, "blue,black,brown"),
    ("simple", True, OBJECT, "R=100,G=200,B=150"),
]
IN_QUERY = [
    ("form", False, EMPTY, "color="),
    ("form", False, STRING, "color=blue"),
    ("form", False, ARRAY, "color=blue,black,brown"),
    ("form", False, OBJECT, "color=R,100,G,200,B,150"),
    ("form", True, EMPTY, "color="),
    ("form", True, STRING, "color=blue"),
    ("form", True, ARRAY, "color=blue&color=black&color=brown"),
    ("form", True, OBJECT, "R=100&G=200&B=150"),
    ("spaceDelimited", False, ARRAY, "color=blue%20black%20brown"),
    ("spaceDelimited", False, OBJECT, "color=R%20100%20G%20200%20B%20150"),
    ("pipeDelimited", False, ARRAY, "color=blue%7Cblack%7Cbrown"),
    ("pipeDelimited", False, OBJECT, "color=R%7C100%7CG%7C200%7CB%7C150"),
    ("deepObject", False, OBJECT, "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
    ("deepObject", True, OBJECT, "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
    # What the table has no entry for.
    ("spaceDelimited", True, ARRAY, "color=blue&color=black&color=brown"),
    ("pipeDelimited", True, ARRAY, "color=blue&color=black&color=brown"),
    ("deepObject", True, STRING, "color=blue"),
]
IN_HEADER = [
    ("simple", False, EMPTY, ""),
    ("simple", False, STRING, "blue"),
    ("simple", False, ARRAY, "blue,black,brown"),
    ("simple", False, OBJECT, "R,100,G,200,B,150"),
    ("simple", True, EMPTY, ""),
    ("simple", True, STRING, "blue"),
    ("simple", True, ARRAY, "blue,black,brown"),
    ("simple", True, OBJECT, "R=100,G=200,B=150"),
]
IN_COOKIE = [
    ("form", False, EMPTY, "color="),
    ("form", False, STRING, "color=blue"),
    ("form", False, ARRAY, "color=blue,black,brown"),
    ("form", False, OBJECT, "color=R,100,G,200,B,150"),
    ("form", True, STRING, "color=blue"),
    # The table joins these by "&", which no cookie's reader takes apart.
    ("form", True, ARRAY, "color=blue; color=black; color=brown"),
    ("form", True, OBJECT, "R=100; G=200; B=150"),
    ("cookie", False, EMPTY, "color="),
    ("cookie", False, STRING, "color=blue"),
    ("cookie", False, ARRAY, "color=blue,black,brown"),
    ("cookie", False, OBJECT, "color=R,100,G,200,B,150"),
    ("cookie", True, EMPTY, "color="),
    ("cookie", True, STRING, "color=blue"),
    ("cookie", True, ARRAY, "color=blue; color=black; color=brown"),
    ("cookie", True, OBJECT, "R=100; G=200; B=150"),
]


def parameter(place: str, style: str, explode: bool, **more: Any) -> dict[str, Any]:
    return {"name": "color", "in": place, "style": style, "explode": explode, "schema": {}, **more}


@pytest.mark.parametrize(("style", "explode", "value", "expected"), IN_PATH)
def test_in_a_path(style: str, explode: bool, value: Any, expected: str | None) -> None:
    made = one({"path": "/a/{color}/b", "parameters": [parameter("path", style, explode)]})
    if expected is None:
        with pytest.raises(ArgumentsError) as caught:
            request_of(made, {"color": value})
        assert caught.value.fields[0][0] == "color"
    else:
        assert target_of(request_of(made, {"color": value})) == f"/a/{expected}/b"


@pytest.mark.parametrize(("style", "explode", "value", "expected"), IN_QUERY)
def test_in_a_query(style: str, explode: bool, value: Any, expected: str) -> None:
    made = one({"parameters": [parameter("query", style, explode)]})
    assert target_of(request_of(made, {"color": value})) == f"/op?{expected}"


@pytest.mark.parametrize(("style", "explode", "value", "expected"), IN_HEADER)
def test_in_a_header(style: str, explode: bool, value: Any, expected: str) -> None:
    made = one({"parameters": [parameter("header", style, explode)]})
    assert header_of(request_of(made, {"color": value}), "color") == expected


@pytest.mark.parametrize(("style", "explode", "value", "expected"), IN_COOKIE)
def test_in_a_cookie(style: str, explode: bool, value: Any, expected: str) -> None:
    made = one({"version": "3.2.0", "parameters": [parameter("cookie", style, explode)]})
    assert header_of(request_of(made, {"color": value}), "cookie") == expected


@pytest.mark.parametrize(
    ("place", "style", "explode"),
    [
        ("path", "simple", False),
        ("query", "form", True),
        ("header", "simple", False),
        ("cookie", "form", True),
    ],
)
def test_what_holds_when_nothing_is_said(place: str, style: str, explode: bool) -> None:
    path = "/op/{color}" if place == "path" else "/op"
    said = one({"path": path, "parameters": [parameter(place, style, explode)]})
    unsaid = one(
        {"path": path, "parameters": [{"name": "color", "in": place, "schema": {"type": "array"}}]}
    )
    for value in (ARRAY, OBJECT, "x"):
        assert request_of(said, {"color": value}) == request_of(unsaid, {"color": value})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a b", "a%20b"),
        ("a&b=c+d", "a%26b%3Dc%2Bd"),
        ("é/?#[]@!$'()*,;:", "%C3%A9%2F%3F%23%5B%5D%40%21%24%27%28%29%2A%2C%3B%3A"),
        ("~-._", "~-._"),
        ("100%", "100%25"),
        (True, "true"),
        (1.0, "1"),
        (0.1, "0.1"),
        (12345678901234567890, "12345678901234567890"),
        (["a", None, "b"], "a&color=b"),
        ({"a": None}, None),
        ([], None),
        (None, None),
    ],
)
def test_values_in_a_query(value: Any, expected: str | None) -> None:
    made = one({"parameters": [parameter("query", "form", True)]})
    target = target_of(request_of(made, {"color": value}))
    assert target == ("/op" if expected is None else f"/op?color={expected}")


def test_a_separator_in_a_value_is_told_from_the_separator() -> None:
    for style, expected in (
        ("form", "color=a%2Cb,c"),
        ("pipeDelimited", "color=a%2Cb%7Cc"),
        ("spaceDelimited", "color=a%2Cb%20c"),
    ):
        made = one({"parameters": [parameter("query", style, False)]})
        assert target_of(request_of(made, {"color": ["a,b", "c"]})) == f"/op?{expected}"


def test_reserved_characters_are_left_where_they_end_nothing() -> None:
    made = one({"parameters": [parameter("query", "form", True, allowReserved=True)]})
    value = ":/?@!$'()*,;= é#&+[]%20"
    expected = ":/?@!$'()*,;=%20%C3%A9%23%26%2B%5B%5D%2520"
    assert target_of(request_of(made, {"color": value})) == f"/op?color={expected}"


def test_objects_in_objects_and_lists_in_lists() -> None:
    nested = {"a": {"b": [1, 2]}, "c": [{"d": "x"}], "e": None}
    made = one({"parameters": [parameter("query", "deepObject", True)]})
    assert target_of(request_of(made, {"color": nested})) == (
        "/op?color%5Ba%5D%5Bb%5D%5B%5D=1&color%5Ba%5D%5Bb%5D%5B%5D=2&color%5Bc%5D%5B0%5D%5Bd%5D=x"
    )
    made = one({"parameters": [parameter("query", "form", True)]})
    assert target_of(request_of(made, {"color": [[1, 2], {"a": 1}]})) == (
        "/op?color=%5B1%2C2%5D&color=%7B%22a%22%3A1%7D"
    )


@pytest.mark.parametrize(
    ("value", "explode"),
    [("a\r\nb", False), ("é", False), (" a", False), (["a,b"], False), ({"a=b": 1}, True)],
)
def test_what_no_header_can_hold(value: Any, explode: bool) -> None:
    made = one({"parameters": [parameter("header", "simple", explode)]})
    with pytest.raises(ArgumentsError) as caught:
        request_of(made, {"color": value})
    assert caught.value.fields[0][0] == "color"


def test_cookies_are_encoded_by_form_and_not_by_cookie() -> None:
    made = one({"parameters": [parameter("cookie", "form", True)]})
    assert header_of(request_of(made, {"color": 'a;b, "c"%'}), "cookie") == (
        "color=a%3Bb%2C%20%22c%22%25"
    )
    made = one({"version": "3.2.0", "parameters": [parameter("cookie", "cookie", True)]})
    assert header_of(request_of(made, {"color": "a%2Cb"}), "cookie") == "color=a%2Cb"
    for text in ("a;b", "a b", "a,b", "é", "a\r\nb"):
        with pytest.raises(ArgumentsError):
            request_of(made, {"color": text})


def test_content_is_a_document_of_its_own_type() -> None:
    value = {"a": [1, "é"]}
    content = {"content": {"application/json": {"schema": {"type": "object"}}}}
    for place, expected in (
        ("query", "/op?color=%7B%22a%22%3A%5B1%2C%22%C3%A9%22%5D%7D"),
        ("header", '{"a":[1,"\\u00e9"]}'),
        ("cookie", "color={%22a%22:[1%2C%22%C3%A9%22]}"),
    ):
        made = one({"parameters": [{"name": "color", "in": place, **content}]})
        request = request_of(made, {"color": value})
        found = target_of(request) if place == "query" else header_of(request, _header(place))
        assert found == expected
    made = one({"path": "/a/{color}", "parameters": [{"name": "color", "in": "path", **content}]})
    assert target_of(request_of(made, {"color": {"a": 1}})) == "/a/%7B%22a%22%3A1%7D"
    plain = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    made = one({"parameters": [{"name": "color", "in": "query", **plain}]})
    assert target_of(request_of(made, {"color": "a b"})) == "/op?color=a%20b"


def _header(place: str) -> str:
    return {"header": "color", "cookie": "cookie"}[place]


def test_a_whole_query() -> None:
    form = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
    node = {"name": "all", "in": "querystring", "content": form}
    made = one({"version": "3.2.0", "parameters": [node]})
    assert target_of(request_of(made, {"all": {"a b": "c&d", "e": 1}})) == "/op?a+b=c%26d&e=1"
    json = {"application/json": {"schema": {"type": "object"}}}
    node = {"name": "all", "in": "querystring", "content": json}
    made = one({"version": "3.2.0", "parameters": [node]})
    assert target_of(request_of(made, {"all": {"a": 1}})) == "/op?%7B%22a%22%3A1%7D"


@pytest.mark.parametrize(
    ("collection", "place", "expected"),
    [
        ("csv", "query", "/op?color=a,b"),
        ("ssv", "query", "/op?color=a%20b"),
        ("tsv", "query", "/op?color=a%09b"),
        ("pipes", "query", "/op?color=a%7Cb"),
        ("multi", "query", "/op?color=a&color=b"),
        (None, "query", "/op?color=a,b"),
        ("csv", "path", "/op/a,b"),
        ("pipes", "path", "/op/a%7Cb"),
    ],
)
def test_the_collections_of_swagger(collection: str | None, place: str, expected: str) -> None:
    from openapi_documents import outcome_of

    node: dict[str, Any] = {"name": "color", "in": place, "type": "array", "required": True}
    node["items"] = {"type": "string"}
    if collection is not None:
        node["collectionFormat"] = collection
    path = "/op/{color}" if place == "path" else "/op"
    document = {
        "swagger": "2.0",
        "host": "api.example.com",
        "basePath": "/v1",
        "schemes": ["http", "https"],
        "paths": {path: {"get": {"parameters": [node], "responses": {}}}},
    }
    [made] = outcome_of(document).made
    assert target_of(request_of(made, {"color": ["a", "b"]})) == expected
