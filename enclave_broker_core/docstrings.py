"""What a handler's docstring says: the description, and a line for each parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?):\s*$")
_ITEM = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s+(.*)")
_FIELD = re.compile(r":param\s+(?:[^:]*\s)?(\w+):\s*(.*)")


def describe(handler: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The text before the first section, and parameter → description.

    Reads Google's ``Args:`` and Sphinx's ``:param name:``.
    """
    text = inspect.getdoc(handler) or ""
    summary: list[str] = []
    parameters: dict[str, str] = {}
    section = ""
    current: str | None = None
    for line in text.splitlines():
        stripped = line.strip()
        heading = _SECTION.match(stripped)
        sphinx = _FIELD.match(stripped)
        if heading and line == stripped:
            section, current = heading[1], None
        elif sphinx or stripped.startswith((":return", ":raises", ":rtype")):
            section, current = "sphinx", sphinx[1] if sphinx else None
            if sphinx:
                parameters[sphinx[1]] = sphinx[2]
        elif section == "":
            summary.append(line)
        elif section in ("Args", "Arguments", "Parameters", "sphinx"):
            item = None if section == "sphinx" else _ITEM.match(stripped)
            if item:
                current = item[1]
                parameters[current] = item[2]
            elif current and stripped:
                parameters[current] += f" {stripped}"
    return "\n".join(summary).strip(), {name: text.strip() for name, text in parameters.items()}
