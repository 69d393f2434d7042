"""How ``from tools import …`` names a tool and what its arguments are called there."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enclave_broker_core.models import ToolSpec


def is_parameter(name: object) -> bool:
    """Whether a property can be a parameter: an ASCII identifier and no keyword.

    Names of two underscores are left out because Python changes them inside classes.
    """
    return (
        isinstance(name, str)
        and name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """One function of the module ``tools``.

    ``parameters`` are the schema's properties in their order: positional arguments are
    given to them one by one.
    """

    function: str
    parameters: tuple[str, ...]
    spec: ToolSpec

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name; TypeError as Python would raise it."""
        if len(args) > len(self.parameters):
            raise TypeError(
                f"{self.function}() takes {len(self.parameters)} positional arguments "
                f"but {len(args)} were given"
            )
        arguments = dict(zip(self.parameters, args, strict=False))
        twice = arguments.keys() & kwargs.keys()
        if twice:
            raise TypeError(f"{self.function}() got multiple values for argument {min(twice)!r}")
        return arguments | kwargs


def signatures(tools: Mapping[str, ToolSpec]) -> dict[str, Signature]:
    """Function name → signature, for all tools, in the order of their external names.

    A character that no identifier can have becomes ``_``; a name that then is a keyword
    gets ``_`` behind, one that begins with a digit or ``_`` gets ``tool_`` in front (the
    sandbox hides names with a leading underscore), and one that is taken gets a number.
    """
    found: dict[str, Signature] = {}
    # Names that need no change come first: another tool can't take them away.
    for external in sorted(tools, key=lambda name: (_identifier(name) != name, name)):
        wanted = function = _identifier(external)
        number = 2
        while function in found:
            function = f"{wanted}_{number}"
            number += 1
        spec = tools[external]
        properties = spec.input_schema.get("properties")
        names = properties if isinstance(properties, dict) else {}
        found[function] = Signature(function, tuple(filter(is_parameter, names)), spec)
    return found


def _identifier(external: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", external)
    if not name or name[0] == "_" or name[0].isdigit():
        name = f"tool_{name.lstrip('_')}"
    return f"{name}_" if keyword.iskeyword(name) else name
