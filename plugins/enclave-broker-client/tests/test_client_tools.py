"""Tools that the client runs itself, told of their calls by the session's events."""

from __future__ import annotations

import threading

import anyio
import pytest
from cut_proxy import After, Cut, Deaf, Proxy
from enclave_broker_client import Client, ConnectionLostError, LocalTool, SyncClient
from enclave_broker_client.toolbox import LocalCall, Toolbox
from pydantic_core import to_json
from server_thread import PATIENCE, QUICK, Server

from enclave_broker_core import (
    AccessDeniedError,
    ArgumentsError,
    ConfigError,
    ToolError,
    ToolTimeoutError,
)
from enclave_broker_core.events import Event

pytestmark = pytest.mark.anyio


async def pick(of: int, at: int = 0) -> int:
    """Pick one."""
    return of * 10 + at


def plain(text: str) -> str:
    return f"{text} in {threading.current_thread() is threading.main_thread()}"


def wrong() -> None:
    raise ValueError("nothing to pick")


def no_json() -> object:
    return object()


async def test_its_calls_are_answered(server: Server) -> None:
    tools = {"client:pick": pick, "client:plain": plain}
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(client_tools=tools) as session,
    ):
        assert await session.call("client:pick", {"of": 2}) == 20
        assert await session.call("client:pick", {"of": 2, "at": 1}) == 21
        assert await session.call("client:plain", {"text": "not"}) == "not in False"
        outcome = await session.run('await call_tool("client:pick", {"of": 3})')
        assert outcome.unwrap() == 30
        through = {"name": "client:pick", "args": {"of": 4}}
        assert await session.call("test:through", through) == 40


async def test_its_errors_are_the_calls(server: Server) -> None:
    tools = {"client:wrong": wrong, "client:no_json": no_json, "client:pick": pick}
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(client_tools=tools) as session,
    ):
        with pytest.raises(ToolError, match=r"^nothing to pick$"):
            await session.call("client:wrong")
        with pytest.raises(ToolError, match="can't be passed on"):
            await session.call("client:no_json")
        with pytest.raises(ArgumentsError):
            await session.call("client:pick", {"of": "many"})
        assert await session.call("client:pick", {"of": 1}) == 10


async def test_an_answer_that_the_server_refuses_is_an_error_of_the_call(server: Server) -> None:
    async def deep() -> list[object]:
        value: list[object] = []
        for _ in range(70):
            value = [value]
        return value

    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(client_tools={"client:deep": deep}) as session,
    ):
        with pytest.raises(ToolError, match="the answer was refused: the body is nested"):
            await session.call("client:deep")


async def test_a_call_that_is_refused_does_not_come_to_it(server: Server) -> None:
    seen = []

    async def secret() -> None:
        seen.append(1)

    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(
            client_tools={"client:secret": secret, "client:pick": pick},
            allowed_tools=["client:pick"],
        ) as session,
    ):
        with pytest.raises(AccessDeniedError):
            await session.call("client:secret")
        # By now the client has seen the events of the call before.
        assert await session.call("client:pick", {"of": 1}) == 10
    assert seen == []


async def test_a_handler_is_cancelled_when_nobody_waits_for_it(server: Server) -> None:
    ended = anyio.Event()

    async def forever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    tools = {"client:forever": LocalTool(forever, "Never ends.", timeout=0.2)}
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(client_tools=tools) as session,
    ):
        with pytest.raises(ToolTimeoutError):
            await session.call("client:forever")
        with anyio.fail_after(PATIENCE):
            await ended.wait()


async def test_handlers_are_run_side_by_side(server: Server) -> None:
    met = [anyio.Event(), anyio.Event()]

    async def meet(me: int) -> int:
        met[me].set()
        await met[1 - me].wait()
        return me

    code = """
import asyncio
await asyncio.gather(call_tool("client:meet", {"me": 0}), call_tool("client:meet", {"me": 1}))
"""
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(client_tools={"client:meet": meet}) as session,
    ):
        with anyio.fail_after(PATIENCE):
            assert (await session.run(code)).unwrap() == [0, 1]


async def test_a_call_is_answered_once_over_broken_connections(
    server: Server, proxy: Proxy
) -> None:
    seen = []

    async def once(number: int) -> int:
        seen.append(number)
        return number

    async with Client(proxy.url, settings=QUICK) as client:
        # The stream that tells of the calls follows the session's creation on the first one.
        proxy.plan.extend([Cut(1, 0.5)] * 7)
        async with client.session(client_tools={"client:once": once}) as session:
            direct = Client(server.url, settings=QUICK)
            async with direct:
                calls = direct.existing(session.id)
                for number in range(3):
                    assert await calls.call("client:once", {"number": number}) == number
    assert seen == [0, 1, 2]


