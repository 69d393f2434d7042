"""Opens the parts that a broker is made of, for as long as the broker lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pydantic import BaseModel

from .contracts import Component, OpenContext, SessionStore
from .errors import BrokerError, PluginError
from .loops import running_loop
from .plugins import Choice, Plugins


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
    opening = component.open(config, context)
    try:
        part = await opening.__aenter__()
    except BrokerError:
        raise
    except Exception as problem:
        raise PluginError(
            f"{context.name} ({component.name}) did not open: {type(problem).__name__}: {problem}"
        ) from problem
    try:
        yield part
    except BaseException as error:
        if not await opening.__aexit__(type(error), error, error.__traceback__):
            raise
    else:
        await opening.__aexit__(None, None, None)


@asynccontextmanager
async def as_part(given: Any) -> AsyncIterator[Any]:
    """What a program passes to ``Broker``: an async context manager is entered, for the
    broker's life; anything else is the part itself and stays its owner's."""
    if isinstance(given, AbstractAsyncContextManager):
        async with given as part:
            yield part
    else:
        yield given


def default_part(kind: str, name: str, config: Mapping[str, Any], role: str) -> Any:
    """An async context manager of an installed component with its default configuration."""
    plugins = Plugins()
    plugins.load(Choice(allow=(name,)))
    component = plugins.find(kind, name)
    return open_component(component, component.config_model(**config), OpenContext(role))


def default_store() -> AbstractAsyncContextManager[SessionStore]:
    """The memory plugin's store."""
    store: AbstractAsyncContextManager[SessionStore] = default_part("store", "memory", {}, "store")
    return store
