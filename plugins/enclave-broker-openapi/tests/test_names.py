"""Names of tools and of arguments, and which operations are there at all."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_openapi.config import OpenapiConfig
from openapi_documents import document, one, outcome_of, request_of, target_of
from pydantic import ValidationError

from enclave_broker_core.models import TOOL_NAME

TEXT: dict[str, Any] = {"type": "string"}


def names(operations: dict[str, Any], **config: Any) -> dict[str, str]:
    """The tool's name of each operation."""
    return {made.key: made.spec.name for made in outcome_of(document(operations), **config).made}


def test_names() -> None:
    found = names(
        {
            "GET /a": {"operationId": "listThings"},
            "GET /b": {"operationId": "things/list all"},
            "GET /c": {"operationId": "Ünïcode.Tool"},
            "GET /pets/{id}/photos": {},
            "GET /": {},
            "POST /d": {"operationId": "   "},
            "GET /e": {"operationId": "/"},
        }
    )
    assert found == {
        "GET /a": "api:listThings",
        "GET /b": "api:things/list_all",
        "GET /c": "api:n_code.Tool",
        "GET /pets/{id}/photos": "api:get_pets_id_photos",
        "GET /": "api:get",
        "POST /d": "api:post_d",
        "GET /e": "api:get_e",
    }


def test_a_collision_gets_stable_suffixes() -> None:
    operations: dict[str, Any] = {
        "GET /a": {"operationId": "same"},
        "POST /a": {"operationId": "same"},
        "GET /b": {"operationId": "sa me"},
        "GET /c": {"operationId": "sa:me"},
        "GET /x/y": {},
        "GET /x-y": {},
    }
    found = names(operations)
    assert len(set(found.values())) == 6
    assert found["GET /b"] == "api:sa_me"
    assert found["GET /a"].startswith("api:same_")
    assert all(TOOL_NAME.fullmatch(name) for name in found.values())
    # Whichever stands first.
    assert names(dict(reversed(operations.items()))) == found
    # One that looks like another's suffixed name.
    operations["GET /d"] = {"operationId": found["GET /a"].removeprefix("api:")}
    assert len(set(names(operations).values())) == 7


def test_long_names_are_cut_and_told_apart() -> None:
    found = names({f"GET /{at}": {"operationId": "x" * 300 + str(at)} for at in range(3)})
    assert len(set(found.values())) == 3
    assert {len(name) for name in found.values()} == {128}


def test_arguments_of_one_name_are_told_apart() -> None:
    def parameter(name: str, place: str) -> dict[str, Any]:
        return {"name": name, "in": place, "schema": TEXT}

    made = one(
        {
            "path": "/{id}",
            "parameters": [
                parameter("id", "path"),
                parameter("id", "query"),
                parameter("id_query", "query"),
                parameter("body", "query"),
                parameter("filter[name]", "query"),
                parameter("$filter", "query"),
                parameter("_id", "query"),
                parameter("é", "query"),
            ],
            "requestBody": {"content": {"application/json": {}}},
        }
    )
    arguments = list(made.spec.input_schema["properties"])
    assert arguments == [
        "id_path",
        "id_query_2",
        "id_query",
        "body_query",
        "filter_name",
        "filter",
        "_id",
        "argument",
        "body",
    ]
    request = request_of(made, {name: name for name in arguments})
    assert target_of(request) == (
        "/id_path?id=id_query_2&id_query=id_query&body=body_query"
        "&filter%5Bname%5D=filter_name&%24filter=filter&_id=_id&%C3%A9=argument"
    )
    assert request.body == b'"body"'


def test_filters_and_renames() -> None:
    operations: dict[str, Any] = {
        "GET /pets": {"operationId": "listPets", "tags": ["pets"]},
        "POST /pets": {"operationId": "addPet", "tags": ["pets", "write"]},
        "GET /users": {"operationId": "listUsers", "tags": ["users"]},
        "GET /admin/users": {},
    }

    def kept(**config: Any) -> list[str]:
        return sorted(names(operations, **config).values())

    assert kept(include=["list*"]) == ["api:listPets", "api:listUsers"]
    assert kept(include=[{"tag": "pets", "method": "get"}]) == ["api:listPets"]
    assert kept(include=[{"path": "/admin/*"}, "addPet"]) == ["api:addPet", "api:get_admin_users"]
    assert kept(include=["GET /users"]) == ["api:listUsers"]
    assert kept(exclude=[{"tag": "write"}, {"operation": "get_admin*"}]) == [
        "api:listPets",
        "api:listUsers",
    ]
    assert kept(include=["*"], exclude=["*"]) == []
    assert kept(
        rename={"listPets": "pets", "GET /users": "all users"},
        include=["pets", "all_*", "get_admin*"],
    ) == [
        "api:all_users",
        "api:get_admin_users",
        "api:pets",
    ]
    outcome = outcome_of(document(operations), include=["addPet"], rename={"gone": "x"})
    assert sorted(outcome.left_out) == ["GET /admin/users", "GET /pets", "GET /users"]
    assert outcome.unused == ["rename: there is no operation 'gone'"]
    with pytest.raises(ValidationError, match="'\\['"):
        OpenapiConfig.model_validate({"spec": "x", "include": ["a[b"]})
