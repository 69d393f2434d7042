"""Fills in arguments that the agent leaves out, and sets those that are not its to choose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import to_json

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Frozen

from .pointers import GONE, at_pointer, parse_pointer
from .selection import ToolPatterns, Tools

PLACES = (
    ("principal", "id"),
    ("principal", "tenant"),
    ("principal", "roles"),
    ("principal", "attributes"),
    ("session", "id"),
    ("session", "metadata"),
)


def _place(text: str) -> str:
    if parse_pointer(text)[:2] not in PLACES:
        known = ", ".join("/" + "/".join(place) for place in PLACES)
        raise ValueError(f"{text!r} is none of {known}, or in one of these")
    return text


Place = Annotated[str, AfterValidator(_place)]
Values = Mapping[str, JsonValue]
Places = Mapping[str, Place]


class DefaultsRule(Frozen):
    """For the tools of some patterns, arguments by name.

    Where a value is to be found is said as "/principal/attributes/region" or
    "/session/metadata/plan".
    """

    tools: ToolPatterns
    """Patterns of the tools that it is for."""
    defaults: Values = Field(default_factory=dict)
    """Values for arguments that the call leaves out."""
    fixed: Values = Field(default_factory=dict)
    """Values in the place of whatever the call has."""
    defaults_from: Places = Field(default_factory=dict)
    """Where to find values for arguments that the call leaves out."""
    fixed_from: Places = Field(default_factory=dict)
    """Where to find values in the place of whatever the call has."""


class DefaultsConfig(Frozen):
    """All the rules that match apply, in their order: a default is there for those after it,
    a later fixed value replaces an earlier one."""

    rules: tuple[DefaultsRule, ...]
    """The rules."""


class Defaults:
    """Passes on another call when it changes one, so that access is asked again.

    A default that is nowhere to be found is left out; for a fixed value that isn't, the
    call is refused with AccessDeniedError: it would be the agent's otherwise.
    """

    def __init__(self, config: DefaultsConfig) -> None:
        self._rules = [
            (Tools(rule.tools), rule, _parsed(rule.defaults_from), _parsed(rule.fixed_from))
            for rule in config.rules
        ]

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        given: dict[str, Any] | None = None
        for tools, rule, defaults_from, fixed_from in self._rules:
            if call.name not in tools:
                continue
            if given is None:
                given = dict(call.args)
            known = _known(call) if defaults_from or fixed_from else {}
            for name, names in defaults_from.items():
                value = at_pointer(known, names)
                if name not in given and value is not GONE:
                    given[name] = value
            for name, value in rule.defaults.items():
                given.setdefault(name, value)
            given |= rule.fixed
            for name, names in fixed_from.items():
                value = at_pointer(known, names)
                if value is GONE:
                    raise AccessDeniedError(
                        f"you may not use {call.name}: it is not known what its {name!r} has"
                        " to be for you"
                    )
                given[name] = value
        # By their texts: to Python, 1 and true are the same.
        if given is None or to_json(given) == to_json(dict(call.args)):
            return await call_next(call)
        return await call_next(call.replace(args=given))


def _parsed(places: Places) -> dict[str, tuple[str, ...]]:
    return {name: parse_pointer(text) for name, text in places.items()}


def _known(call: ToolCall) -> dict[str, Any]:
    """What the places point into. What is not known is not there, rather than null."""
    principal = call.principal
    about: dict[str, Any] = {}
    if principal is not None:
        about = {
            "id": principal.id,
            "roles": sorted(principal.roles),
            "attributes": principal.attributes,
        }
        if principal.tenant is not None:
            about["tenant"] = principal.tenant
    return {"principal": about, "session": {"id": call.session_id, "metadata": call.metadata}}


@asynccontextmanager
async def open_defaults(config: DefaultsConfig, context: OpenContext) -> AsyncIterator[Middleware]:
    yield Defaults(config)
