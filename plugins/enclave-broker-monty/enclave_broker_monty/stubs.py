"""The stub source of the module ``tools``, for the sandbox's type checker.

Everything in it is made of names that were checked, of type expressions made here, and of
literals written by ``ascii()``: a hostile description or schema stays a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .schema_types import SchemaTypes
from .signatures import Signature, is_parameter

MAX_DESCRIPTION = 1000

HEADER = "import builtins as _b\nimport typing as _t\n"


def module_stubs(functions: Mapping[str, Signature]) -> str:
    """One typed coroutine function for each tool, and the types that they mention."""
    types = SchemaTypes()
    stubs = [_function(signature, types) for signature in functions.values()]
    return "\n".join([HEADER, *types.definitions, *stubs])


def _function(signature: Signature, types: SchemaTypes) -> str:
    returns = types.result(signature.spec.output_schema, f"{signature.function}_result")
    head = f"async def {signature.function}({_parameters(signature, types)}) -> {returns}:"
    doc = ascii(signature.spec.description[:MAX_DESCRIPTION])
    return f"{head}\n    {doc}\n    ...\n"


def _parameters(signature: Signature, types: SchemaTypes) -> str:
    """The parameters in the schema's order; keyword-only from where Python wants that.

    Python has no parameter without a default behind one with a default, so from the first
    such place on the stub asks for keywords, though the call itself would take positions.
    """
    schema = signature.spec.input_schema
    declared = schema.get("properties")
    properties: dict[str, Any] = declared if isinstance(declared, dict) else {}
    listed = schema.get("required")
    required = set(map(str, listed)) if isinstance(listed, list) else set()
    shown: list[str] = []
    optional_seen = keyword_only = False
    for name in signature.parameters:
        kind = types.argument(properties[name], schema, f"{signature.function}_{name}")
        if name not in required:
            optional_seen = True
        elif optional_seen and not keyword_only:
            keyword_only = True
            shown.append("*")
        shown.append(f"{name}: {kind}" if name in required else f"{name}: {kind} = ...")
    rest = schema.get("additionalProperties", False)
    if rest is True or isinstance(rest, dict) or not all(map(is_parameter, properties)):
        shown.append("**_more: _t.Any")
    return ", ".join(shown)
