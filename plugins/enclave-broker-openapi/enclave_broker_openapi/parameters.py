"""The parameters of an operation, as its document describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enclave_broker_network.fields import may_set

from .document import Document
from .problems import OperationError, shown
from .swagger import parameter_of_2

LOCATIONS = ("path", "query", "header", "cookie", "querystring")

# By OpenAPI described elsewhere in the document, or not the caller's to choose.
NOT_ARGUMENTS = frozenset({"accept", "authorization", "content-type", "cookie"})
MOST_PARAMETERS = 500

_STYLES: Mapping[str, tuple[str, ...]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form", "cookie"),
    "querystring": ("form",),
}
# What only Swagger 2.0 has: the same separators in other places, and one more of them.
_STYLES_OF_2 = frozenset({"spaceDelimited", "pipeDelimited", "tabDelimited"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``schema`` is the node in the document, relative to ``base``.

    ``content_type`` is of one that is written as a document of its own instead of by its
    ``style``. ``argument`` is what callers name it.
    """

    name: str
    location: str
    required: bool
    style: str
    explode: bool
    schema: Any
    base: str
    allow_reserved: bool = False
    content_type: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    argument: str = ""


def read_parameters(
    document: Document,
    lists: Sequence[tuple[Any, str]],
    doubtful: Callable[[str], None],
) -> list[Parameter]:
    """The parameters of several lists, of which a later one goes over the earlier ones.

    OperationError when one of them can't be understood.
    """
    found: dict[tuple[str, str], Parameter] = {}
    for nodes, base in lists:
        if nodes is None:
            continue
        if not isinstance(nodes, list):
            raise OperationError("its parameters are no list")
        if len(nodes) > MOST_PARAMETERS:
            raise OperationError(f"it has more than {MOST_PARAMETERS} parameters")
        for node in nodes:
            parameter = _read(document, node, base, doubtful)
            if parameter is not None:
                key = parameter.location, _name_key(parameter)
                found[key] = parameter
    if len(found) > MOST_PARAMETERS:
        raise OperationError(f"it has more than {MOST_PARAMETERS} parameters")
    return list(found.values())


def _name_key(parameter: Parameter) -> str:
    return parameter.name.lower() if parameter.location == "header" else parameter.name


def _read(
    document: Document, node: Any, base: str, doubtful: Callable[[str], None]
) -> Parameter | None:
    found, base = document.object_at(node, base, "a parameter")
    if document.version == "2.0":
        if found.get("in") in ("body", "formData"):
            return None  # of the body
        found = parameter_of_2(found)
    name, location = found.get("name"), found.get("in")
    if not isinstance(name, str) or not name:
        raise OperationError("a parameter has no name")
    if location not in LOCATIONS:
        raise OperationError(f"the parameter {shown(name)} is in {shown(location)}")
    if location == "header":
        if name.lower() in NOT_ARGUMENTS:
            return None
        if not may_set(name):
            doubtful(f"the header {shown(name)} can't be set")
            return None
    content = found.get("content")
    if isinstance(content, dict) and content and "schema" not in found:
        return _with_content(document, found, content, base)
    if location == "querystring":
        raise OperationError(f"the parameter {shown(name)} has no content")
    styles = _STYLES[location]
    style = found.get("style", styles[0])
    if style not in styles and not (document.version == "2.0" and style in _STYLES_OF_2):
        raise OperationError(f"the parameter {shown(name)} has the style {shown(style)}")
    explode = found.get("explode")
    schema = found.get("schema", {})
    if not isinstance(schema, dict | bool):
        raise OperationError(f"the parameter {shown(name)} has a schema that is none")
    return Parameter(
        name=name,
        location=location,
        # A path has no place for a parameter that is not given.
        required=location == "path" or found.get("required") is True,
        style=style,
        explode=explode if isinstance(explode, bool) else style in ("form", "cookie"),
        schema=schema,
        base=base,
        allow_reserved=found.get("allowReserved") is True,
        about=found,
    )


def _with_content(
    document: Document, found: Mapping[str, Any], content: Mapping[str, Any], base: str
) -> Parameter:
    content_type, media = next(iter(content.items()))
    media, media_base = document.object_at(media, base, "a parameter's content")
    location = found["in"]
    return Parameter(
        name=found["name"],
        location=location,
        required=location == "path" or found.get("required") is True,
        style=_STYLES[location][0],
        explode=False,
        schema=media.get("schema", {}),
        base=media_base,
        content_type=content_type.partition(";")[0].strip().lower(),
        about=found,
    )
