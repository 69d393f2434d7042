"""Tools that the session's client runs itself."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    AccessController,
    AccessDeniedError,
    AlreadyAnsweredError,
    ArgumentsError,
    Broker,
    CallNotFoundError,
    ClientTool,
    Event,
    ResultTooLargeError,
    Rule,
    Session,
    SessionCancelledError,
    ToolError,
    ToolTimeoutError,
)

pytestmark = pytest.mark.anyio

PICK = ClientTool(
    name="client:pick",
    input_schema={
        "type": "object",
        "properties": {"of": {"type": "integer"}},
        "required": ["of"],
        "additionalProperties": False,
    },
    output_schema={"type": "integer"},
)


async def told(session: Session, from_seq: int = 1) -> Event:
    """The event by which the client learns of the next call."""
    async for event in session.events(from_seq):
        if event.type == "tool_progress":
            return event
    raise AssertionError("the session ended")


class Caller:
    """One call in the background, and what came of it."""

    def __init__(self, session: Session, name: str, args: dict[str, Any]) -> None:
        self.result: Any = None
        self._session, self._name, self._args = session, name, args

    async def __call__(self) -> None:
        try:
            self.result = await self._session.call(self._name, self._args)
        except Exception as error:
            self.result = error


async def latest_call(session: Session) -> str:
    """The id that the latest call has in the events."""
    began = [e for e in await session.events().batch(0) if e.type == "tool_call"]
    call_id: str = began[-1].payload["callId"]
    return call_id


async def answered(session: Session, **answer: Any) -> Any:
    caller = Caller(session, "client:pick", {"of": 3})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        event = await told(session)
        await session.answer(event.payload["callId"], **answer)
    return caller.result


async def test_the_client_answers_a_call() -> None:
    async with Broker() as broker, broker.session(client_tools=[PICK]) as session:
        assert await answered(session, result=2) == 2
        call, progress, applied = [
            event
            async for event in _until(session, "tool_result_applied")
            if event.type != "session_init"
        ]
        assert call.payload["toolName"] == "client:pick"
        assert call.payload["args"] == {"of": 3}
        assert progress.payload["phase"] == "sending"
        assert applied.payload["ok"] is True


async def _until(session: Session, kind: str) -> Any:
    async for event in session.events():
        yield event
        if event.type == kind:
            return


async def test_its_error_is_the_tools() -> None:
    async with Broker() as broker, broker.session(client_tools=[PICK]) as session:
        failed = await answered(session, error="nothing to pick")
    assert isinstance(failed, ToolError)
    assert failed.message == "nothing to pick"


async def test_an_answer_that_does_not_fit_its_schema_is_an_error() -> None:
    async with Broker() as broker, broker.session(client_tools=[PICK]) as session:
        failed = await answered(session, result="secret text")
    assert isinstance(failed, ToolError)
    assert "does not fit the tool's schema" in failed.message
    assert "secret text" not in failed.message


async def test_an_answer_is_capped_as_any_result() -> None:
    loose = PICK.model_copy(update={"output_schema": None})
    async with (
        Broker() as broker,
        broker.session(client_tools=[loose], max_result_bytes=100) as session,
    ):
        failed = await answered(session, result="x" * 101)
    assert isinstance(failed, ResultTooLargeError)


async def test_its_arguments_are_checked_before_the_client_hears_of_it() -> None:
    async with Broker() as broker, broker.session(client_tools=[PICK]) as session:
        with pytest.raises(ArgumentsError):
            await session.call("client:pick", {"of": "three"})
        types = [event.type async for event in _until(session, "tool_result_applied")]
    assert "tool_progress" not in types


async def test_access_rules_hold_for_it() -> None:
    access = AccessController(rules=[Rule(pattern="client:*", allow=False)], default="allow")
    async with Broker(access=access) as broker, broker.session(client_tools=[PICK]) as session:
        with pytest.raises(AccessDeniedError):
            await session.call("client:pick", {"of": 1})
        assert not await session.visible_tools()


async def test_an_unknown_call_and_a_second_answer_are_told_apart() -> None:
    async with Broker() as broker, broker.session(client_tools=[PICK]) as session:
        with pytest.raises(CallNotFoundError):
            await session.answer("c_unknown", result=1)
        await answered(session, result=2)
        with pytest.raises(AlreadyAnsweredError):
            await session.answer(await latest_call(session), result=2)


async def test_a_second_answer_before_the_first_is_taken_up() -> None:
    async with Broker() as broker, broker.session(client_tools=[PICK]) as session:
        caller = Caller(session, "client:pick", {"of": 3})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            event = await told(session)
            await session.answer(event.payload["callId"], result=1)
            with pytest.raises(AlreadyAnsweredError):
                await session.answer(event.payload["callId"], result=2)
        assert caller.result == 1


async def test_an_answer_may_come_before_the_call_has_come_to_the_client() -> None:
    at_the_gate, gate = anyio.Event(), anyio.Event()

    async def slow(call: Any, call_next: Any) -> Any:
        at_the_gate.set()
        await gate.wait()
        return await call_next(call)

    async with (
        Broker(middleware=[slow]) as broker,
        broker.session(client_tools=[PICK]) as session,
    ):
        caller = Caller(session, "client:pick", {"of": 3})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            await at_the_gate.wait()
            await session.answer(await latest_call(session), result=3)
            gate.set()
        assert caller.result == 3


async def test_no_other_tools_call_can_be_answered() -> None:
    waiting, go = anyio.Event(), anyio.Event()
    broker = Broker()

    @broker.tool("slow")
    async def slow() -> int:
        waiting.set()
        await go.wait()
        return 1

    async with broker, broker.session(client_tools=[PICK]) as session:
        caller = Caller(session, "slow", {})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            await waiting.wait()
            with pytest.raises(CallNotFoundError):
                await session.answer(await latest_call(session), result=2)
            go.set()
        assert caller.result == 1


async def test_a_client_that_never_answers_is_late() -> None:
    hasty = PICK.model_copy(update={"timeout": 0.01})
    async with Broker() as broker, broker.session(client_tools=[hasty]) as session:
        with pytest.raises(ToolTimeoutError):
            await session.call("client:pick", {"of": 1})
        with pytest.raises(CallNotFoundError):
            await session.answer(await latest_call(session), result=1)


async def test_the_call_stops_with_its_session() -> None:
    async with Broker() as broker:
        session = await broker.create_session(client_tools=[PICK])
        caller = Caller(session, "client:pick", {"of": 3})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            await told(session)
            await session.cancel()
        assert isinstance(caller.result, SessionCancelledError)
        with pytest.raises(SessionCancelledError):
            await session.answer(await latest_call(session), result=1)


async def test_no_other_session_sees_it() -> None:
    async with (
        Broker() as broker,
        broker.session(client_tools=[PICK]) as mine,
        broker.session() as other,
    ):
        assert list(await mine.visible_tools()) == ["client_pick"]
        assert not await other.visible_tools()
        assert (await broker.explain("client:pick", {"of": 1}, session=mine)).allowed
        assert not (await broker.explain("client:pick", {"of": 1}, session=other)).allowed


async def test_it_takes_no_name_of_the_brokers_tools() -> None:
    broker = Broker()

    @broker.tool("client_pick")
    async def own() -> str:
        return "the broker's"

    async with broker, broker.session(client_tools=[PICK]) as session:
        assert await session.call("client_pick") == "the broker's"
        names = {outer: spec.name for outer, spec in (await session.visible_tools()).items()}
        assert names.pop("client_pick") == "client_pick"
        assert list(names.values()) == ["client:pick"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "https://example.com/schema"}, "which is not in it"),
        ({"properties": {"a": {"$ref": "#"}}}, "refers to itself"),
        ({"$ref": "#/$defs/none"}, "which is not in it"),
        ({"$id": "https://example.com/"}, r"\$id"),
        ({"enum": list(range(5000))}, "more than 4000 parts"),
        ({"type": "nothing"}, "not a usable JSON Schema"),
        ({"pattern": "(?<=a)b"}, "not a usable JSON Schema"),
        ({"pattern": r"\p{L}{100}"}, "not a usable JSON Schema"),  # megabytes, once compiled
        ({"anyOf": [{"pattern": str(n)} for n in range(65)]}, "more than 64 patterns"),
        ({"patternProperties": {str(n): {} for n in range(65)}}, "more than 64 patterns"),
    ],
)
async def test_a_schema_that_is_not_usable_is_refused(schema: dict[str, Any], said: str) -> None:
    tool = PICK.model_copy(update={"input_schema": schema})
    async with Broker() as broker:
        with pytest.raises(ArgumentsError, match=said):
            await broker.create_session(client_tools=[tool])
        with pytest.raises(ArgumentsError, match=r"more than 4000|" + said):
            await broker.create_session(
                client_tools=[PICK.model_copy(update={"output_schema": schema})]
            )


async def test_a_schema_that_grows_by_references_is_refused() -> None:
    definitions = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(20)
    }
    schema = {"$defs": {**definitions, "d20": {}}, "$ref": "#/$defs/d0"}
    async with Broker() as broker:
        with pytest.raises(ArgumentsError, match=r"levels deep|more than 4000"):
            await broker.create_session(
                client_tools=[PICK.model_copy(update={"input_schema": schema})]
            )


async def test_two_of_one_name_and_too_many_are_refused() -> None:
    many = [PICK.model_copy(update={"name": f"client:t{n}"}) for n in range(65)]
    async with Broker() as broker:
        with pytest.raises(ArgumentsError, match="two tools named"):
            await broker.create_session(client_tools=[PICK, PICK])
        with pytest.raises(ArgumentsError, match="up to 64"):
            await broker.create_session(client_tools=many)


@pytest.mark.parametrize("name", ["pick", "client:", "client:a b", "clients:pick", "client:*"])
def test_its_name_says_whose_it_is(name: str) -> None:
    with pytest.raises(ValueError, match="client:"):
        ClientTool(name=name)
