"""Swagger 2.0 in the terms of OpenAPI 3: parameters, bodies, servers and security schemes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Of a parameter or of a header, what is not about its schema.
_NOT_SCHEMA = frozenset({"name", "in", "description", "required", "collectionFormat"})

# The style and explode of each collectionFormat: in the path and in headers, and elsewhere.
_FORMATS: Mapping[str, tuple[str, str, bool]] = {
    "csv": ("simple", "form", False),
    "ssv": ("spaceDelimited", "spaceDelimited", False),
    "tsv": ("tabDelimited", "tabDelimited", False),
    "pipes": ("pipeDelimited", "pipeDelimited", False),
    "multi": ("simple", "form", True),
}


def parameter_of_2(node: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter that is not in the body."""
    made = {key: node[key] for key in ("name", "in", "description", "required") if key in node}
    made["schema"] = _schema(node)
    made |= _styled(node, in_place=node.get("in") in ("path", "header"))
    return made


def _schema(node: Mapping[str, Any]) -> Any:
    if isinstance(node.get("schema"), dict):
        return node["schema"]  # not what 2.0 says, but what some documents do
    return {key: value for key, value in node.items() if key not in _NOT_SCHEMA}


def _styled(node: Mapping[str, Any], *, in_place: bool) -> dict[str, Any]:
    placed, other, explode = _FORMATS.get(str(node.get("collectionFormat", "csv")), _FORMATS["csv"])
    return {"style": placed if in_place else other, "explode": explode and not in_place}


def body_of_2(
    parameters: Sequence[tuple[Mapping[str, Any], str]], consumes: Sequence[str]
) -> tuple[dict[str, Any], str] | None:
    """A request body and what its references are relative to; None when there is none."""
    for node, base in parameters:
        if node.get("in") == "body":
            types = consumes or ["application/json"]
            content = {kind: {"schema": node.get("schema", {})} for kind in types}
            about = {key: node[key] for key in ("description", "required") if key in node}
            return {**about, "content": content}, base
    fields = [(node, base) for node, base in parameters if node.get("in") == "formData"]
    named = {node["name"]: node for node, _ in fields if isinstance(node.get("name"), str)}
    if not named:
        return None
    files = any(node.get("type") == "file" for node in named.values())
    forms = [kind for kind in consumes if "form" in kind]
    multipart = next((kind for kind in forms if "multipart" in kind), None)
    kind = multipart if files or len(forms) == 1 else None
    kind = kind or ("multipart/form-data" if files else "application/x-www-form-urlencoded")
    schema = {
        "type": "object",
        "properties": {name: _described(node) for name, node in named.items()},
        "required": [name for name, node in named.items() if node.get("required") is True],
    }
    encoding = {
        name: _styled(node, in_place=False)
        for name, node in named.items()
        if node.get("type") == "array"
    }
    body = {"required": bool(schema["required"]), "content": {kind: {"schema": schema}}}
    body["content"][kind]["encoding"] = encoding  # type: ignore[index]
    return body, fields[0][1]


def _described(node: Mapping[str, Any]) -> dict[str, Any]:
    about = {"description": node["description"]} if "description" in node else {}
    return {**_schema(node), **about}


def responses_of_2(responses: Any, produces: Sequence[str]) -> Any:
    """The responses with their schemas by media type; references among them are left."""
    if not isinstance(responses, dict):
        return responses
    return {status: response_of_2(node, produces) for status, node in responses.items()}


def response_of_2(node: Any, produces: Sequence[str]) -> Any:
    if not isinstance(node, dict) or "schema" not in node:
        return node
    types = list(produces) or ["application/json"]
    return {**node, "content": {kind: {"schema": node["schema"]} for kind in types}}


def servers_of_2(
    root: Mapping[str, Any], operation: Mapping[str, Any], default: tuple[str, str]
) -> list[str]:
    """The servers' URLs; ``default`` is the scheme and the host of the document itself."""
    host, base_path = root.get("host"), root.get("basePath")
    schemes = operation.get("schemes", root.get("schemes"))
    listed = [one for one in schemes if isinstance(one, str)] if isinstance(schemes, list) else []
    usable = [one.lower() for one in listed if one.lower() in ("http", "https")]
    path = base_path if isinstance(base_path, str) else "/"
    where = host if isinstance(host, str) and host else default[1]
    if not where:
        return []
    return [
        f"{scheme}://{where}/{path.strip('/')}"
        # Of two, the one that nobody can listen to.
        for scheme in sorted(usable, reverse=True) or [default[0] or "https"]
    ]


def scheme_of_2(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A security scheme."""
    if node.get("type") == "basic":
        return {**node, "type": "http", "scheme": "basic"}
    if node.get("type") == "oauth2":
        flow = {"application": "clientCredentials", "accessCode": "authorizationCode"}.get(
            str(node.get("flow")), str(node.get("flow"))
        )
        return {**node, "flows": {flow: node}}
    return node
