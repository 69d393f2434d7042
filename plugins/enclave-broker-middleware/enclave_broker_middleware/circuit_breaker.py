"""Refuses the calls of a tool that fails, until it may have recovered."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from pydantic import Field

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Count, Frozen, Seconds

from .circuit import Circuit, CircuitRules, Permit
from .errors import CircuitOpenError
from .selection import ErrorCode, ToolPatterns, Tools, caller


class CircuitBreakerConfig(Frozen):
    """When a circuit opens, and when it closes.

    It opens when there were ``max_failures`` in a window, or at least ``min_calls`` of which the
    ``failure_rate`` failed. Errors that are no failures, and cancelled calls, count for nothing.
    """

    tools: ToolPatterns = ("*",)
    """Patterns of the tools that it is for."""
    per: Literal["tool", "pattern", "source"] = "tool"
    """What has a circuit: each tool, each of the patterns (the first that matches), or each source
    of tools."""
    per_principal: bool = False
    """Whether each caller has circuits of its own."""
    codes: frozenset[ErrorCode] = frozenset({"TOOL_ERROR", "TOOL_TIMEOUT"})
    """Codes of the errors that are failures."""
    window: Seconds = 30.0
    """The window, in seconds."""
    min_calls: Count = 10
    """Calls in a window from which on the rate counts."""
    failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The part of them, 0 to 1, that failed."""
    max_failures: Count | None = None
    """Failures in a window, whatever the rate is."""
    open_for: Seconds = 30.0
    """Seconds for which a circuit stays open."""
    probes: Count = 1
    """Calls that are let through then; it closes when all have gone well."""
    max_circuits: Count = 10_000
    """Circuits that are kept."""


class CircuitBreaker:
    """CircuitOpenError, with the time to come back, for the calls of an open circuit.

    Such a refusal is no failure of any circuit. When there are ``max_circuits``, the one
    that was asked for longest ago is forgotten, and is closed if it is asked for again.
    """

    def __init__(
        self,
        config: CircuitBreakerConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        config = self._config = config or CircuitBreakerConfig()
        self._tools = Tools(config.tools)
        self._clock = clock
        self._rules = CircuitRules(
            window=config.window,
            min_calls=config.min_calls,
            failure_rate=config.failure_rate,
            max_failures=config.max_failures,
            open_for=config.open_for,
            probes=config.probes,
        )
        self._circuits: OrderedDict[Hashable, Circuit] = OrderedDict()

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        key = self._key(call)
        if key is None:
            return await call_next(call)
        now = self._clock()
        permit = self._circuit(key).admit(now, now + call.remaining())
        if not isinstance(permit, Permit):
            raise CircuitOpenError(
                f"{call.name} failed too often of late and is not called for now; try again in"
                f" {permit:.3g} s",
                retry_after=permit,
            )
        try:
            answer = await call_next(call)
        except BrokerError as error:
            ended = permit.failed if error.code in self._config.codes else permit.neither
            ended(self._clock())
            raise
        except Exception:  # what a middleware below did not foresee reaches the agent as this
            ended = permit.failed if "TOOL_ERROR" in self._config.codes else permit.neither
            ended(self._clock())
            raise
        except BaseException:
            permit.neither(self._clock())
            raise
        permit.succeeded(self._clock())
        return answer

    def _circuit(self, key: Hashable) -> Circuit:
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = Circuit(self._rules)
            if len(self._circuits) > self._config.max_circuits:
                self._circuits.popitem(last=False)
        else:
            self._circuits.move_to_end(key)
        return circuit

    def _key(self, call: ToolCall) -> Hashable | None:
        pattern, spec = self._tools.first(call.name), call.spec
        if pattern is None or spec is None:
            return None
        # Not the name of the call: one tool may take the calls of any number of names.
        own = {"tool": spec.name, "pattern": pattern, "source": spec.source}[self._config.per]
        return own, caller(call.principal) if self._config.per_principal else None


@asynccontextmanager
async def open_circuit_breaker(
    config: CircuitBreakerConfig, context: OpenContext
) -> AsyncIterator[Middleware]:
    yield CircuitBreaker(config)
