"""The pool: a full one, a dead worker, and waits that are given up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import anyio
import pytest
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.worker import Worker
from enclave_broker_monty.workers import Workers
from pydantic_monty import ResourceLimits

from enclave_broker_core.errors import RunError, RuntimeBusyError
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio


async def test_a_full_pool_is_an_error_that_says_when_to_come_back(monty, host) -> None:
    async with (
        monty(workers=1, queue_wait=0.1, park_after=None) as runtime,
        runtime.session(host) as one,
        runtime.session(host) as other,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(one.run, 'await call_tool("test:wait")')
            await host.called()
            with pytest.raises(RuntimeBusyError) as caught:
                await other.run("1")
            assert caught.value.retry_after == 0.1
            host.release.set()
        assert await other.run("1") == 1


async def test_waits_that_are_given_up_take_no_worker_along(monty, host) -> None:
    async with (
        monty(workers=1, park_after=None) as runtime,
        runtime.session(host) as one,
        anyio.create_task_group() as group,
    ):
        group.start_soon(one.run, 'await call_tool("test:wait")')
        await host.called()
        for _ in range(20):
            with anyio.move_on_after(0.002):
                async with runtime.session(host) as other:
                    await other.run("1")
        host.release.set()
        # Cancelled at every moment of a run, that of taking the worker included.
        for delay in range(40):
            with anyio.move_on_after(delay / 10_000):
                async with runtime.session(host) as other:
                    await other.run("1")
        assert [await one.run("1 + 1") for _ in range(5)] == [2] * 5


def _children() -> set[int]:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    threads = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for path in {listed, *threads} for pid in path.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for workers in /proc")
async def test_a_killed_worker_hurts_only_its_run(monty) -> None:
    before = _children()
    hosts = [RecordingHost(), RecordingHost()]
    outcomes = {}
    async with (
        monty(workers=1, park_after=None) as runtime,
        runtime.session(hosts[0]) as victim,
        runtime.session(hosts[1]) as other,
    ):
        await victim.run("kept = 7")
        await other.run("kept = 8")

        async def run() -> None:
            try:
                await victim.run('kept = 9\nawait call_tool("test:wait")')
            except RunError as error:
                outcomes["victim"] = error.message

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await hosts[0].called()
            for pid in _children() - before:
                os.kill(pid, signal.SIGKILL)
            hosts[0].release.set()
        assert outcomes["victim"].startswith("the sandbox's worker died in this run")
        assert await other.run("kept") == 8
        assert await victim.run("kept") == 7


async def test_work_that_is_cancelled_before_it_has_a_process_ends_too() -> None:
    go = threading.Event()
    limits: ResourceLimits = {"max_feed_duration_secs": 60.0}
    async with Workers.open(MontyConfig(workers=1)) as workers:
        worker = await workers.take()

        def compute() -> None:
            go.wait(10)
            worker.enter(workers.checkout(limits=limits, modules={}))
            worker.session.feed_run("while True: pass")

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(worker.do, compute)
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
                asyncio.get_running_loop().call_later(0.05, go.set)
        workers.give_back(worker)
        again = await workers.take()
        assert again is worker
        again_says = await again.do(lambda: _answer(again, workers, limits))
        assert again_says == 42
        workers.give_back(again)


def _answer(worker: Worker, workers: Workers, limits: ResourceLimits) -> object:
    worker.enter(workers.checkout(limits=limits, modules={}))
    return worker.session.feed_run("6 * 7")
