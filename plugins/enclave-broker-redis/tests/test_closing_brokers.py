"""Brokers that close at the same time, as when all of them are restarted."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_redis.config import RedisConfig
from redis_brokers.together import replicas
from redis_servers.endpoint import Endpoint

from enclave_broker_core import SessionSettings, use
from enclave_broker_core.models import SessionRecord

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


async def test_what_one_takes_up_while_it_closes_goes_on_elsewhere(
    server: Endpoint, prefix: str
) -> None:
    config = RedisConfig(url=server.url, prefix=prefix, lease=0.6)
    options = {
        "runtime": use("monty", workers=1),
        "sessions": SessionSettings(durable_key="k" * 32),
    }
    begun: list[str] = []
    both, offered = anyio.Event(), anyio.Event()
    gates = {"first": anyio.Event(), "second": anyio.Event()}

    async def step(name: str) -> str:
        begun.append(name)
        if len(begun) == 2:
            both.set()
        await gates[name].wait()
        return name

    close = anyio.Event()

    async def closes(*, task_status: Any) -> None:
        async with replicas(config, 1, **options) as [closing]:
            task_status.started(closing)
            await close.wait()

    async with replicas(config, 1, **options) as [here]:
        async with anyio.create_task_group() as tasks:
            closing = await tasks.start(closes)
            sessions = {}
            for name, one in (("first", here), ("second", closing)):
                one.broker.tool("step", idempotent=True)(step)
                sessions[name] = await one.broker.create_session(durable=True)
                code = f"await call_tool('step', {{'name': '{name}'}})"
                await sessions[name].begin(code, last=True)
            with anyio.fail_after(PATIENCE):
                await both.wait()
                holder: Any = closing.store.writing.holder
                take_up = holder.take_up

                async def noted(record: SessionRecord) -> None:
                    try:
                        await take_up(record)
                    finally:
                        offered.set()

                holder.take_up = noted
                close.set()
                here.silence()
                # It waits for the end of the second, and takes up the first meanwhile.
                # It waits for the end of the second, and the first falls to it meanwhile.
                await offered.wait()
                gates["second"].set()
        assert begun == ["first", "second"]
        async with replicas(config, 1, **options) as [last]:
            last.broker.tool("step", idempotent=True)(step)
            gates["first"].set()
            with anyio.fail_after(PATIENCE):
                for name, session in sessions.items():
                    handle = await last.broker.get_session(session.id)
                    events = [event async for event in handle.events()]
                    assert events[-1].payload["result"] == name
                    assert [event.type for event in events].count("final") == 1
        here.silence(silent=False)
