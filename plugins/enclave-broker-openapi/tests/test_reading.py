"""Documents as texts: JSON and YAML within bounds, and what they refer to."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_openapi import document as documents
from enclave_broker_openapi import parsing
from enclave_broker_openapi.document import Gathering, version_of
from enclave_broker_openapi.parsing import read
from enclave_broker_openapi.problems import DocumentError, OperationError
from pydantic_core import to_json

URI = "https://api.example.com/openapi.json"


def test_json_and_yaml_are_read_alike() -> None:
    value = {"openapi": "3.1.0", "paths": {}, "x": [1, 1.5, True, None, "é"]}
    yaml = b"""
        openapi: 3.1.0
        paths: {}
        x: [1, 1.5, true, null, "\xc3\xa9"]
    """
    assert read(to_json(value), "x") == read(yaml, "x") == value
    assert read(b"\xef\xbb\xbf" + to_json(value), "x") == value
    # YAML that looks like JSON at first.
    assert read(b"{openapi: 3.1.0, paths: {}}", "x") == {"openapi": "3.1.0", "paths": {}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2020-01-01", "2020-01-01"),
        ("12:30", "12:30"),
        ("0x1f", 31),
        ("0o17", 15),
        ("010", 10),
        ("1_000", "1_000"),
        ("-1.5e3", -1500.0),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int '1'", 1),
        ("!thing a", "a"),
    ],
)
def test_yaml_is_yaml_1_2(text: str, value: Any) -> None:
    found = read(f"a: {text}\n".encode(), "x")["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_texts_and_merges_are_merged() -> None:
    found = read(b"200: a\nnull: b\nbase: &base {x: 1, y: 2}\nmore: {<<: *base, y: 3}\n", "x")
    assert found == {"200": "a", "null": "b", "base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}}


def bomb(levels: int) -> bytes:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        aliases = b", ".join([b"*a%d" % (level - 1)] * 10)
        lines.append(b"a%d: &a%d [%s]" % (level, level, aliases))
    return b"\n".join(lines)


def merging_bomb(levels: int) -> bytes:
    lines = [b"a0: &a0 {x: {y: 1}}"]
    for level in range(1, levels):
        aliases = b", ".join([b"*a%d" % (level - 1)] * 10)
        lines.append(b"a%d: &a%d {<<: [%s]}" % (level, level, aliases))
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(9), "more than 4000000 nodes"),
        (merging_bomb(9), "more than 4000000 nodes"),
        (b"a: &a [*a]", "has no anchor before it"),
        (b"a: " + b"[" * 500 + b"]" * 500, "levels deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON"),
        (b"{" + b'"a": [],' * 4_100_000 + b"}", "more than 4000000 nodes"),
        (b"a: 1\n---\na: 2", "more than one document"),
        (b"[a, b]", "it is no object"),
        (b"", "it is no object"),
        (b"a: [", "not YAML"),
        (b'{"a": ', "not JSON"),
        (b"? [a]\n: b", "a key is not a text"),
        (b"a: {<<: 1}", "merges what is no mapping"),
        (b"\xff\xfe\x00\x01\xff", "not YAML"),
        (b"!!python/object/apply:os.system [x]", "it is no object"),
    ],
)
def test_what_is_no_document(text: bytes, said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        read(text, "the document")


def test_deep_aliases_are_counted_where_they_are_used() -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{at}: &a{at} {{x: *a{at - 1}}}" for at in range(1, parsing.DEEPEST + 2)]
    with pytest.raises(DocumentError, match="levels deep"):
        read("\n".join(lines).encode(), "x")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ({"openapi": "3.0.3"}, "3.0"),
        ({"openapi": "3.1.1"}, "3.1"),
        ({"openapi": "3.2.0"}, "3.2"),
        ({"openapi": 3.1}, "3.1"),
        ({"swagger": "2.0"}, "2.0"),
        ({"swagger": 2.0}, "2.0"),
        ({"swagger": 2}, "2.0"),
        ({"openapi": "4.0"}, None),
        ({"swagger": "1.2"}, None),
        ({"openapi": True}, None),
        ({}, None),
    ],
)
def test_versions(said: dict[str, Any], version: str | None) -> None:
    if version is None:
        with pytest.raises(DocumentError):
            version_of(said)
    else:
        assert version_of(said) == version


def gathered(root: dict[str, Any], **others: dict[str, Any]) -> documents.Document:
    """A document, and others beside it by their names."""
    gathering = Gathering(URI, {"openapi": "3.1.0", **root})
    while missing := gathering.missing():
        for uri in missing:
            name = uri.rpartition("/")[2].partition(".")[0]
            if name in others:
                gathering.add(uri, others[name])
            else:
                gathering.leave_out(uri, "there is no such file")
    return gathering.document()


def test_references_are_relative_to_where_they_stand() -> None:
    document = gathered(
        {"a": {"$ref": "one.json#/x"}},
        one={"x": {"$ref": "two.yaml#/y"}, "z": 5},
        two={"y": {"$ref": "one.json#/z"}},
    )
    node, base = document.followed(document.root["a"], URI)
    assert (node, base) == (5, "https://api.example.com/one.json")
    place = document.find("one.json#/x", URI)
    assert place.key == "https://api.example.com/one.json#/x"


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("#/a~1b/c~0d", 1),
        ("#/a%20b", 2),
        ("#/list/1", 4),
        ("#named", {"$anchor": "named", "x": 5}),
        ("https://other.example.com/schema#/x", 6),
        ("other#/x", 6),
    ],
)
def test_places(reference: str, value: Any) -> None:
    other = {"$id": "https://other.example.com/schema", "x": 6, "y": {"$id": "other"}}
    document = gathered(
        {
            "a/b": {"c~d": 1},
            "a b": 2,
            "list": [3, 4],
            "n": {"$anchor": "named", "x": 5},
            "o": other,
            "p": {"$id": "other", "x": 6},
        }
    )
    assert document.find(reference, URI).node == value


@pytest.mark.parametrize(
    "reference", ["#/nowhere", "#/list/7", "#gone", "other.json#/x", "http://[#", "#/a/b/c"]
)
def test_what_is_not_there_is_told(reference: str) -> None:
    document = gathered({"list": [], "a": {"b": 1}, "r": {"$ref": reference}})
    with pytest.raises(OperationError, match="it refers to"):
        document.find(reference, URI)


def test_what_leads_to_itself_is_told() -> None:
    document = gathered({"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}})
    with pytest.raises(OperationError, match="leads to itself"):
        document.followed(document.root["a"], URI)


def test_self_is_what_references_are_relative_to() -> None:
    root = {"openapi": "3.2.0", "$self": "/api/openapi.json", "a": {"$ref": "other.json#/x"}}
    gathering = Gathering(URI, root)
    assert gathering.missing() == ["https://api.example.com/api/other.json"]


def test_there_are_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"n{at}": {"$ref": f"file{at}.json"} for at in range(300)}
    with pytest.raises(DocumentError, match="more than 200 other documents"):
        gathered(many, **{f"file{at}": {} for at in range(300)})
    monkeypatch.setattr(documents, "MOST_REFERENCES", 100)
    with pytest.raises(DocumentError, match="more than 100 references"):
        gathered({f"n{at}": {"$ref": "#/x"} for at in range(101)})
    monkeypatch.setattr(documents, "MOST_NODES", 50)
    with pytest.raises(DocumentError, match="more than 50 nodes"):
        gathered({"a": list(range(60))})
