"""Makes a broker of a configuration and its plugins, and owns the lives of all its parts."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from pydantic import BaseModel

from .broker import Broker
from .composition import Parts
from .config import Config
from .config_files import ConfigLike, Document, read, reads_variables
from .contracts import Authenticator, SecretSource
from .draft import Draft, draft_of, plugins_of
from .errors import BrokerError, ConfigError, SecretError
from .limits import OfStore, RateLimiter
from .opening import Opening, OpenPart, open_part
from .plan import Part
from .plugins import Plugins
from .redaction import Redactor
from .secrets import Secrets
from .tracing import Headers

_log = logging.getLogger(__name__)

# How long, in seconds, a backend may take to answer whether it is there.
CHECK_TIME = 10.0


@dataclass(frozen=True, slots=True)
class Setup:
    """An open broker, and what else its configuration has for those who serve it.

    ``routes`` are what the routes of plugins opened to. ``settings`` is the whole
    configuration, with its references replaced: it may hold secrets. ``server`` is its
    ``[server]``, as the plugin that has a server understands it. ``reload`` reads the
    configuration again and swaps all of it in when every part of it has opened; when it has
    a mistake, or a part fails, it raises that and everything stays as it was. The store,
    the authenticators, the routes and ``server`` are those from the start.
    """

    broker: Broker
    plugins: Plugins
    settings: Config
    authenticators: tuple[Authenticator, ...]
    routes: tuple[Any, ...]
    server: BaseModel | None
    reload: Callable[[], Awaitable[None]]


@asynccontextmanager
async def open_broker(
    config: ConfigLike = None,
    *,
    plugins: Sequence[object] = (),
    environment: bool | None = None,
) -> AsyncIterator[Broker]:
    """An open broker, for a block.

    ``config`` is the path of a TOML file, a mapping of the same shape, or a list of such,
    merged in their order: tables by key, all else replaced by the later one. None has
    defaults for everything. ``plugins`` are objects or modules that are taken as plugins
    besides the installed ones. Variables like ``ENCLAVE_BROKER__STORE__URL`` go over all of
    it when ``environment`` is true, by default when a file is among the sources. ConfigError
    holds every mistake with its place; PluginError names the plugin that failed.
    """
    async with open_setup(config, plugins=plugins, environment=environment) as setup:
        yield setup.broker


@asynccontextmanager
async def open_setup(
    config: ConfigLike = None,
    *,
    plugins: Sequence[object] = (),
    environment: bool | None = None,
    opening: OpenPart = open_part,
) -> AsyncIterator[Setup]:
    """The same for a server: the broker together with its authenticators and routes.

    ``opening`` opens each part in place of ``open_part``, as tests do that look at it.
    """
    given, redactor = _Given(config, plugins, environment, opening), Redactor()
    async with AsyncExitStack() as stack:
        ready = await _ready(given, redactor, stack)
        for line in ready.draft.warnings():
            _log.warning("%s", line)
        broker = _broker(ready, redactor)
        for name, value in ready.values.items():
            broker.conceal(value, name)
        await stack.enter_async_context(broker)
        plan, secrets = ready.draft.plan, Secrets(ready.sources, redactor)
        authenticators = [
            await stack.enter_async_context(ready.opening.open(part, secrets))
            for part in plan.authenticators
        ]
        routes = [
            await stack.enter_async_context(ready.opening.open(part, secrets))
            for part in plan.routes
        ]

        async def reload() -> None:
            await broker.reload(partial(_again, given, redactor, broker, plan.store))

        yield Setup(
            broker,
            ready.draft.plugins,
            ready.draft.settings,
            tuple(authenticators),
            tuple(routes),
            plan.server,
            reload,
        )


async def _again(
    given: _Given, redactor: Redactor, broker: Broker, store: Part | None, stack: AsyncExitStack
) -> Parts:
    """The parts of the configuration as it is now. ConfigError when it has another store."""
    ready = await _ready(given, redactor, stack)
    wanted = ready.draft.plan.store
    if (
        wanted is None
        or store is None
        or (wanted.name, wanted.config) != (store.name, store.config)
    ):
        raise ConfigError("the store can't be changed while the broker runs; start it anew")
    for name, value in ready.values.items():
        broker.conceal(value, name)
    return _broker(ready, redactor, broker).parts


def check(
    config: ConfigLike = None, *, plugins: Sequence[object] = (), environment: bool | None = None
) -> list[str]:
    """Every mistake that can be found without opening anything: none is an empty list.

    What depends on a secret is not judged.
    """
    try:
        draft = draft_of(_read(config, environment), os.environ, Redactor(), plugins)
    except ConfigError as problem:
        return list(problem.problems)
    return draft.mistakes.texts()


async def check_backends(
    config: ConfigLike = None, *, plugins: Sequence[object] = (), environment: bool | None = None
) -> list[str]:
    """The same, and then every part is opened and asked whether it works; what failed."""
    redactor = Redactor()
    failed: list[str] = []
    async with AsyncExitStack() as stack:
        try:
            ready = await _ready(_Given(config, plugins, environment), redactor, stack)
        except ConfigError as problem:
            return list(problem.problems)
        except BrokerError as problem:
            return [problem.message]
        for part in ready.draft.plan.parts():
            said = await _try(part, ready.opening, Secrets(ready.sources, redactor))
            failed += [] if said is None else [said]
    return failed


@asynccontextmanager
async def open_one(
    config: ConfigLike,
    kind: str,
    name: str,
    *,
    plugins: Sequence[object] = (),
    environment: bool | None = None,
) -> AsyncIterator[Any]:
    """One part of a configuration, open without the broker and without any other part.

    ``kind`` is "tools" and the like, ``name`` what the configuration calls it. ConfigError when
    there is none of that name.
    """
    redactor = Redactor()
    async with AsyncExitStack() as stack:
        ready = await _ready(_Given(config, plugins, environment), redactor, stack)
        parts = ready.draft.plan.parts()
        found = next((part for part in parts if (part.kind, part.name) == (kind, name)), None)
        if found is None:
            raise ConfigError(f"the configuration has no {kind} named {name!r}")
        secrets = Secrets(ready.sources, redactor)
        yield await stack.enter_async_context(ready.opening.open(found, secrets))


def load_plugins(
    config: ConfigLike = None, *, plugins: Sequence[object] = (), environment: bool | None = None
) -> Plugins:
    """The plugins of a configuration, those that failed too, with what became of each.

    ConfigError when the configuration does not even say which may load.
    """
    return plugins_of(_read(config, environment), os.environ, plugins)


def _read(config: ConfigLike, environment: bool | None) -> Document:
    wanted = reads_variables(config) if environment is None else environment
    return read(config, os.environ if wanted else None)


@dataclass(frozen=True)
class _Given:
    """What a configuration is read from, at the start and at each reload."""

    config: ConfigLike
    plugins: Sequence[object]
    environment: bool | None
    opening: OpenPart = open_part


@dataclass(frozen=True)
class _Ready:
    """A configuration without mistakes, and its secret sources at work."""

    opening: Opening
    draft: Draft
    sources: Sequence[SecretSource]
    values: Mapping[str, str]


async def _ready(given: _Given, redactor: Redactor, stack: AsyncExitStack) -> _Ready:
    document = _read(given.config, given.environment)
    opening = Opening(document, redactor, given.opening)
    draft = draft_of(document, os.environ, redactor, given.plugins)
    if not draft.knows_sources:
        raise draft.error()
    try:
        sources = [
            await stack.enter_async_context(opening.open(part)) for part in draft.plan.secrets
        ]
    except BrokerError:
        if draft.mistakes:
            raise draft.error() from None
        raise
    values: dict[str, str] = {}
    problems: dict[str, str] = {}
    secrets = Secrets(sources, redactor)
    for name in draft.names:
        try:
            values[name] = await secrets.get(name)
        except BrokerError as problem:
            problems[name] = problem.message

    def secret(name: str) -> str:
        if name in problems:
            raise SecretError(problems[name])
        return values[name]

    if draft.names:
        draft = draft_of(document, os.environ, redactor, plugins=draft.plugins, secret=secret)
    if draft.mistakes:
        raise draft.error()
    return _Ready(opening, draft, sources, values)


def _broker(ready: _Ready, redactor: Redactor, serving: Broker | None = None) -> Broker:
    """``serving`` is the broker that takes the parts over, if it is not this one."""
    plan, settings = ready.draft.plan, ready.draft.settings

    secrets = Secrets(ready.sources, redactor)

    def trace_headers() -> Headers:
        tracer = (serving or made).tracer
        return () if tracer is None else tracer.headers()

    def opened(part: Part) -> Any:
        return ready.opening.open(part, secrets, trace_headers)

    if plan.store is None or plan.limiter is None:
        raise ConfigError("the configuration has no store or no limiter")
    rates, backend = settings.rate_limit, opened(plan.limiter)
    if rates.backend is None:
        backend = OfStore(backend)
    limiter = RateLimiter(
        global_=rates.global_,
        per_session=rates.per_session,
        per_principal=rates.per_principal,
        per_tenant=rates.per_tenant,
        per_tool=rates.per_tool,
        backend=backend,
        on_error=rates.on_error,
    )
    made = Broker(
        providers={part.name: opened(part) for part in plan.tools},
        middleware=[opened(part) for part in plan.middleware],
        access=[opened(part) for part in plan.access],
        limiter=limiter,
        store=opened(plan.store),
        runtime={part.name: opened(part) for part in plan.runtimes},
        limits=settings.limits,
        sessions=settings.sessions,
        # They are open already, and some may be context managers themselves.
        secrets=[nullcontext(source) for source in ready.sources],
        audit=None if plan.audit is None else opened(plan.audit),
        sinks=[opened(part) for part in plan.sinks],
    )
    return made


async def _try(part: Part, opening: Opening, secrets: Secrets) -> str | None:
    """Open a part and ask whether it works: what is wrong, or None."""
    entered = False
    try:
        with anyio.fail_after(CHECK_TIME):
            async with opening.open(part, secrets) as opened:
                entered = True
                if part.kind in ("store", "limiter"):
                    await opened.check()
                elif part.kind == "tools":
                    await opened.tools()
    except TimeoutError:
        said = f"no answer in {CHECK_TIME:g} s"
    except BrokerError as problem:
        if not entered:
            return problem.message
        said = problem.message
    except Exception as problem:
        said = f"{type(problem).__name__}: {problem}"
    else:
        return None
    return opening.failure(part, said)
