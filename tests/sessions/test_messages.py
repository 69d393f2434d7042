"""Messages: what is delivered to a session, and what it sends out."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from enclave_broker_core import (
    AccessController,
    ArgumentsError,
    Broker,
    MailboxFullError,
    Session,
    SessionEndedError,
)

pytestmark = pytest.mark.anyio


def broker_with_tools() -> Broker:
    rules = [{"pattern": "admin:*", "allow": False}]
    broker = Broker(access=AccessController(rules, default="allow"))

    @broker.tool("add")
    async def add(a: int, b: int = 1) -> int:
        return a + b

    @broker.tool("fails")
    async def fails() -> None:
        raise ValueError("it failed")

    broker.tool("admin:stop")(lambda: None)
    return broker


async def take(session: Session, count: int) -> list[dict[str, Any]]:
    """The next ``count`` messages that go out."""
    found = []
    async for message in session.messages():
        found.append(message)
        if len(found) == count:
            break
    return found


async def test_a_tool_call_that_nobody_handles_is_executed() -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        await session.deliver({"type": "tool_call", "id": "1", "name": "add", "args": {"a": 1}})
        assert await take(session, 1) == [{"type": "tool_result", "id": "1", "data": 2}]
        assert [(one.tool, one.outcome) for one in await session.history()] == [("add", "ok")]


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("fails", {}, "TOOL_ERROR"),
        ("add", {"a": "x"}, "VALIDATION_ERROR"),
        ("ad", {}, "UNKNOWN_TOOL"),
        ("admin:stop", {}, "ACCESS_DENIED"),
    ],
)
async def test_a_call_that_fails_is_answered_with_its_error(
    name: str, args: dict[str, Any], code: str
) -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        await session.deliver({"type": "tool_call", "id": "x", "name": name, "args": args})
        (answer,) = await take(session, 1)
        assert (answer["type"], answer["id"], answer["error"]["code"]) == ("tool_error", "x", code)
        assert (await session.history())[0].error_code == code


async def test_a_handler_takes_the_calls_instead() -> None:
    async with broker_with_tools() as broker, broker.session() as session:

        async def answer(call: Any) -> None:
            data = await broker.execute_tool_call(session.id, call)
            await session.send({"type": "tool_result", "id": call.id, "data": [data]})

        session.on("tool_call", answer)
        await session.deliver({"type": "tool_call", "id": "1", "name": "add", "args": {"a": 1}})
        assert await take(session, 1) == [{"type": "tool_result", "id": "1", "data": [2]}]
        assert len(await session.history()) == 1


async def test_handlers_see_only_what_is_delivered_of_their_type() -> None:
    seen: list[Any] = []
    done = anyio.Event()
    async with broker_with_tools() as broker, broker.session() as session:
        session.on("note", lambda message: seen.append(("plain", message["n"])))

        async def second(message: Any) -> None:
            seen.append(("async", message["n"]))
            done.set()

        session.on("note", second)
        session.on("other", seen.append)
        await session.send({"type": "note", "n": 0})
        await session.deliver({"type": "note", "n": 1})
        await done.wait()
        assert seen == [("plain", 1), ("async", 1)]
        assert await take(session, 1) == [{"type": "note", "n": 0}]
        assert await session.history() == []


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit("broken")])
async def test_a_handler_that_raises_answers_with_the_error(error: BaseException) -> None:
    async with broker_with_tools() as broker, broker.session() as session:

        def bad(call: Any) -> None:
            raise error

        session.on("tool_call", bad)
        await session.deliver({"type": "tool_call", "id": "1", "name": "add"})
        assert await take(session, 1) == [
            {
                "type": "tool_error",
                "id": "1",
                "error": {"code": "TOOL_ERROR", "message": "broken"},
            }
        ]
        assert await session.call("add", {"a": 1}) == 2


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "type"),
        ({"type": 5}, "type"),
        ({"type": "nonsense"}, "type"),
        ({"type": "tool_call"}, "name"),
        ({"type": "tool_call", "name": ""}, "name"),
        ({"type": "tool_call", "name": "x" * 300}, "name"),
        ({"type": "tool_call", "name": "add", "args": [1]}, "args"),
        ({"type": "tool_call", "name": "add", "id": 5}, "id"),
        ({"type": "tool_call", "name": "add", "more": 5}, "more"),
    ],
)
async def test_what_is_not_understood_is_refused(message: dict[str, Any], field: str) -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        with pytest.raises(ArgumentsError) as caught:
            await session.deliver(message)
        assert [name for name, _ in caught.value.fields] == [field]
        assert await session.history() == []


async def test_a_type_that_nobody_handles_names_those_that_are() -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        session.on("note", print)
        with pytest.raises(ArgumentsError, match="type 'nothing'; handled are: note, tool_call"):
            await session.deliver({"type": "nothing"})


async def test_messages_that_nobody_reads_fill_the_mailbox_and_nothing_else() -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        for number in range(1000):
            await session.send({"type": "note", "n": number})
        with pytest.raises(MailboxFullError) as caught:
            await session.send({"type": "note"})
        assert caught.value.code == "MAILBOX_FULL"
        # An answer that has no place either is lost; the broker goes on.
        await session.deliver({"type": "tool_call", "id": "1", "name": "add", "args": {"a": 1}})
        await session.deliver({"type": "tool_call", "id": "2", "name": "fails"})
        while len(await session.history()) < 2:
            await anyio.lowlevel.checkpoint()
        assert [message["n"] for message in await take(session, 1000)] == list(range(1000))
        await session.send({"type": "note", "n": -1})
        assert await take(session, 1) == [{"type": "note", "n": -1}]
        assert await session.call("add", {"a": 1}) == 2


async def test_what_is_sent_can_be_read_until_the_end_and_after() -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        found: list[Any] = []

        async def read() -> None:
            async for message in session.messages():
                found.append(message["n"])  # noqa: PERF401 - what came before counts

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await session.send({"type": "note", "n": 1})
            while not found:
                await anyio.lowlevel.checkpoint()
            await session.send({"type": "note", "n": 2})
            await session.complete()
        assert found == [1, 2]
        with pytest.raises(SessionEndedError):
            await session.deliver({"type": "tool_call", "name": "add"})
        await session.send({"type": "note", "n": 3})
        assert [message async for message in session.messages()] == []


async def test_a_message_that_is_sent_is_copied() -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        message = {"type": "note"}
        await session.send(message)
        message["type"] = "changed"
        assert await take(session, 1) == [{"type": "note"}]


async def test_a_call_by_id_from_outside() -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        call = {"type": "tool_call", "id": "1", "name": "add", "args": {"a": 2}}
        assert await broker.execute_tool_call(session.id, call) == 3
        assert await broker.execute_tool_call(session.id, {"name": "add", "args": {"a": 3}}) == 4
        with pytest.raises(ArgumentsError):
            await broker.execute_tool_call(session.id, {"id": "1"})


async def test_what_is_in_hand_is_bounded() -> None:
    async with broker_with_tools() as broker, broker.session() as session:
        release, done = anyio.Event(), []

        async def slow(message: dict[str, Any]) -> None:
            await release.wait()
            done.append(message["n"])

        session.on("note", slow)
        for number in range(100):
            await session.deliver({"type": "note", "n": number})
        with pytest.raises(MailboxFullError, match="100 delivered messages are still in hand"):
            await session.deliver({"type": "note", "n": 100})
        release.set()
        while len(done) < 100:
            await anyio.lowlevel.checkpoint()
        await session.deliver({"type": "note", "n": 101})
        while len(done) < 101:
            await anyio.lowlevel.checkpoint()
        assert sorted(done) == [*range(100), 101]
