"""The conformance suite for event sinks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar

import anyio
import pytest

from enclave_broker_core.calls import Outcome
from enclave_broker_core.contracts import EventSink
from enclave_broker_core.models import Decision, Principal, SessionState, Verdict
from enclave_broker_core.observations import (
    CallFinished,
    Observation,
    SessionFinished,
    SessionStarted,
)

from . import hostile
from .checks import PatientSuite, cancel_at_each_wait, sync_methods
from .samples import ENDED_AT, at_once, call, record


def caller() -> Principal:
    return Principal(id="ada", tenant="north", attributes={"teams": ["a"]})


def started(session_id: str = "s_1", principal: Principal | None = None) -> SessionStarted:
    return SessionStarted(record(session_id, principal=principal, metadata={"plan": ["free"]}))


def finished(
    call_id: str = "c_1",
    tool: str = "users:get",
    outcome: Outcome = "ok",
    code: str | None = None,
    decision: Decision | None = Decision(Verdict.ALLOW, "rule 1"),  # noqa: B008
    principal: Principal | None = None,
    text: bytes = b'{"id":1}',
) -> CallFinished:
    ended = call(call_id, tool=tool, outcome=outcome, error_code=code, arguments_json=text)
    message = None if code is None else "no luck"
    return CallFinished("s_1", principal, ended, decision, "0" * 64, message)


def ended(session_id: str = "s_1", code: str | None = None) -> SessionFinished:
    state = SessionState.COMPLETED if code is None else SessionState.FAILED
    return SessionFinished(record(session_id, state=state, ended_at=ENDED_AT), code)


def every_kind() -> list[Observation]:
    """A session from start to end, with a call for each way in which one can end."""
    deny = Decision(Verdict.DENY, "rule 2", "not you")
    return [
        started(principal=caller()),
        finished("c_ok", principal=caller()),
        finished("c_error", outcome="error", code="TOOL_ERROR"),
        finished("c_refused", outcome="refused", code="ACCESS_DENIED", decision=deny),
        finished("c_unknown", outcome="refused", code="UNKNOWN_TOOL", decision=None),
        finished("c_cancelled", outcome="cancelled", code="SESSION_CANCELLED"),
        ended(),
        started("s_2"),
        ended("s_2", "SESSION_EXPIRED"),
    ]


def id_of(observation: Observation) -> str:
    """What an observation is known by: the call's id, or the session's."""
    if isinstance(observation, CallFinished):
        return observation.call.call_id
    return observation.record.id


@pytest.mark.anyio
class EventSinkSuite(PatientSuite):
    """Every sentence of the EventSink contract as a test.

    Subclass it as ``class TestMySink(EventSinkSuite)`` and override ``open_sink``, which
    gives each test a sink that has seen nothing, and ``noted``: what it has taken note of
    since, one text for each observation, with the id of the call or, of what is about a
    session, the session's. ``kinds`` are those that the sink takes note of, when it is not
    all. ``open_broken_sink``, when the subclass has it, opens one that can't take note::

        class TestMySink(EventSinkSuite):
            @asynccontextmanager
            async def open_sink(self):
                self.lines = []
                yield MySink(self.lines.append)

            async def noted(self, sink):
                return self.lines
    """

    kinds: ClassVar[tuple[type, ...]] = (SessionStarted, CallFinished, SessionFinished)

    def open_sink(self) -> AbstractAsyncContextManager[EventSink]:
        raise NotImplementedError("the subclass says how its sink is opened")

    async def noted(self, sink: EventSink) -> Sequence[str]:
        raise NotImplementedError("the subclass says what its sink has taken note of")

    def open_broken_sink(self) -> AbstractAsyncContextManager[EventSink]:
        """A sink whose every note fails."""
        pytest.skip("the subclass does not say how its sink breaks")

    def _open(self) -> AbstractAsyncContextManager[EventSink]:
        return self.patiently(self.open_sink())

    async def _notes(self, sink: EventSink, expected: Sequence[Observation]) -> None:
        """These have been noted, in this order, each once."""
        notes = list(await self.noted(sink))
        ids = [id_of(one) for one in expected if isinstance(one, self.kinds)]
        assert len(notes) == len(ids), notes
        for note, id in zip(notes, ids, strict=True):
            assert id in note

    async def test_observe_is_a_coroutine_function(self) -> None:
        async with self._open() as sink:
            assert sync_methods(sink, "observe") == []

    async def test_every_kind_is_noted_in_order(self) -> None:
        async with self._open() as sink:
            seen: list[Observation] = []
            for observation in every_kind():
                await sink.observe(observation)
                seen.append(observation)
                await self._notes(sink, seen)

    async def test_observe_answers_nothing(self) -> None:
        """Whoever answers could be thought to change something."""
        async with self._open() as sink:
            # mypy knows that there is no value to look at.
            answers = [await sink.observe(one) for one in every_kind()]  # type: ignore[func-returns-value]
            assert answers == [None] * len(answers)

    async def test_what_happens_twice_is_noted_twice(self) -> None:
        async with self._open() as sink:
            twice: list[Observation] = [finished("c_1"), finished("c_1")]
            for observation in twice:
                await sink.observe(observation)
            await self._notes(sink, twice)

    async def test_an_observation_stays_as_it_is(self) -> None:
        async with self._open() as sink:
            for observation in every_kind():
                before = copy.deepcopy(observation)
                await sink.observe(observation)
                assert observation == before

    async def test_notes_do_not_change_with_what_comes_later(self) -> None:
        async with self._open() as sink:
            await sink.observe(finished("c_1"))
            notes = list(await self.noted(sink))
            for observation in every_kind():
                await sink.observe(observation)
            assert list(await self.noted(sink))[: len(notes)] == notes

    async def test_observations_at_once_are_all_noted(self) -> None:
        async with self._open() as sink:
            sent = [finished(f"c_{number:03}") for number in range(30)]
            answers = await at_once([partial(sink.observe, one) for one in sent])
            assert answers == [None] * 30
            notes = await self.noted(sink)
            ids = [one.call.call_id for one in sent if isinstance(one, self.kinds)]
            assert [sum(id in note for note in notes) for id in ids] == [1] * len(ids)
            assert len(notes) == len(ids)

    async def test_it_can_be_cancelled_wherever_it_waits(self) -> None:
        """The observation of a cancelled call may be lost or noted; those after it are not."""
        async with self._open() as sink:
            await cancel_at_each_wait(lambda: sink.observe(finished("c_cancelled")))
            before = len(await self.noted(sink))
            after: list[Observation] = [finished("c_after"), ended("s_after")]
            for observation in after:
                await sink.observe(observation)
            notes = list(await self.noted(sink))[before:]
            ids = [id_of(one) for one in after if isinstance(one, self.kinds)]
            assert len(notes) == len(ids)
            assert all(id in note for id, note in zip(ids, notes, strict=True))

    async def test_odd_names_and_values_are_noted(self) -> None:
        """One note each: a line feed in a name makes no second line in a log."""
        async with self._open() as sink:
            seen: list[Observation] = [
                finished(f"c_{number}", tool=name, code=name or None, outcome="error")
                for number, name in enumerate(hostile.NAMES)
            ]
            odd = Principal(id="\0\u202e\n", tenant="", attributes=hostile.arguments())
            rule = Decision(Verdict.DENY, "\n", "\n")
            seen += [
                finished("c_odd", principal=odd, decision=rule, text=b'{"":"\\u0000"}'),
                SessionStarted(record("s_odd", principal=odd, metadata=hostile.arguments())),
                # A clock that was set back.
                CallFinished("s_1", odd, call("c_back", started_at=9.0, ended_at=0.0), None, ""),
            ]
            for observation in seen:
                await sink.observe(observation)
            await self._notes(sink, seen)

    async def test_a_note_that_fails_is_an_error(self) -> None:
        async with self.patiently(self.open_broken_sink()) as sink:
            for observation in every_kind():
                if isinstance(observation, self.kinds):
                    with pytest.raises(Exception) as caught:  # noqa: PT011
                        await sink.observe(observation)
                    assert not isinstance(caught.value, anyio.get_cancelled_exc_class())
