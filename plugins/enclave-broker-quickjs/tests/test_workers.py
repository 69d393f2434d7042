"""The pool: a full one, a dead worker, runs that are cancelled, and runs that wait long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import QuickJSRuntime
from enclave_broker_quickjs.workers import Workers
from pydantic import JsonValue

from enclave_broker_core.errors import DeadlineExceededError, RunError, RuntimeBusyError
from enclave_broker_core.models import SessionLimits
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="install uvloop, on which the server runs")
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


async def test_a_full_pool_is_an_error_that_says_when_to_come_back(quickjs, host) -> None:
    async with (
        quickjs(queue_wait=0.1, park_after=None) as runtime,
        runtime.session(host) as one,
        runtime.session(host) as other,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(one.run, 'await callTool("test:wait")')
            await host.called()
            with pytest.raises(RuntimeBusyError) as caught:
                await other.run("1")
            assert caught.value.retry_after == 0.1
            host.release.set()
        assert await other.run("1") == 1


async def test_runs_are_cancelled_at_every_moment_and_the_worker_lives(host) -> None:
    config = QuickJSConfig(workers=1, park_after=None)
    with anyio.fail_after(60):
        async with Workers.open(config) as workers:
            runtime = QuickJSRuntime(workers, config)
            for delay in range(60):
                async with runtime.session(host) as session:
                    with anyio.move_on_after(delay / 10_000):
                        await session.run('console.log("x"); await tools.test.echo({value: 1}); 1')
            async with runtime.session(host) as session:
                for _ in range(3):
                    with anyio.move_on_after(0.01):
                        await session.run("while (true);")
                assert [await session.run("1 + 1") for _ in range(5)] == [2] * 5
            assert workers.started == 1
    assert host.running == 0


@pytest.mark.parametrize("code", ['await callTool("test:wait")', "tools.test.echo(); for (;;);"])
async def test_a_killed_worker_hurts_only_its_run_and_is_replaced(host, code: str) -> None:
    config = QuickJSConfig(workers=1, park_after=None)
    with anyio.fail_after(60):
        async with Workers.open(config) as workers:
            runtime = QuickJSRuntime(workers, config)
            async with runtime.session(host) as victim, runtime.session(host) as other:
                await victim.run("var kept = 7")
                await other.run("var kept = 8")
                worker = await workers.take()
                workers.give_back(worker)
                async with anyio.create_task_group() as group:
                    group.start_soon(_killed, host, worker.kill)
                    with pytest.raises(RunError, match="worker died"):
                        await victim.run(f"kept = 9; await tools.test.echo({{value: 1}}); {code}")
                assert await other.run("kept") == 8
                assert await victim.run("kept") == 7
                assert workers.started == 2
    assert host.running == 0


async def _killed(host: RecordingHost, kill: Callable[[], None]) -> None:
    await host.called()
    kill()
    # It may have come to its next call before: its end is noticed when that is answered.
    host.release.set()


async def test_a_run_that_waits_gives_its_worker_to_others_and_goes_on(quickjs, host) -> None:
    results = []

    async def waits(session) -> None:
        results.append(
            await session.run(
                "const own = {n: 1};"
                "const waited = tools.test.wait();"
                "console.log('before');"
                "const all = await Promise.all([waited, tools.test.echo({value: own.n + 1})]);"
                "console.log('after'); [all, own.n]"
            )
        )

    async with (
        quickjs(park_after=0.001) as runtime,
        runtime.session(host) as one,
        runtime.session(RecordingHost()) as other,
        anyio.create_task_group() as group,
    ):
        group.start_soon(waits, one)
        await host.called(2)
        # There is one worker: this ends because the other run has left it.
        assert await other.run("1 + 1") == 2
        host.release.set()
    assert results == [[["released", 2], 1]]
    assert host.printed == "before\nafter\n"


async def test_a_parked_run_is_cancelled_with_its_calls(quickjs, host) -> None:
    async with (
        quickjs(park_after=0.001) as runtime,
        runtime.session(host) as one,
        runtime.session(RecordingHost()) as other,
    ):
        await one.run("var kept = 1")
        async with anyio.create_task_group() as group:
            group.start_soon(one.run, "kept = 2; await tools.test.never()")
            await host.called()
            assert await other.run("1") == 1
            group.cancel_scope.cancel()
        assert (host.running, host.cancelled) == (0, 1)
        assert await one.run("kept") == 1


class SlowHost(RecordingHost):
    async def call(self, name: str, arguments: Mapping[str, Any]) -> JsonValue:
        result = await super().call(name, arguments)
        await anyio.sleep(0.01)  # longer than a run waits before it is parked
        return result


async def test_time_that_was_used_before_parking_counts() -> None:
    host = SlowHost(SessionLimits(run_timeout=0.3))
    burn = "const until = Date.now() + 80; while (Date.now() < until);"
    code = f"for (;;) {{ {burn} await tools.test.echo({{value: 1}}) }}"
    config = QuickJSConfig(workers=1, park_after=0.001)
    with anyio.fail_after(60):
        async with (
            Workers.open(config) as workers,
            QuickJSRuntime(workers, config).session(host) as session,
        ):
            with pytest.raises(DeadlineExceededError):
                await session.run(code)
    assert len(host.calls) >= 2


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
async def test_a_worker_has_no_secrets_of_the_broker(monkeypatch) -> None:
    monkeypatch.setenv("API_TOKEN", "correct horse battery")
    with anyio.fail_after(60):
        async with Workers.open(QuickJSConfig(workers=1)) as workers:
            worker = await workers.take()
            environment = await anyio.Path(f"/proc/{worker.pid}/environ").read_text()
            workers.give_back(worker)
    assert "PATH=" in environment
    assert "API_TOKEN" not in environment
