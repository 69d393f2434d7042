"""Schemas of every version as JSON Schema of today: what each keyword becomes, and bounds."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from enclave_broker_openapi import schemas as module
from enclave_broker_openapi.keywords import MOST_CHOICES
from openapi_documents import BASE, one, schemas_of

NULL = {"type": "null"}


def made(node: Any, version: str = "3.1.0", direction: str = "request", **components: Any) -> Any:
    return schemas_of(components, direction, version).convert(node, BASE).schema


def whole(node: Any, version: str = "3.1.0", direction: str = "request", **components: Any) -> Any:
    """A schema with its definitions, as a tool has it."""
    schemas = schemas_of(components, direction, version)
    converted = schemas.convert(node, BASE)
    return {**converted.schema, "$defs": schemas.definitions(converted.names)}


def fits(schema: Any, value: Any) -> bool:
    return jsonschema_rs.validator_for(schema, offline=True).is_valid(value)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"nullable": True, "allOf": [{"type": "string"}], "description": "d"},
            {"description": "d", "anyOf": [{"allOf": [{"type": "string"}]}, NULL]},
        ),
        ({"type": "string", "x-nullable": True}, {"type": ["string", "null"]}),
        (
            {"$ref": "#/components/schemas/A", "nullable": True},
            {"anyOf": [{"$ref": "#/$defs/A"}, NULL]},
        ),
        # What else stands beside a reference does not count before 3.1.
        ({"$ref": "#/components/schemas/A", "minLength": 3}, {"$ref": "#/$defs/A"}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"minimum": 1, "exclusiveMinimum": False}, {"minimum": 1}),
        ({"maximum": 9, "exclusiveMaximum": True}, {"exclusiveMaximum": 9}),
        ({"type": "string", "example": "x"}, {"type": "string", "examples": ["x"]}),
        ({"type": "file"}, {"type": "string"}),
        ({"type": "string", "required": True}, {"type": "string"}),
        ({"type": "text"}, {}),
        ({"items": [{"type": "string"}]}, {"prefixItems": [{"type": "string"}]}),
    ],
)
def test_old_schemas(node: Any, expected: Any) -> None:
    assert made(node, "3.0.3", A={}) == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (True, True),
        (False, False),
        ({"type": ["string", "null", "string"]}, {"type": ["string", "null"]}),
        ({"type": ["string"]}, {"type": "string"}),
        (
            {"$ref": "#/components/schemas/A", "minLength": 3, "description": "d"},
            {"$ref": "#/$defs/A", "minLength": 3, "description": "d"},
        ),
        ({"exclusiveMinimum": 3}, {"exclusiveMinimum": 3}),
        ({"const": None, "default": {"a": 1}}, {"const": None, "default": {"a": 1}}),
        ({"if": {"minLength": 1}, "then": True}, {"if": {"minLength": 1}, "then": True}),
        ({"dependentSchemas": {"a": {"type": "x"}}}, {"dependentSchemas": {"a": {}}}),
        ({"patternProperties": {"^a": {}, "(?=b)": {}}}, {"patternProperties": {"^a": {}}}),
        ({"pattern": "^[a-z]+$"}, {"pattern": "^[a-z]+$"}),
        ({"pattern": "(?!x)"}, {}),
        ({"pattern": "["}, {}),
        ({"minLength": "3", "maxLength": -1, "uniqueItems": "yes", "multipleOf": 0}, {}),
        ({"enum": [1, 1, True, "1"]}, {"enum": [1, True, "1"]}),
        ({"enum": []}, {}),
        ({"properties": {"a": {"readOnly": True}, "b": {}}}, {"properties": {"b": {}}}),
        ({"x-thing": 1, "xml": {}, "externalDocs": {}}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_new_schemas(node: Any, expected: Any) -> None:
    assert made(node, A={}) == expected


def test_what_is_read_only_is_not_sent_and_what_is_write_only_not_answered() -> None:
    node = {
        "type": "object",
        "required": ["id", "secret", "name"],
        "properties": {
            "id": {"$ref": "#/components/schemas/Id"},
            "secret": {"type": "string", "writeOnly": True},
            "name": {"type": "string"},
        },
        "additionalProperties": False,
    }
    identity = {"type": "integer", "readOnly": True}
    asked = whole(node, Id=identity)
    assert (list(asked["properties"]), asked["required"]) == (
        ["secret", "name"],
        ["secret", "name"],
    )
    answered = whole(node, direction="response", Id=identity)
    assert (list(answered["properties"]), answered["required"]) == (["id", "name"], ["id", "name"])


def test_a_schema_that_refers_to_itself() -> None:
    tree = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/T"}}},
        "additionalProperties": False,
    }
    schema = whole({"$ref": "#/components/schemas/T"}, T=tree)
    assert list(schema["$defs"]) == ["T"]
    assert fits(schema, {"children": [{"children": [{}]}]})
    assert not fits(schema, {"children": [{"children": [{"other": 1}]}]})


CAT: dict[str, Any] = {"type": "object", "properties": {"kind": {"type": "string"}}}


@pytest.mark.parametrize(
    ("mapping", "good", "bad"),
    [
        (None, ["Cat", "Dog"], ["cat", ""]),
        ({"cat": "#/components/schemas/Cat", "hound": "Dog"}, ["cat", "hound"], ["Cat", "Dog"]),
        ({"cat": "Cat", "kitten": "Cat"}, ["cat", "kitten", "Dog"], ["Cat"]),
        ({"x": "#/components/schemas/Missing"}, ["Cat", "Dog"], ["x"]),
    ],
)
def test_a_discriminator_chooses_among_schemas_that_are_alike(
    mapping: Any, good: list[str], bad: list[str]
) -> None:
    choices = [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]
    discriminator = {"propertyName": "kind"} | ({} if mapping is None else {"mapping": mapping})
    schema = whole({"oneOf": choices, "discriminator": discriminator}, Cat=CAT, Dog=CAT)
    assert [kind for kind in good if not fits(schema, {"kind": kind})] == []
    assert [kind for kind in bad if fits(schema, {"kind": kind})] == []
    assert not fits(schema, {})


def test_a_discriminator_whose_choices_say_it_themselves_or_have_a_default() -> None:
    choices = [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Other"}]
    cat = {"type": "object", "properties": {"kind": {"const": "meow"}}, "required": ["kind"]}
    schema = whole(
        {"oneOf": choices, "discriminator": {"propertyName": "kind"}}, Cat=cat, Other=CAT
    )
    assert fits(schema, {"kind": "meow"})
    assert not fits(schema, {"kind": "Cat"})
    discriminator = {"propertyName": "kind", "defaultMapping": "Other"}
    schema = whole({"oneOf": choices, "discriminator": discriminator}, "3.2.0", Cat=CAT, Other=CAT)
    assert fits(schema, {})
    assert fits(schema, {"kind": "anything"})


def test_definitions_of_one_name_are_told_apart() -> None:
    components = {
        "B": {"type": "string"},
        "X": {"properties": {"B": {"type": "integer"}}},
        "File": {"type": "boolean"},  # the name that files have here
    }
    places = ("B", "X/properties/B", "File")
    node = {"prefixItems": [{"$ref": f"#/components/schemas/{place}"} for place in places]}
    schema = whole(node, **components)
    assert len(schema["$defs"]) == 3
    assert "File" not in schema["$defs"]
    assert fits(schema, ["x", 1, True])
    assert not fits(schema, [1])
    assert not fits(schema, ["x", "x"])
    assert not fits(schema, ["x", 1, 1])


def test_a_long_list_of_choices_is_described() -> None:
    schema = made({"type": "string", "enum": [f"v{at}" for at in range(MOST_CHOICES + 1)]})
    assert schema["type"] == "string"
    assert "enum" not in schema
    assert schema["description"].startswith("One of 501 values, among them v0, v1, ")


def test_what_has_no_room_stands_for_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(at: int) -> dict[str, Any]:
        return {"type": "object", "properties": {"next": {"$ref": f"#/components/schemas/S{at}"}}}

    chain = {f"S{at}": link(at + 1) for at in range(20)} | {"S20": {"type": "string"}}
    assert len(whole({"$ref": "#/components/schemas/S0"}, **chain)["$defs"]) == 21
    monkeypatch.setattr(module, "MOST_SHOWN", {"request": 300})
    schema = whole({"$ref": "#/components/schemas/S0"}, **chain)
    assert list(schema["$defs"]) == ["S0", "S1", "S2", "S3", "S4"]
    assert schema["$defs"]["S4"] == {
        "description": "Anything: the schema is too large to be shown here."
    }
    assert fits(schema, {"next": {"next": {"next": {"next": 5}}}})
    assert not fits(schema, {"next": {"next": 5}})
    monkeypatch.setattr(module, "MOST_ENTRIES", -1)
    assert list(whole({"$ref": "#/components/schemas/S0"}, **chain)["$defs"]) == ["S0"]


def test_one_large_schema_is_cut() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        deep = {"type": "object", "properties": {"a": deep}}
    wide = {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(5000)}}
    for node in (deep, wide):
        jsonschema_rs.validator_for(made(node), offline=True)
        assert "too large" in str(made(node))
        assert len(str(made(node))) < 700_000


def test_definitions_are_shared_between_tools() -> None:
    schemas = schemas_of({"A": {"type": "string"}}, "request")
    first = schemas.convert({"$ref": "#/components/schemas/A"}, BASE)
    second = schemas.convert({"items": {"$ref": "#/components/schemas/A"}}, BASE)
    assert schemas.definitions(first.names) is schemas.definitions(second.names)


def test_what_is_answered() -> None:
    json = {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}
    components = {"schemas": {"A": {"type": "object"}}}

    def output(**responses: Any) -> Any:
        named = {name.removeprefix("s"): node for name, node in responses.items()}
        return one({"responses": named, "components": components}).spec.output_schema

    reference = {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}}
    assert output(s200={"content": json}, s404={"content": {"text/plain": {}}}) == reference
    assert output(default={"content": json}) == reference
    assert output(s200={"content": json}, s204={}) == {
        "anyOf": [{"$ref": "#/$defs/A"}, NULL],
        "$defs": {"A": {"type": "object"}},
    }
    assert output(s204={}) == NULL
    assert output(s200={"content": {"text/csv": {}}}) == {"type": "string"}
    assert output(s200={"content": {"application/json": {}}}) is None
    assert output() is None
    broken = {"application/json": {"schema": {"$ref": "#/components/schemas/Gone"}}}
    assert output(s200={"content": broken}) is None
