"""What the plugin offers, what its configuration accepts, and what a saved state may be."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files

import enclave_broker_quickjs
import pluggy
import pytest
from enclave_broker_quickjs import saved_state
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.quickjs_worker import packing
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from enclave_broker_core import hookspecs, open_broker
from enclave_broker_core.errors import RunError


def test_the_plugin_offers_one_runtime_for_asyncio() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(enclave_broker_quickjs)
    manager.check_pending()
    [[component]] = manager.hook.enclave_runtimes()
    assert (component.name, component.loops) == ("quickjs", frozenset({"asyncio"}))
    assert component.config_model is QuickJSConfig


def test_the_entry_point_is_the_package() -> None:
    [found] = entry_points(group="enclave_broker", name="quickjs")
    assert found.load() is enclave_broker_quickjs


@pytest.mark.parametrize(
    "table",
    [{"workers": 0}, {"queue_wait": 0}, {"max_calls": -1}, {"wrokers": 2}, {"park_after": 0}],
)
def test_a_wrong_configuration_is_refused(table) -> None:
    with pytest.raises(ValidationError):
        QuickJSConfig(**table)


# Saved states


@pytest.mark.parametrize("state", [b"", b"pages", bytes(100_000)])
def test_a_saved_state_is_read_back(state: bytes) -> None:
    saved = saved_state.from_bytes(saved_state.to_bytes(packing.raw(state)))
    assert packing.unpacked(saved) == state
    assert len(saved) < 1000


@given(st.binary(max_size=60))
@settings(max_examples=50)
def test_other_bytes_are_no_saved_state(data: bytes) -> None:
    with pytest.raises(RunError, match="saved state"):
        saved_state.from_bytes(data)
    with pytest.raises(packing.NotPackedError):
        packing.unpacked(b"z" + data)


@pytest.mark.anyio
async def test_a_state_is_taken_up_by_another_process(quickjs, host) -> None:
    async with quickjs() as runtime, runtime.session(host) as session:
        await session.run(
            "class Counter { #n = 41; next() { return ++this.#n } } var c = new Counter()"
        )
        state = await session.dump()
    async with quickjs() as runtime, runtime.session(host, state) as session:
        assert await session.run("c.next()") == 42


@pytest.mark.anyio
async def test_a_state_that_is_damaged_is_refused_and_harms_no_other(quickjs, host) -> None:
    async with quickjs() as runtime:
        async with runtime.session(host) as session:
            await session.run("var kept = 1")
            state = packing.unpacked(saved_state.from_bytes(await session.dump()))
        damaged = [state[:-1], b"x" + state[1:], state[:32] + b"\xff" * 4 + state[36:]]
        # A page beyond the memory.
        damaged.append(state[:40] + b"\xff\xff\xff\x7f" + state[44:])
        for one in damaged:
            async with runtime.session(host, saved_state.to_bytes(packing.raw(one))) as session:
                with pytest.raises(RunError, match="not a saved state"):
                    await session.run("kept")
        async with runtime.session(host, saved_state.to_bytes(packing.raw(state))) as session:
            assert await session.run("kept") == 1


# With a broker


@pytest.mark.anyio
async def test_a_session_picks_its_runtime_and_the_first_is_the_default() -> None:
    table = [
        {"use": "quickjs", "workers": 1},
        {"use": "quickjs", "name": "strict", "workers": 1, "max_calls": 1},
    ]
    twice = "await tools.one({}); return await tools.one({})"
    async with open_broker({"runtime": table, "plugins": ["quickjs", "memory"]}) as broker:
        broker.tool("one")(lambda: 1)
        for name, ok in [(None, True), ("quickjs", True), ("strict", False)]:
            async with broker.session(runtime=name) as session:
                assert (await session.run(twice)).ok is ok
        with pytest.raises(RunError, match="no runtime named 'python'; it has: quickjs, strict"):
            await broker.create_session(runtime="python")


@pytest.mark.anyio
async def test_its_calls_and_what_it_says_are_events_in_order() -> None:
    config = {"runtime": {"use": "quickjs", "workers": 1}, "plugins": ["quickjs", "memory"]}
    code = """
console.log("one");
console.warn("two", {n: 2});
const user: {id: number} = await tools.users.get({id: 3});
return user.id;
"""
    async with open_broker(config) as broker:

        @broker.tool("users:get")
        async def get(id: int) -> dict[str, int]:
            return {"id": id}

        async with broker.session() as session:
            outcome = await session.execute(code)
            events = [event async for event in session.events()]
    assert outcome.unwrap() == 3
    assert [(event.type, *event.payload.values())[:3] for event in events[1:3]] == [
        ("stdout", "one\n"),
        ("log", "warn", 'two {"n":2}'),
    ]
    assert [event.type for event in events[3:]] == ["tool_call", "tool_result_applied", "final"]


# What the sandbox is built on


def test_memory_and_the_stack_pointer_are_all_that_changes_in_the_guest() -> None:
    """That is why a sandbox is whole again when these two are: a second variable would leak."""
    wasm = (files("quickjs_rs") / "_guest.wasm").read_bytes()
    assert [variable for variable in _variables(wasm) if variable] == [True]


def _variables(wasm: bytes) -> list[bool]:
    """For each global of a module's own, whether it can change."""
    at = 8
    while wasm[at] != 6:
        size, at = _number(wasm, at + 1)
        at += size
    _, at = _number(wasm, at + 1)
    count, at = _number(wasm, at)
    found = []
    for _ in range(count):
        found.append(wasm[at + 1] == 1)
        assert wasm[at + 2] == 0x41, "not an i32 that is given as a number"
        _, at = _number(wasm, at + 3)
        assert wasm[at] == 0x0B
        at += 1
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number in LEB128, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at
