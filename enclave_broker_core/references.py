"""What ``${…}`` in a configuration stands for: an environment variable or a secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import SecretError
from .places import Place

Lookup = Callable[[str], str]

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inner>[^{}]*)\}|\$\{")
_ENV = re.compile(r"env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
_SECRET = re.compile(r"secret:(?P<name>\S+)")


@dataclass
class Expanded:
    """A configuration without references.

    ``unknown`` are the places whose value is not known: it can't be judged. ``secrets``
    are the places that hold secrets, with their values; ``names`` are those of all
    secrets that the configuration asks for. ``mistakes`` are places and what is wrong.
    """

    data: Any = None
    mistakes: list[tuple[Place, str]] = field(default_factory=list)
    unknown: set[Place] = field(default_factory=set)
    secrets: dict[Place, list[str]] = field(default_factory=dict)
    names: dict[str, Place] = field(default_factory=dict)


def expand(
    data: Any,
    environment: Mapping[str, str],
    secret: Lookup | None = None,
    *,
    without_secrets: frozenset[str] = frozenset(),
) -> Expanded:
    """Replace the references in all strings; ``$${`` stands for ``${``.

    ``${env:NAME}`` is a variable, ``${env:NAME:-text}`` the text when it is unset or
    empty, ``${secret:NAME}`` what ``secret(name)`` returns; it may raise SecretError.
    Without ``secret``, texts with secrets are left and unknown. Secrets can't stand in
    the top-level keys of ``without_secrets``.
    """
    expanded = Expanded()
    expanded.data = _Expander(expanded, environment, secret, without_secrets).value(data, ())
    return expanded


class _Expander:
    def __init__(
        self,
        expanded: Expanded,
        environment: Mapping[str, str],
        secret: Lookup | None,
        without_secrets: frozenset[str],
    ) -> None:
        self._expanded = expanded
        self._environment = environment
        self._secret = secret
        self._without_secrets = without_secrets

    def value(self, value: Any, place: Place) -> Any:
        if isinstance(value, str):
            return self._text(value, place) if "${" in value else value
        if isinstance(value, Mapping):
            return {key: self.value(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, (*place, index)) for index, item in enumerate(value)]
        return value

    def _text(self, text: str, place: Place) -> str:
        done, end = "", 0
        for match in _REFERENCE.finditer(text):
            done += text[end : match.start()]
            end = match.end()
            if match.group() == "$${":
                done += "${"
                continue
            try:
                done += self._reference(match.group("inner"), place)
            except SecretError as problem:
                self._expanded.mistakes.append((place, problem.message))
                self._expanded.unknown.add(place)
        return text if place in self._expanded.unknown else done + text[end:]

    def _reference(self, inner: str | None, place: Place) -> str:
        if inner is None:
            raise SecretError("a '${' has no '}'; write '$${' where '${' is meant as it is")
        if asked := _ENV.fullmatch(inner):
            value = self._environment.get(asked["name"])
            if asked["default"] is not None:
                return value or asked["default"]
            if value is None:
                raise SecretError(f"the environment variable {asked['name']} is not set")
            return value
        if asked := _SECRET.fullmatch(inner):
            return self._of_secret(asked["name"], place)
        raise SecretError(
            f"'${{{inner}}}' is no reference; there are ${{env:NAME}}, ${{env:NAME:-default}}"
            " and ${secret:NAME}; write '$${' where '${' is meant as it is"
        )

    def _of_secret(self, name: str, place: Place) -> str:
        if place[0] in self._without_secrets:
            raise SecretError("a secret can't stand here: this is read before secrets are")
        self._expanded.names.setdefault(name, place)
        if self._secret is None:
            self._expanded.unknown.add(place)
            return ""
        value = self._secret(name)
        self._expanded.secrets.setdefault(place, []).append(value)
        return value
