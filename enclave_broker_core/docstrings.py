"""What a handler's docstring says: the description, and a line for each parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?):\s*$")
_ITEM = re.compile(r"\*{0,2}(\w+)\s*(?:\(.*?\))?:(?:\s+(.*))?$")
_FIELD = re.compile(r":param\s+(?:[^:]*\s)?(\w+):\s*(.*)")
_OTHER_FIELD = re.compile(r":(type|return|returns|rtype|raise|raises|yield|yields)\b[^:]*:")


def describe(handler: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The text before the first section, and parameter → description.

    Reads Google's ``Args:`` and Sphinx's ``:param name:``.
    """
    text = inspect.getdoc(handler) or ""
    summary: list[str] = []
    parameters: dict[str, str] = {}
    section = ""
    margin = -1  # of the section's items; what stands further in goes on with one
    current: str | None = None
    for line in text.splitlines():
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        heading = _SECTION.match(stripped)
        sphinx = _FIELD.match(stripped)
        if heading and indent == 0:
            section, margin, current = heading[1], -1, None
        elif sphinx or _OTHER_FIELD.match(stripped):
            section, current = "sphinx", sphinx[1] if sphinx else None
            if sphinx:
                parameters[sphinx[1]] = sphinx[2]
        elif section == "":
            summary.append(line)
        elif section in ("Args", "Arguments", "Parameters", "sphinx") and stripped:
            margin = indent if margin < 0 else margin
            item = _ITEM.match(stripped) if section != "sphinx" and indent <= margin else None
            if item:
                current = item[1]
                parameters[current] = item[2] or ""
            elif current:
                parameters[current] += f" {stripped}"
    return "\n".join(summary).strip(), {name: text.strip() for name, text in parameters.items()}
