"""AccessController: ordered allow, deny and ask rules over tool names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter, ValidationError, field_validator

from .contracts import AccessPolicy, AccessRequest, Component, OpenContext
from .errors import ArgumentsError, ConfigError
from .models import Decision, Frozen, Principal, Verdict
from .pattern_index import PatternIndex
from .patterns import Pattern, PatternText

Default = Literal["allow", "deny", "ask"]

_OWN_KEYS = frozenset({"role", "tenant", "id"})  # of a principal; all others are its attributes


class Rule(Frozen):
    """One rule: what it says of the tools that match its pattern.

    ``allow`` is true, false or ``"ask"``. ``unless`` turns an allow and a deny round when
    everything in it holds for the caller: ``role`` when it is among the caller's roles,
    ``tenant`` and ``id`` when they are the caller's, any other key when the caller has an
    attribute of that name and value. What an ask is turned into is an allow.
    """

    pattern: PatternText
    """The tools that it is about."""
    allow: bool | Literal["ask"]
    """Whether they may be used, or ``"ask"``: only when somebody approves."""
    unless: Mapping[str, JsonValue] | None = None
    """What turns it round when all of it holds for the caller."""

    @field_validator("allow", mode="before")
    @classmethod
    def _allow(cls, allow: Any) -> Any:
        # No word is taken for a truth value here: "no" could be meant either way.
        if not isinstance(allow, bool) and allow != "ask":
            raise ValueError('can be true, false or "ask"')
        return allow

    @field_validator("unless")
    @classmethod
    def _unless(cls, unless: Mapping[str, JsonValue] | None) -> Mapping[str, JsonValue] | None:
        if unless is not None and not unless:
            raise ValueError("is empty: it would always hold; leave it out or say what must hold")
        for key in _OWN_KEYS & (unless or {}).keys():
            if not isinstance((unless or {})[key], str):
                raise ValueError(f"{key} is one text; anything else would never hold")
        return unless


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and every rule that matches the name, the deciding one first."""

    decision: Decision
    matching: tuple[str, ...]


_RULES = TypeAdapter(tuple[Rule, ...])


class AccessController:
    """Decides by the first rule whose pattern matches; by ``default`` when none does.

    ``rules`` are Rule objects or dicts of their fields. ``check`` and ``explain`` only
    compute and need no event loop; ``decide`` is the same for a broker. ConfigError names
    every rule that is wrong.
    """

    judges_arguments: bool = False
    stable: bool = True

    def __init__(
        self, rules: Sequence[Rule | Mapping[str, Any]] = (), *, default: Default = "deny"
    ) -> None:
        try:
            self._rules = _RULES.validate_python(tuple(rules))
        except ValidationError as problem:
            problems = [
                f"rules{''.join(f'[{p}]' if isinstance(p, int) else f'.{p}' for p in item['loc'])}:"
                f" {item['msg']}"
                for item in problem.errors(include_url=False, include_input=False)
            ]
            raise ConfigError("access " + "; ".join(problems), problems=problems) from None
        if default not in ("allow", "deny", "ask"):
            raise ConfigError(f"access default is {default!r}; it can be allow, deny or ask")
        self._index = PatternIndex([Pattern(rule.pattern) for rule in self._rules])
        self._judges = [_Judge(position, rule) for position, rule in enumerate(self._rules)]
        self._default = Decision(Verdict(default), "default", "no rule matches")

    def check(self, name: str, caller: Principal | Mapping[str, Any] | None = None) -> Decision:
        """The decision for a caller, given as a Principal or as a dict of what it has.

        Of a dict, ``role`` or ``roles`` are a name or a list of names, ``id`` and ``tenant``
        are what they are for a Principal, and all else are attributes.
        """
        return self._decide(name, _principal(caller))

    def explain(
        self, name: str, caller: Principal | Mapping[str, Any] | None = None
    ) -> Explanation:
        """The decision and all the rules that match the name, in their order."""
        matching = tuple(self._judges[position].rule for position in self._index.all(name))
        return Explanation(self._decide(name, _principal(caller)), matching)

    async def decide(self, request: AccessRequest) -> Decision:
        return self._decide(request.tool, request.principal)

    def _decide(self, name: str, principal: Principal | None) -> Decision:
        position = self._index.first(name)
        if position < 0:
            return self._default
        return self._judges[position].decide(principal)


class _Judge:
    """A rule with the decisions that it can come to made ahead."""

    __slots__ = ("_otherwise", "_plain", "_unless", "rule")

    def __init__(self, position: int, rule: Rule) -> None:
        self.rule = f"rules[{position}] {rule.pattern}"
        verdict = {True: Verdict.ALLOW, False: Verdict.DENY, "ask": Verdict.ASK}[rule.allow]
        turned = Verdict.DENY if verdict is Verdict.ALLOW else Verdict.ALLOW
        self._plain = Decision(verdict, self.rule)
        self._otherwise = Decision(turned, self.rule, "its 'unless' holds")
        self._unless = None if rule.unless is None else dict(rule.unless)

    def decide(self, principal: Principal | None) -> Decision:
        if self._unless is not None and _holds(self._unless, principal):
            return self._otherwise
        return self._plain


def _holds(conditions: Mapping[str, JsonValue], principal: Principal | None) -> bool:
    if principal is None:
        return False
    return all(_condition(key, value, principal) for key, value in conditions.items())


def _condition(key: str, value: JsonValue, principal: Principal) -> bool:
    if key == "role":
        return isinstance(value, str) and value in principal.roles
    if key == "tenant":
        return principal.tenant is not None and principal.tenant == value
    if key == "id":
        return principal.id == value
    return key in principal.attributes and _same(principal.attributes[key], value)


def _same(found: JsonValue, value: JsonValue) -> bool:
    """Whether they are one JSON value. True == 1 in Python, and a policy must tell them apart."""
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    if isinstance(found, dict) and isinstance(value, dict):
        return found.keys() == value.keys() and all(_same(found[k], value[k]) for k in found)
    if isinstance(found, list) and isinstance(value, list):
        return len(found) == len(value) and all(map(_same, found, value))
    return found == value


def _principal(caller: Principal | Mapping[str, Any] | None) -> Principal | None:
    if caller is None or isinstance(caller, Principal):
        return caller
    known = dict(caller)
    roles: set[Any] = set()
    for given in (known.pop("role", ()), known.pop("roles", ())):
        roles.update([given] if isinstance(given, str) else given or ())
    try:
        return Principal(
            id=known.pop("id", "caller"),
            tenant=known.pop("tenant", None),
            roles=frozenset(roles),
            attributes=known,
        )
    except ValidationError as problem:
        fields = [
            (".".join(map(str, item["loc"])), item["msg"])
            for item in problem.errors(include_url=False, include_input=False)
        ]
        said = "; ".join(f"{field}: {reason}" for field, reason in fields)
        raise ArgumentsError(f"the caller is wrong: {said}", fields=fields) from None


class RulesConfig(Frozen):
    """The table of ``use = "rules"``: ordered rules, and what holds when none matches."""

    default: Default = "deny"
    """What holds for a tool that no rule matches."""
    rules: tuple[Rule, ...] = ()
    """The rules, of which the first that matches counts."""


@asynccontextmanager
async def open_rules(config: RulesConfig, context: OpenContext) -> AsyncIterator[AccessPolicy]:
    yield AccessController(config.rules, default=config.default)


RULES = Component("rules", open_rules, RulesConfig)
