"""RateLimiter: which windows a call counts in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from .errors import ConfigError
from .models import Admission, Principal, Rate, ToolSpec, Window
from .pattern_index import PatternIndex
from .patterns import Pattern
from .windows import SlidingWindows

_RATES = TypeAdapter(dict[str, Rate])

OnError = Literal["deny", "allow"]
RateLike = Rate | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OfStore:
    """A backend that is the store's own: used where the store does not count calls itself."""

    backend: Any


class RateLimiter:
    """Rates for all calls, each session, principal and tenant, and for patterns of tools.

    Rates are Rate objects or ``{"max_calls": …, "window": seconds}``. A ``per_tool``
    pattern is one window that all its tools share. A call counts in every window that
    applies or, when one refuses it, in none. Alone, ``allow`` counts in this process;
    inside a broker ``backend`` does, a Limiter or an async context manager of one, by
    default the memory plugin's. ``on_error`` says whether calls are refused ("deny") or
    go uncounted ("allow") while the backend fails. ConfigError names every rate that is
    wrong.
    """

    def __init__(
        self,
        *,
        global_: RateLike | None = None,
        per_session: RateLike | None = None,
        per_principal: RateLike | None = None,
        per_tenant: RateLike | None = None,
        per_tool: Mapping[str, RateLike] | None = None,
        backend: Any = None,
        on_error: OnError = "deny",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if on_error not in ("deny", "allow"):
            raise ConfigError(f'on_error is {on_error!r}; it can be "deny" or "allow"')
        scopes = {
            "global_": global_,
            "per_session": per_session,
            "per_principal": per_principal,
            "per_tenant": per_tenant,
        }
        problems: list[str] = []
        known = _rates(
            "", {name: given for name, given in scopes.items() if given is not None}, problems
        )
        rates = _rates("per_tool.", dict(per_tool or {}), problems)
        patterns: list[Pattern] = []
        for text in rates:
            try:
                patterns.append(Pattern(text))
            except ConfigError as problem:
                problems.append(f"per_tool.{text}: {problem.message}")
        if problems:
            raise ConfigError("rate limits: " + "; ".join(problems), problems=problems)
        total = known.get("global_")
        self._global = () if total is None else (_window("global", "global", total),)
        self._per_session = known.get("per_session")
        self._per_principal = known.get("per_principal")
        self._per_tenant = known.get("per_tenant")
        self._index = PatternIndex(patterns)
        self._tool_windows = [
            Window(f"tool:{text}", f"tool {text}", rate.max_calls, rate.window)
            for text, rate in rates.items()
        ]
        self._windows = SlidingWindows(clock)
        self.backend = backend
        self.on_error = on_error

    def allow(self, session_id: str, tool: str, principal: Principal | None = None) -> Admission:
        """Count one call, in this process; true when it was admitted."""
        return self._windows.acquire(self.windows(session_id, tool, principal))

    def windows(
        self,
        session_id: str | None,
        tool: str,
        principal: Principal | None = None,
        spec: ToolSpec | None = None,
    ) -> tuple[Window, ...]:
        """Every window that a call of ``tool`` counts in."""
        found: list[Window] = [*self._global]
        if self._per_session is not None and session_id is not None:
            found.append(_window(f"session:{session_id}", "session", self._per_session))
        if principal is not None:
            if self._per_principal is not None:
                # Quoted, so that no two principals make the same key.
                owner = f"principal:{principal.tenant!r}:{principal.id!r}"
                found.append(_window(owner, "principal", self._per_principal))
            if self._per_tenant is not None and principal.tenant is not None:
                found.append(_window(f"tenant:{principal.tenant}", "tenant", self._per_tenant))
        found += [self._tool_windows[position] for position in self._index.all(tool)]
        if spec is not None and spec.rate_limit is not None:
            found.append(_window(f"own:{spec.name}", f"tool {spec.name}", spec.rate_limit))
        return tuple(found)


def _rates(place: str, given: Mapping[str, Any], problems: list[str]) -> dict[str, Rate]:
    """The rates; what is wrong with them is added to ``problems``."""
    try:
        return _RATES.validate_python(given)
    except ValidationError as problem:
        problems += [
            f"{place}{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in problem.errors(include_url=False, include_input=False)
        ]
        return {}


def _window(key: str, scope: str, rate: Rate) -> Window:
    return Window(key, scope, rate.max_calls, rate.window)