async def test_an_answer_that_was_lost_is_sent_again(server: Server, proxy: Proxy) -> None:
    seen = []

    async def once() -> int:
        seen.append(1)
        # The connections that are to come, one of which takes this answer.
        proxy.plan.extend([After(0), Deaf()])
        return 7

    async with (
        Client(proxy.url, settings=QUICK) as client,
        client.session(client_tools={"client:once": once}) as session,
        Client(server.url, settings=QUICK) as direct,
    ):
        assert await direct.existing(session.id).call("client:once") == 7
    assert seen == [1]


async def test_a_session_that_can_not_be_followed_ends_the_block(
    server: Server, proxy: Proxy
) -> None:
    with anyio.fail_after(PATIENCE), pytest.raises(ConnectionLostError):
        async with Client(proxy.url, settings=QUICK) as client:
            proxy.plan.extend([Cut(1), *[Deaf()] * QUICK.attempts])
            async with client.session(client_tools={"client:pick": pick}):
                await anyio.sleep_forever()


async def test_an_error_of_the_block_comes_out_as_it_is(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.session(client_tools={"client:pick": pick}):
                raise ZeroDivisionError
        with anyio.CancelScope() as scope:
            async with client.session(client_tools={"client:pick": pick}):
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught


def test_a_call_is_taken_when_it_is_handed_over_and_once() -> None:
    toolbox = Toolbox({"client:pick": pick}, threads=True)

    def see(kind: str, call_id: str = "c_1", **more: object) -> object:
        return toolbox.see(Event("s_1", 1, kind, to_json({"callId": call_id, **more})))

    for call_id, name in (("c_1", "client:pick"), ("c_2", "other"), ("c_3", "client:pick")):
        assert see("tool_call", call_id, toolName=name, args={"of": 1}) is None
    assert see("tool_progress", phase="connecting") is None
    assert see("tool_progress", "c_2", phase="sending") is None
    assert see("tool_result_applied", "c_3") is None
    assert see("tool_progress", "c_3", phase="sending") is None
    assert see("tool_progress", phase="sending") == LocalCall("c_1", "client:pick", b'{"of":1}')
    assert see("tool_progress", phase="sending") is None


async def stream() -> object:
    yield 1


def no_hints(*values: int) -> None: ...


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("pick", pick),
        ("client:", pick),
        ("client:a b", pick),
        ("client:stream", stream),
        ("client:no_hints", no_hints),
    ],
)
async def test_what_can_not_be_a_clients_tool(server: Server, name: str, handler: object) -> None:
    async with Client(server.url, settings=QUICK) as client:
        with pytest.raises(ConfigError, match=name):
            async with client.session(client_tools={name: handler}):
                pass


def test_without_an_event_loop(server: Server) -> None:
    def meet(me: int) -> int:
        barrier.wait(PATIENCE)
        return me

    def one(of: int) -> int:
        return of + 1

    barrier = threading.Barrier(2)
    tools = {"client:one": one, "client:wrong": wrong, "client:meet": meet}
    code = """
import asyncio
await asyncio.gather(call_tool("client:meet", {"me": 0}), call_tool("client:meet", {"me": 1}))
"""
    with SyncClient(server.url, settings=QUICK) as client:
        with client.session(client_tools=tools) as session:
            assert session.call("client:one", {"of": 1}) == 2
            with pytest.raises(ToolError, match=r"^nothing to pick$"):
                session.call("client:wrong")
            assert session.run(code).unwrap() == [0, 1]
        with pytest.raises(ZeroDivisionError), client.session(client_tools=tools):
            raise ZeroDivisionError
        with (
            pytest.raises(ConfigError, match="asynchronous"),
            client.session(client_tools={"client:pick": pick}),
        ):
            pass


def test_a_session_that_can_not_be_followed_without_a_loop(server: Server, proxy: Proxy) -> None:
    with SyncClient(proxy.url, settings=QUICK) as client:
        proxy.plan.extend([Cut(1), *[Deaf()] * (QUICK.attempts - 1)])
        with (
            pytest.raises(ConnectionLostError),
            client.session(client_tools={"client:wrong": wrong}),
        ):
            while proxy.plan:
                threading.Event().wait(0.01)
