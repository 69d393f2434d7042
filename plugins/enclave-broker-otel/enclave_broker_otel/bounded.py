"""Values for attributes of metrics: so many and no more, whatever comes from outside."""

from __future__ import annotations

from enclave_broker_core.models import ToolSpec

OTHER = "_other"
UNKNOWN = "_unknown"
CLIENT = "client:"
LONGEST = 200
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Bounded:
    """The first ``most`` different values are themselves, all later ones are ``_other``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._most or len(value) > LONGEST:
            return OTHER
        self._known.add(value)
        return value


def tool_label(spec: ToolSpec | None, tools: Bounded) -> str:
    """The name of a tool for a metric: one value for all that clients make up."""
    if spec is None:
        return UNKNOWN
    return f"{CLIENT}*" if spec.name.startswith(CLIENT) else tools.of(spec.name)


def known_method(method: str) -> str:
    """As the conventions for HTTP have it: what is none of theirs is ``_OTHER``."""
    return method if method in METHODS else "_OTHER"
