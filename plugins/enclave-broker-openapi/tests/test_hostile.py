"""Small documents that would cost much if each of their operations were taken by itself."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_openapi import compiling
from enclave_broker_openapi.keywords import cut, short_ones
from enclave_broker_openapi.problems import DocumentError
from openapi_documents import outcome_of, paths
from pydantic_core import to_json

MANY = 200


def shared(operation: dict[str, Any], **item: Any) -> dict[str, Any]:
    """A document of 3.2 in which many operations share what their path has, and the node."""
    document = paths("3.2.0")
    methods = {f"M{at}": operation for at in range(MANY)}
    document["paths"]["/a"] = {"additionalOperations": methods, **item}
    return document


def test_a_body_that_many_share_is_converted_once() -> None:
    wide = {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(1500)}}
    document = shared({"requestBody": {"$ref": "#/components/requestBodies/Wide"}})
    content = {"application/json": {"schema": wide}}
    document["components"] = {"requestBodies": {"Wide": {"content": content}}}
    outcome = outcome_of(document)
    assert len(outcome.made) == MANY
    properties = [
        made.spec.input_schema["properties"]["body"]["properties"] for made in outcome.made
    ]
    assert all(one is properties[0] for one in properties)


def test_a_form_that_refers_to_itself_many_times_over() -> None:
    reference = {"$ref": "#/components/schemas/F"}
    document = paths(op={})
    schema = {"allOf": [reference] * 20, "properties": {"f": {"anyOf": [reference] * 20}}}
    document["components"] = {"schemas": {"F": schema}}
    document["paths"]["/op"]["get"]["requestBody"] = {
        "content": {"multipart/form-data": {"schema": reference}}
    }
    [made] = outcome_of(document).made
    assert made.plan.body is not None
    assert len(to_json(made.spec.input_schema)) < 10_000


def test_choices_of_choices_are_bounded() -> None:
    levels = {
        f"L{at}": {"oneOf": [{"$ref": f"#/components/schemas/L{at + 1}"}] * 30} for at in range(30)
    } | {"L30": {"type": "string"}}
    document = paths(op={"requestBody": {"content": {}}})
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/L0"}}}
    document["paths"]["/op"]["get"]["requestBody"]["content"] = body
    document["components"] = {"schemas": levels}
    [made] = outcome_of(document).made
    assert len(to_json(made.spec.input_schema)) < 60_000


def test_parameters_of_a_path_count_for_each_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = [{"name": f"p{at}", "in": "query"} for at in range(20)]
    assert len(outcome_of(shared({}, parameters=parameters)).made) == MANY
    monkeypatch.setattr(compiling, "MOST_PARAMETERS", MANY * 20 - 1)
    with pytest.raises(DocumentError, match="more than 3999 parameters"):
        outcome_of(shared({}, parameters=parameters))


def test_more_parameters_than_anybody_has() -> None:
    parameters = [{"name": f"p{at}", "in": "query"} for at in range(501)]
    [broken] = outcome_of(paths(op={"parameters": parameters})).broken
    assert broken.reason == "it has more than 500 parameters"


def test_long_texts_are_cut() -> None:
    long = "word " * 200_000
    outcome = outcome_of(
        shared(
            {"parameters": [{"name": "q", "in": "query", "description": long, "example": long}]},
            summary=long,
            description=long,
        )
    )
    assert len(outcome.made) == MANY
    for made in outcome.made:
        assert len(made.spec.description) < 4100
        argument = made.spec.input_schema["properties"]["q"]
        assert len(argument["description"]) < 2100
        assert "examples" not in argument


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (["a", "b", "c", "d"], ["a", "b", "c"]),
        (["a" * 300, 1, None], [1, None]),
        ([{"a": {"b": ["c"]}}], [{"a": {"b": ["c"]}}]),
        ([[["x" * 50] * 10]], []),
        ([{f"{at}": 1 for at in range(1000)}], []),
    ],
)
def test_short_examples(values: list[Any], kept: list[Any]) -> None:
    assert short_ones(values) == kept


def test_cut() -> None:
    assert cut("  a b ", 10) == "a b"
    assert cut("a" * 11, 10) == "a" * 10 + "…"


def test_odd_answers_are_bounded() -> None:
    content = {f"application/x{at}+json": {"schema": {"const": at}} for at in range(100)}
    responses = {f"2{at}": {"content": content} for at in range(100)}
    [made] = outcome_of(paths(op={"responses": responses})).made
    assert made.spec.output_schema is not None
    assert len(made.spec.output_schema["anyOf"]) == 8
    assert len(dict(made.plan.headers)["Accept"]) < 400
