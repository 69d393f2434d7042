"""What the plugin offers, and what its configuration accepts."""

from __future__ import annotations

from importlib.metadata import entry_points

import enclave_broker_monty
import pluggy
import pytest
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.saved_state import SavedState
from pydantic import ValidationError

from enclave_broker_core import hookspecs
from enclave_broker_core.errors import RunError


def test_the_plugin_offers_one_runtime_for_asyncio() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(enclave_broker_monty)
    manager.check_pending()
    [[component]] = manager.hook.enclave_runtimes()
    assert (component.name, component.loops) == ("monty", frozenset({"asyncio"}))
    assert component.config_model is MontyConfig


def test_the_entry_point_is_the_package() -> None:
    [found] = entry_points(group="enclave_broker", name="monty")
    assert found.load() is enclave_broker_monty


@pytest.mark.parametrize(
    "table",
    [{"workers": 0}, {"queue_wait": 0}, {"max_suspensions": -1}, {"wrokers": 2}, {"park_after": 0}],
)
def test_a_wrong_configuration_is_refused(table) -> None:
    with pytest.raises(ValidationError):
        MontyConfig(**table)


def test_a_saved_state_is_read_back() -> None:
    for state in (SavedState(), SavedState(b"heap"), SavedState(b"heap", has_prelude=True)):
        assert SavedState.from_bytes(state.to_bytes()) == state


@pytest.mark.parametrize("data", [b"", b"enclave-monty-1", b"enclave-monty-1?", b"other-heap"])
def test_other_bytes_are_no_saved_state(data) -> None:
    with pytest.raises(RunError, match="not a saved state"):
        SavedState.from_bytes(data)


@pytest.mark.anyio
async def test_a_damaged_heap_is_an_error_of_the_run(monty, host) -> None:
    async with monty() as runtime:
        async with runtime.session(host, SavedState(b"damaged").to_bytes()) as session:
            with pytest.raises(RunError):
                await session.run("1")
            with pytest.raises(RunError):
                await session.run("1")
        async with runtime.session(host) as session:
            assert await session.run("1") == 1


@pytest.mark.anyio
async def test_a_dump_carries_what_reads_errors(monty, host) -> None:
    code = 'def reads(text):\n    return tool_error(RuntimeError(text)).code\nreads("A: b")'
    async with monty() as runtime:
        async with runtime.session(host) as session:
            assert await session.run(code) == "A"
            state = await session.dump()
        async with runtime.session(host, state) as session:
            assert await session.run('reads("C: d")') == "C"
