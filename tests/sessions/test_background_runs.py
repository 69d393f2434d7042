"""Code that runs in the background of a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from enclave_broker_core import Broker, Event, RunError, RuntimeBusyError, Session, SessionState
from enclave_broker_core.contracts import RuntimeHost

pytestmark = pytest.mark.anyio


class Words:
    """A language of one statement: ``say X`` prints and is X, ``wait`` waits, else it fails."""

    language = "words"

    def __init__(self) -> None:
        self.waiting = anyio.Event()

    @asynccontextmanager
    async def session(self, host: RuntimeHost, state: bytes | None = None) -> AsyncIterator[Any]:
        words = self

        class State:
            async def run(self, code: str, *, last: bool = False) -> JsonValue:
                verb, _, rest = code.partition(" ")
                if verb == "say":
                    await host.stdout(rest)
                    return rest
                if verb == "wait":
                    words.waiting.set()
                    await anyio.sleep_forever()
                raise RunError(f"unknown: {verb}")

            async def dump(self) -> bytes | None:
                return None

        yield State()


async def events_of(session: Session) -> list[Event]:
    return [event async for event in session.events()]


async def partial_result(session: Session, from_seq: int) -> Event:
    async for event in session.events(from_seq):
        if event.type == "partial_result":
            return event
    raise AssertionError("the session ended")


async def test_the_last_run_ends_the_session() -> None:
    async with Broker(runtime=Words()) as broker:
        session = await broker.create_session()
        assert await session.begin("say hello", last=True) == "run_1"
        found = await events_of(session)
    assert [event.type for event in found] == ["session_init", "stdout", "final"]
    assert found[-1].payload["result"] == "hello"
    assert session.state is SessionState.COMPLETED


async def test_a_run_in_between_is_told_by_its_partial_result() -> None:
    async with Broker(runtime=Words()) as broker, broker.session() as session:
        assert await session.begin("say one") == "run_1"
        first = await partial_result(session, 1)
        assert first.payload == {"path": ["run", "run_1"], "data": "one", "hasNext": False}
        assert await session.begin("sing") == "run_2"
        second = await partial_result(session, first.seq + 1)
        assert second.payload["path"] == ["run", "run_2"]
        assert second.payload["error"]["code"] == "RUNTIME_ERROR"
        assert not session.is_ending


async def test_a_second_run_is_refused_before_it_begins() -> None:
    words = Words()
    async with Broker(runtime=words) as broker, broker.session() as session:
        await session.begin("wait")
        for _ in range(2):
            with pytest.raises(RuntimeBusyError):
                await session.begin("say no")
            with pytest.raises(RuntimeBusyError):
                await session.run("say no")
        await words.waiting.wait()
        assert session.busy


async def test_without_a_runtime_the_log_says_so() -> None:
    async with Broker() as broker:
        session = await broker.create_session()
        await session.begin("say hello", last=True)
        final = (await events_of(session))[-1]
        assert final.payload["error"]["code"] == "RUNTIME_ERROR"
        assert "runtime" in final.payload["error"]["message"]
        assert session.state is SessionState.FAILED


async def test_a_background_run_is_stopped_with_its_session() -> None:
    words = Words()
    async with Broker(runtime=words) as broker:
        session = await broker.create_session()
        await session.begin("wait", last=True)
        await words.waiting.wait()
        await session.cancel("enough")
        final = (await events_of(session))[-1]
    assert final.payload["error"] == {"message": "enough", "code": "SESSION_CANCELLED"}
