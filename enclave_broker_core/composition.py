"""Opens the parts of a broker and composes them, once, into the chain that calls run through."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from .access_stage import Access
from .contracts import (
    AccessPolicy,
    CallNext,
    EventSink,
    Limiter,
    Middleware,
    Runtime,
    SecretSource,
    ToolProvider,
)
from .errors import ConfigError
from .failures import Failures
from .guard import Guarded, guard_class
from .limits import OfStore, RateLimiter
from .models import SessionLimits
from .parts import as_part
from .pipeline import compose, middleware_stage
from .record import Record
from .redaction import Redactor
from .secrets import EnvironmentSecrets, Secrets
from .session_store import SessionStore
from .sinks import Sinks, open_sinks
from .stages import Admit, Arguments, Invoke, Limits
from .store_abilities import AdmittingStore
from .traced import Traced
from .tracing import Tracer, no_headers


@dataclass
class Parts:
    """What a broker is made of, as it was given: parts, or context managers that open them."""

    access: Sequence[Any] = ()
    rates: RateLimiter = field(default_factory=RateLimiter)
    middleware: Sequence[Any] = ()
    providers: Mapping[str, Any] = field(default_factory=dict)
    runtimes: Mapping[str, Any] = field(default_factory=dict)
    audits: Sequence[Any] = ()
    sinks: Sequence[Any] = ()
    secrets: Sequence[Any] | None = None
    limits: SessionLimits = field(default_factory=SessionLimits)


@dataclass
class Composition:
    """The opened parts, and the chain made of them."""

    chain: CallNext
    access: Access
    record: Record
    sinks: Sinks
    runtimes: Mapping[str, Runtime]
    providers: Mapping[str, ToolProvider]
    policies: Sequence[AccessPolicy]
    limits: Limits
    middleware: Sequence[Middleware]
    secrets: Secrets
    redactor: Redactor
    tracer: Traced | None = None


async def open_parts(
    parts: Parts,
    stack: AsyncExitStack,
    redactor: Redactor,
    guarded: Guarded,
    store: SessionStore,
) -> Composition:
    """Enter every part on ``stack`` and compose them. ConfigError for what is no such part.

    Where no backend counts the calls, the ``store`` does if it can.
    """

    tracer: Traced | None = None

    async def enter(given: Any, kind: str, role: str) -> Any:
        headers = no_headers if tracer is None else tracer.headers
        return await stack.enter_async_context(as_part(given, kind, role, headers))

    sources: list[SecretSource] = [EnvironmentSecrets()]
    if parts.secrets is not None:
        sources = [await enter(given, "secrets", "secrets") for given in parts.secrets]
    audits: list[EventSink] = [await enter(given, "sink", "audit") for given in parts.audits]
    watchers = [await enter(given, "sink", "sinks") for given in parts.sinks]
    tracer = _tracer(watchers)
    watchers = [watcher for watcher in watchers if hasattr(watcher, "observe")]
    sinks = await stack.enter_async_context(open_sinks(audits, watchers))
    policies: list[AccessPolicy] = [
        _policy(await enter(given, "access", "access")) for given in parts.access
    ]
    backend = parts.rates.backend
    of_store = backend is None or isinstance(backend, OfStore)
    counting = store if of_store and isinstance(store, AdmittingStore) else None
    if counting is not None:
        backend = counting.limiter
    elif isinstance(backend, OfStore):
        backend = backend.backend
    limiter: Limiter = await enter(backend or "memory", "limiter", "rate_limit.backend")
    _require_async(limiter, "acquire", "limiter")
    middleware: list[Middleware] = [
        _middleware(await enter(given, "middleware", "middleware")) for given in parts.middleware
    ]
    providers = {name: await enter(given, "tools", name) for name, given in parts.providers.items()}
    runtimes = {
        name: await enter(given, "runtime", "runtime") for name, given in parts.runtimes.items()
    }

    failures = Failures(redactor)
    access = Access(policies)
    guards = guard_class()
    record = Record(
        failures,
        guards,
        guarded,
        sinks.observe if sinks.active else None,
        defers=counting is not None,
    )
    judging = [policy for policy in policies if policy.judges_arguments]
    admit: Admit | None = None if counting is None else counting.admit
    if tracer is not None and admit is not None:
        admit = tracer.admitting(admit)
    limits = Limits(parts.rates, limiter, admit)
    found = Secrets(sources, redactor)
    invoke = Invoke(found, failures, guards, guarded)
    chain = compose(
        [
            *(() if tracer is None else (tracer.stage,)),
            record.stage,
            access.first,
            *(middleware_stage(one) for one in middleware),
            access.again,
            limits.stage,
        ],
        Arguments(judging, failures).stage(invoke),
    )
    return Composition(
        chain,
        access,
        record,
        sinks,
        runtimes,
        providers,
        policies,
        limits,
        middleware,
        found,
        redactor,
        tracer,
    )


def _tracer(watchers: Sequence[Any]) -> Traced | None:
    """The one among the sinks that is a tracer. A sink that has nothing to do is None."""
    tracers = [watcher for watcher in watchers if isinstance(watcher, Tracer)]
    if len(tracers) > 1:
        names = " and ".join(type(tracer).__name__ for tracer in tracers)
        raise ConfigError(f"a broker has one tracer at most, and its sinks have more: {names}")
    return Traced(tracers[0]) if tracers else None


def _policy(given: Any) -> AccessPolicy:
    _require_async(given, "decide", "access policy")
    if not isinstance(getattr(given, "judges_arguments", None), bool):
        raise ConfigError(
            f"the access policy {type(given).__name__} must say, by judges_arguments = True"
            " or False, whether it judges arguments"
        )
    policy: AccessPolicy = given
    return policy


def _middleware(given: Any) -> Middleware:
    call = given if inspect.isroutine(given) else getattr(given, "__call__", None)  # noqa: B004
    if not inspect.iscoroutinefunction(inspect.unwrap(call) if call else None):
        raise ConfigError(
            f"the middleware {getattr(given, '__name__', type(given).__name__)} must be"
            " 'async def (call, call_next)'"
        )
    middleware: Middleware = given
    return middleware


def _require_async(part: Any, method: str, kind: str) -> None:
    """A method that only looks async would let everybody in: it is refused at the start."""
    if not inspect.iscoroutinefunction(getattr(part, method, None)):
        raise ConfigError(f"the {kind} {type(part).__name__} needs an 'async def {method}'")
