"""A run that waits for tools gives its worker to others, and goes on where it was."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any

import anyio
import pytest
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import RunError, RuntimeBusyError
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio

PARKING = {"workers": 1, "park_after": 0.01}


async def test_others_run_while_a_run_waits(monty, host) -> None:
    results = []
    async with (
        monty(**PARKING) as runtime,
        runtime.session(host) as waiting,
        runtime.session(host) as other,
    ):

        async def wait() -> None:
            code = 'kept = 1\nanswer = await call_tool("test:wait")\nkept += 1\n[answer, kept]'
            results.append(await waiting.run(code))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await host.called()
            # With the only worker held by the other run this would be RUNTIME_BUSY.
            assert await other.run("1 + 1") == 2
            assert results == []
            host.release.set()
        assert results == [["released", 2]]
        assert await waiting.run("kept") == 2


async def test_without_parking_the_worker_is_held(monty, host) -> None:
    async with (
        monty(workers=1, park_after=None, queue_wait=0.05) as runtime,
        runtime.session(host) as waiting,
        runtime.session(host) as other,
        anyio.create_task_group() as group,
    ):
        group.start_soon(waiting.run, 'await call_tool("test:wait")')
        await host.called()
        with pytest.raises(Exception, match="all 1 workers"):
            await other.run("1")
        host.release.set()


async def test_a_parked_run_goes_on_with_everything_that_code_can_do(monty, host) -> None:
    code = """
import asyncio
from tools import test_add

async def first():
    answer = await call_tool("test:wait")
    print("woken")
    return [answer, await test_add(1, 2)]

loose = call_tool("test:echo", {"value": "loose"})
both = await asyncio.gather(first(), asyncio.sleep(0.05, "slept"), call_tool("test:wait"))
from tools import test_echo
import time
time.sleep(0.05)
try:
    await call_tool("test:fail", {"message": "no luck"})
except ToolError as error:
    caught = str(error)
try:
    await call_tool(1)
except TypeError as error:
    wrong = str(error)
try:
    undefined_name
except NameError:
    missing = True
[both, await test_echo("imported"), caught, wrong[:9], missing, await loose]
"""
    async with monty(**PARKING) as runtime, runtime.session(host) as session:
        results = []

        async def run() -> None:
            results.append(await session.run(code))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await host.called(3)
            async with runtime.session(host) as other:
                await other.run("0")
            host.release.set()
        assert results == [
            [
                [["released", 3], "slept", "released"],
                "imported",
                "TOOL_ERROR: no luck",
                "call_tool",
                True,
                "loose",
            ]
        ]
        assert host.printed == "woken\n"
        assert await session.run("missing") is True


async def test_a_run_is_parked_again_and_again(monty, host) -> None:
    code = """
import asyncio
naps = [await asyncio.sleep(0.03, n) for n in range(4)]
naps
"""
    async with monty(**PARKING) as runtime, runtime.session(host) as session:
        assert await session.run(code) == [0, 1, 2, 3]


async def test_an_error_after_parking_shows_its_line_and_keeps_the_state(monty, host) -> None:
    async with monty(**PARKING) as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match=r"line 4[^$]*ZeroDivisionError"):
            await session.run("import asyncio\nkept = 5\nawait asyncio.sleep(0.05)\n1 / 0")
        assert await session.run("kept") == 5


async def test_a_cancelled_parked_run_leaves_no_call_and_no_change(monty, host) -> None:
    async with (
        monty(**PARKING) as runtime,
        runtime.session(host) as session,
        runtime.session(host) as other,
    ):
        await session.run("kept = 1")
        async with anyio.create_task_group() as group:
            group.start_soon(session.run, 'kept = 2\nawait call_tool("test:never")')
            await host.called()
            assert await other.run("1 + 1") == 2
            group.cancel_scope.cancel()
        assert (host.running, host.cancelled) == (0, 1)
        assert await session.run("kept") == 1


async def test_many_runs_wait_on_one_worker(monty, host) -> None:
    results = []
    async with monty(**PARKING) as runtime, anyio.create_task_group() as group:

        async def wait(number: int) -> None:
            async with runtime.session(host) as session:
                answer = await session.run(f'[{number}, await call_tool("test:wait")]')
                results.append(answer)

        for number in range(20):
            group.start_soon(wait, number)
        await host.called(20)
        host.release.set()
    assert sorted(results) == [[number, "released"] for number in range(20)]


@pytest.mark.parametrize("early", ["test:echo", "test:wait"])
async def test_a_call_that_is_awaited_later_is_not_mixed_up(monty, host, early) -> None:
    code = f"""
