"""RateLimiter: which windows a call counts in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import TypeAdapter

from .errors import ConfigError
from .models import Admission, Principal, Rate, ToolSpec, Window
from .pattern_index import PatternIndex
from .patterns import Pattern
from .windows import SlidingWindows

_RATE = TypeAdapter(Rate)
_RATES = TypeAdapter(dict[str, Rate])

OnError = Literal["deny", "allow"]
RateLike = Rate | Mapping[str, Any]


class RateLimiter:
    """Rates for all calls, each session, principal and tenant, and for patterns of tools.

    Rates are Rate objects or ``{"max_calls": …, "window": seconds}``. A ``per_tool``
    pattern is one window that all its tools share. A call counts in every window that
    applies or, when one refuses it, in none. Alone, ``allow`` counts in this process;
    inside a broker ``backend`` does, a Limiter or an async context manager of one, by
    default the memory plugin's. ``on_error`` says whether calls are refused ("deny") or
    go uncounted ("allow") while the backend fails.
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
        self._global = _rate(global_)
        self._per_session = _rate(per_session)
        self._per_principal = _rate(per_principal)
        self._per_tenant = _rate(per_tenant)
        rates = _RATES.validate_python(dict(per_tool or {}))
        patterns = [Pattern(text) for text in rates]
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
        found: list[Window] = []
        if self._global is not None:
            found.append(_window("global", "global", self._global))
        if self._per_session is not None and session_id is not None:
            found.append(_window(f"session:{session_id}", "session", self._per_session))
        if principal is not None:
            if self._per_principal is not None:
                owner = f"principal:{principal.tenant or ''}:{principal.id}"
                found.append(_window(owner, "principal", self._per_principal))
            if self._per_tenant is not None and principal.tenant is not None:
                found.append(_window(f"tenant:{principal.tenant}", "tenant", self._per_tenant))
        found += [self._tool_windows[position] for position in self._index.all(tool)]
        if spec is not None and spec.rate_limit is not None:
            found.append(_window(f"own:{spec.name}", f"tool {spec.name}", spec.rate_limit))
        return tuple(found)


def _rate(given: RateLike | None) -> Rate | None:
    return None if given is None else _RATE.validate_python(given)


def _window(key: str, scope: str, rate: Rate) -> Window:
    return Window(key, scope, rate.max_calls, rate.window)
