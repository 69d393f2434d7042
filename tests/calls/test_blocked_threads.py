"""Plain handlers that hold their threads: abandoned, counted, bounded, and given back."""

from __future__ import annotations

import threading

import anyio
import pytest
from anyio.lowlevel import checkpoint
from serving import serving

from enclave_broker_core import (
    Broker,
    ToolError,
    ToolTimeoutError,
)

pytestmark = pytest.mark.anyio

SHORT = 0.05


async def test_one_that_blocks_its_thread() -> None:
    """It is abandoned and counted; too many are refused; it is given back when it ends."""
    release = threading.Event()
    began, ended = threading.Semaphore(0), threading.Semaphore(0)
    broker = Broker()

    @broker.tool("t")
    def block() -> None:
        began.release()
        release.wait()
        ended.release()

    @broker.tool("plain")
    def plain() -> str:
        return "served"

    async with serving(broker) as session:
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(session.call, "t")
                for _ in range(20):
                    await anyio.to_thread.run_sync(began.acquire)
                tasks.cancel_scope.cancel()
            assert broker.stats().abandoned_threads == 20
            with pytest.raises(ToolError, match="20 handlers are past their deadline"):
                await session.call("plain")
            assert await session.call("next", {"n": 3}) == 3
        finally:
            release.set()
        for _ in range(20):
            await anyio.to_thread.run_sync(ended.acquire)
        while broker.stats().abandoned_threads:
            await checkpoint()
        assert await session.call("plain") == "served"


async def test_one_that_blocks_its_thread_past_its_deadline() -> None:
    release = threading.Event()
    broker = Broker()

    @broker.tool("t", timeout=SHORT)
    def block() -> None:
        release.wait()

    async with serving(broker) as session:
        try:
            with pytest.raises(ToolTimeoutError):
                await session.call("t")
        finally:
            release.set()
