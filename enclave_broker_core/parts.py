"""Opens the parts that a broker is made of, for as long as the broker lives."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from .contract_versions import CONTRACTS, Contract, Maker, require_taken
from .contracts import Component, OpenContext
from .errors import BrokerError, ConfigError, PluginError
from .loops import running_loop
from .plugins import Choice, Plugins
from .tracing import Headers, no_headers

_log = logging.getLogger(__name__)

PROGRAM = Maker("the program", None)


@asynccontextmanager
async def open_component(
    component: Component, config: BaseModel, context: OpenContext
) -> AsyncIterator[Any]:
    """Enter a component; PluginError when it does not run on this event loop or fails."""
    loop = running_loop()
    if loop not in component.loops:
        raise PluginError(
            f"{context.name} ({component.name}) runs on {' and '.join(sorted(component.loops))},"
            f" this program runs on {loop}"
        )
    failed = f"{context.name} ({component.name}) did not open"
    try:
        opening: Any = component.open(config, context)
        if not isinstance(opening, AbstractAsyncContextManager):
            if isinstance(opening, Coroutine):
                opening.close()  # it would complain that nobody awaited it
            given = type(opening).__name__
            raise PluginError(f"{failed}: open() gave {given}, which is no async context manager")
        part = await opening.__aenter__()
    except BrokerError:
        raise
    except Exception as problem:
        raise PluginError(f"{failed}: {type(problem).__name__}: {problem}") from problem
    try:
        yield part
    except BaseException as error:
        if not await opening.__aexit__(type(error), error, error.__traceback__):
            raise
    else:
        await opening.__aexit__(None, None, None)


@dataclass(frozen=True)
class Use:
    """An installed component by its name, with its configuration: what ``use`` makes."""

    name: str
    config: Mapping[str, Any]


def use(name: str, /, **config: Any) -> Use:
    """Name an installed component for ``Broker``: ``runtime=use("monty", workers=4)``.

    Without configuration the name alone does: ``runtime="monty"``. PluginError when the
    broker opens and no plugin has it, ConfigError when the configuration is wrong.
    """
    return Use(name, config)


@asynccontextmanager
async def as_part(
    given: Any, kind: str, role: str, trace_headers: Callable[[], Headers] = no_headers
) -> AsyncIterator[Any]:
    """What a program passes to ``Broker``, opened for the broker's life.

    The name of an installed component, a ``Use``, a Component, or an async context manager
    is opened here; anything else is the part itself and stays its owner's.
    """
    if isinstance(given, str):
        given = Use(given, {})
    context = OpenContext(role, trace_headers=trace_headers)
    if isinstance(given, Use):
        component = installed(kind, given.name)
        given = open_component(component, _configured(component, given), context)
    elif isinstance(given, Component):
        require_taken(CONTRACTS[kind], given.contract, f"{kind} {given.name!r}", PROGRAM)
        component = CONTRACTS[kind].adapted(given)
        given = open_component(component, _configured(component, Use("", {})), context)
    if isinstance(given, AbstractAsyncContextManager):
        async with given as part:
            yield part
    else:
        yield given


def installed(kind: str, name: str, contracts: Mapping[str, Contract] = CONTRACTS) -> Component:
    """The component of an installed plugin; the plugin of the same name is tried first."""
    for allowed in (name, "*"):
        plugins = Plugins(contracts)
        try:
            plugins.load(Choice(allow=(allowed,)))
            component = plugins.find(kind, name)
        except PluginError:
            if allowed == "*":
                raise
            continue
        for line in plugins.warnings():
            _log.warning("%s", line)
        return component
    raise PluginError(f"there is no {kind} named {name!r}")


def _configured(component: Component, chosen: Use) -> BaseModel:
    try:
        return component.config_model(**chosen.config)
    except ValidationError as problem:
        said = [
            f"{component.name}.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in problem.errors(include_url=False, include_input=False)
        ]
        raise ConfigError("; ".join(said), problems=said) from None


def listed(given: Any) -> Sequence[Any]:
    """None, one part or several, as several."""
    if given is None:
        return ()
    return given if isinstance(given, list | tuple) else (given,)


def named_runtimes(given: Any) -> Mapping[str, Any]:
    """None, one runtime or several by name, as several; one goes by its own name."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    name = given if isinstance(given, str) else getattr(given, "name", "default")
    return {str(name): given}
