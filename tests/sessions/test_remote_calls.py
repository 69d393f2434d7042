"""What a session at another replica is asked for is refused there as it would be at its own."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from shared_memory import replicas

from enclave_broker_core import Broker, SessionNotFoundError, UnknownToolError
from enclave_broker_core.models import Principal
from enclave_broker_core.remote_session import RemoteSession

pytestmark = pytest.mark.anyio


async def add(a: int, b: int) -> int:
    return a + b


async def test_arguments_that_can_not_be_read_are_an_attempt_wherever_they_come_in() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1'}}
    async with (
        replicas(2) as stores,
        Broker(store=stores[0], tools={"add": add}) as here,
        Broker(store=stores[1], tools={"add": add}) as there,
    ):
        session = await here.create_session()
        answers = [await one.execute_model_call(session.id, call) for one in (here, there)]
        assert answers[0] == answers[1]
        assert "VALIDATION_ERROR" in answers[0]["content"]
        assert session.info().tool_calls == 2
        assert [call.error_code for call in await session.history()] == ["VALIDATION_ERROR"] * 2


async def test_a_name_of_any_length_is_one_that_is_not_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        replicas(2) as stores,
        Broker(store=stores[0]) as here,
        Broker(store=stores[1]) as there,
    ):
        session = await here.create_session()
        remote = await there.get_session(session.id)
        for one in (session, remote):
            with pytest.raises(UnknownToolError):
                await one.call("x" * 300, {"token": "a secret"})
        assert [line for line in caplog.records if line.levelno >= logging.ERROR] == []


async def test_who_knows_a_session_knows_no_other_that_has_its_id_later() -> None:
    asked: list[Any] = []

    async def note(n: int) -> None:
        asked.append(n)

    async with (
        replicas(2) as stores,
        Broker(store=stores[0], tools={"note": note}) as here,
        Broker(store=stores[1], tools={"note": note}) as there,
    ):
        ada, bob = (Principal(id=name) for name in ("ada", "bob"))
        session = await here.create_session(session_id="s_1", principal=ada)
        remote = await there.get_session(session.id, principal=ada)
        assert isinstance(remote, RemoteSession)
        await remote.call("note", {"n": 1})
        assert await here.destroy_session("s_1")
        await here.create_session(session_id="s_1", principal=bob)
        for act in (lambda: remote.call("note", {"n": 2}), remote.cancel):
            with pytest.raises(SessionNotFoundError):
                await act()
        assert asked == [1]
        assert (await here.get_session("s_1", principal=bob)).state.value == "running"
