"""Names of tools and of arguments: stable, of allowed characters, and no two alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .parameters import Parameter

LONGEST_NAME = 128
LONGEST_ARGUMENT = 64

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.:/-]+")
# What the APIs of models take as the key of an argument.
_NOT_IN_ARGUMENTS = re.compile(r"[^A-Za-z0-9_.-]+")
_NOT_IN_WORDS = re.compile(r"[^A-Za-z0-9]+")


def own_name(operation_id: str | None, method: str, path: str) -> str:
    """What an operation is called without its source: its id, else its method and path."""
    if operation_id:
        made = _NOT_IN_NAMES.sub("_", operation_id).strip("_:/.-")
        if made:
            return made
    words = _NOT_IN_WORDS.sub("_", path).strip("_")
    return f"{method.lower()}_{words}" if words else method.lower()


def tool_names(source: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """The tool's name for each key; ``wanted`` is key → name without the source.

    A key is what tells an operation from all others: its method and its path. Of those that
    want one name each gets a suffix made from its key, whichever stands first.
    """
    prefix = f"{_NOT_IN_NAMES.sub('_', source)}:"
    owners: dict[str, list[str]] = {}
    for key, name in wanted.items():
        owners.setdefault(name, []).append(key)
    names: dict[str, str] = {}
    for name, keys in owners.items():
        for key in keys:
            whole = prefix + name
            if len(keys) > 1 or len(whole) > LONGEST_NAME:
                whole = _suffixed(whole, key, 8)
            names[key] = whole
    taken: dict[str, int] = {}
    for whole in names.values():
        taken[whole] = taken.get(whole, 0) + 1
    # Somebody may have an operationId that looks like a suffixed one.
    for key, whole in names.items():
        if taken[whole] > 1:
            names[key] = _suffixed(prefix + wanted[key], key, 16)
    return names


def _suffixed(whole: str, key: str, length: int) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:length]
    return f"{whole[: LONGEST_NAME - 1 - length]}_{digest}"


def named_arguments(parameters: Sequence[Parameter], *, body: bool) -> list[Parameter]:
    """The parameters with the names of their arguments.

    Where two would have one name, or one that of the body, each says where it is in the
    request: ``id_path`` and ``id_query``.
    """
    plain = [_argument(parameter.name) for parameter in parameters]
    wanted: dict[str, int] = {"body": 1} if body else {}
    for name in plain:
        wanted[name] = wanted.get(name, 0) + 1
    taken = {name for name, times in wanted.items() if times == 1} | ({"body"} if body else set())
    chosen: list[str] = []
    for name, parameter in zip(plain, parameters, strict=True):
        number, tried = 2, name
        if wanted[name] > 1:
            name = tried = f"{name[: LONGEST_ARGUMENT - 12]}_{parameter.location}"
            while tried in taken:
                tried = f"{name[: LONGEST_ARGUMENT - 4]}_{number}"
                number += 1
            taken.add(tried)
        chosen.append(tried)
    return [
        replace(parameter, argument=name)
        for name, parameter in zip(chosen, parameters, strict=True)
    ]


def _argument(name: str) -> str:
    made = _NOT_IN_ARGUMENTS.sub("_", name)
    if made != name:
        made = made.strip("_") or "argument"
    if len(made) > LONGEST_ARGUMENT:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
        made = f"{made[: LONGEST_ARGUMENT - 9]}_{digest}"
    return made
