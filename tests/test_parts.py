"""A component that does not open as it should is told of by its name, and stays closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from enclave_broker_core import Component, OpenContext, PluginError, open_broker
from enclave_broker_core.contracts import NoConfig
from enclave_broker_core.hookspecs import hookimpl
from enclave_broker_core.parts import open_component

pytestmark = pytest.mark.anyio


def raises_at_once(config: NoConfig, context: OpenContext) -> Any:
    raise OSError("no way in")


async def without_decorator(config: NoConfig, context: OpenContext) -> AsyncIterator[str]:
    yield "part"


async def plain_coroutine(config: NoConfig, context: OpenContext) -> str:
    return "part"


def asks_for_less(config: NoConfig) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("open_it", "said"),
    [
        (raises_at_once, "OSError: no way in"),
        (without_decorator, "open() gave async_generator, which is no async context manager"),
        (plain_coroutine, "open() gave coroutine, which is no async context manager"),
        (asks_for_less, "TypeError: asks_for_less() takes 1 positional argument but 2 were given"),
    ],
)
async def test_what_opens_wrongly_is_named(open_it: Any, said: str) -> None:
    component = Component("mine", open_it)
    with pytest.raises(PluginError) as raised:
        async with open_component(component, NoConfig(), OpenContext("sinks[0]")):
            pass
    assert raised.value.message == f"sinks[0] (mine) did not open: {said}"


async def test_whose_it_is_and_where_it_stands_is_told() -> None:
    class Telling:
        @hookimpl
        def enclave_event_sinks(self) -> list[Component]:
            return [Component("telling", raises_at_once)]

    with pytest.raises(PluginError) as raised:
        async with open_broker({"sinks": [{"use": "telling"}]}, plugins=[Telling()]):
            pass
    assert raised.value.message == (
        "sinks[0]: plugin 'Telling' of the program: sinks[0] (telling) did not open:"
        " OSError: no way in"
    )