import asyncio
early = call_tool("{early}", {{"value": "echoed"}})
late = await asyncio.gather(asyncio.sleep(0.05, "slept"))
last = await call_tool("test:wait")
[await early, late, last]
"""
    results = []
    async with monty(**PARKING) as runtime, runtime.session(host) as session:

        async def run() -> None:
            results.append(await session.run(code))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await host.called(2)
            async with runtime.session(host) as other:
                await other.run("0")
            host.release.set()
    early_result = "echoed" if early == "test:echo" else "released"
    assert results == [[early_result, ["slept"], "released"]]


async def test_a_parked_run_waits_for_a_worker_as_long_as_it_must(monty, host) -> None:
    results = []
    async with (
        monty(workers=1, park_after=0.01, queue_wait=0.05) as runtime,
        runtime.session(host) as waiting,
        runtime.session(host) as other,
    ):

        async def run() -> None:
            results.append(await waiting.run('await call_tool("test:wait")'))

        async def other_runs(code: str) -> None:
            # The other run is parked first: until then this one is told that all is busy.
            while True:
                with contextlib.suppress(RuntimeBusyError):
                    await other.run(code)
                    return

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await host.called()
            # Blocks its worker, the only one, for several times the queue's wait.
            block = 'await call_tool("test:echo", {"value": 1})\nimport time\ntime.sleep(0.4)'
            group.start_soon(other_runs, block)
            await host.called(2)
            host.release.set()
        assert results == ["released"]


async def test_an_error_of_one_call_ends_a_run_that_waits_for_others(monty, host) -> None:
    code = """
import asyncio
await asyncio.gather(call_tool("test:never"), call_tool("test:fail", {"message": "no luck"}))
"""
    async with monty(**PARKING) as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match="no luck"):
            await session.run(code)
    assert (host.running, host.cancelled) == (0, 1)


async def test_a_run_that_is_parked_with_some_results_gets_all(monty, host) -> None:
    code = """
import asyncio
await asyncio.gather(
    call_tool("test:echo", {"value": "echoed"}),
    call_tool("test:wait"),
    call_tool("test:add", {"a": 1, "b": 2}),
)
"""
    results = []
    async with monty(**PARKING) as runtime, runtime.session(host) as session:

        async def run() -> None:
            results.append(await session.run(code))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await host.called(3)
            async with runtime.session(host) as other:
                await other.run("0")
            host.release.set()
    assert results == [["echoed", "released", 3]]
    assert len(host.calls) == 3


def program(random: Random, depth: int = 0) -> tuple[str, Any]:
    """An expression of calls and sleeps, one after the other or at once, and its value."""
    kind = random.randrange(4) if depth < 3 else random.randrange(2)
    value = random.randrange(100)
    if kind == 0:
        return f'call_tool("test:echo", {{"value": {value}}})', value
    if kind == 1:
        return f"asyncio.sleep({random.choice((0, 0.001, 0.003))}, {value})", value
    parts = [program(random, depth + 1) for _ in range(random.randrange(1, 4))]
    together = ", ".join(code for code, _ in parts)
    return f"{'gather' if kind == 2 else 'in_turn'}({together})", [found for _, found in parts]


async def test_what_a_run_finds_does_not_depend_on_parking(monty, host) -> None:
    head = """
import asyncio

async def gather(*parts):
    return list(await asyncio.gather(*parts))

async def in_turn(*parts):
    return [await part for part in parts]

"""
    async with monty(workers=2, park_after=0.0001) as runtime:

        async def run(seed: int) -> None:
            expression, value = program(Random(seed))
            async with runtime.session(host) as session:
                assert await session.run(f"{head}await {expression}") == value

        for first in range(0, 60, 6):
            async with anyio.create_task_group() as group:
                for seed in range(first, first + 6):
                    group.start_soon(run, seed)
    assert host.running == 0


def test_a_run_is_parked_on_a_loop_that_anyio_has_not_started() -> None:
    async def main() -> None:
        host = RecordingHost()
        async with (
            asyncio.timeout(60),
            open_monty(MontyConfig(workers=1, park_after=0.01), OpenContext("runtime")) as runtime,
            runtime.session(host) as waiting,
            runtime.session(host) as other,
        ):
            run = asyncio.create_task(waiting.run('await call_tool("test:wait")'))
            await host.called()
            assert await other.run("1 + 1") == 2
            host.release.set()
            assert await run == "released"

    asyncio.run(main())
