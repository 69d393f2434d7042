"""Sinks with one fault each, which the suite must find."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from enclave_broker_core.models import Decision, Verdict
from enclave_broker_core.observations import CallFinished, Observation, SessionStarted
from enclave_broker_core.testing.sinks import EventSinkSuite, id_of


class Notes:
    """Adds a line for each observation, after a wait as if it were far away."""

    def __init__(self, lines: list[str] | None) -> None:
        self._lines = lines

    async def observe(self, observation: Observation) -> None:
        await checkpoint()
        self.write(self.line(observation))

    def line(self, observation: Observation) -> str:
        return f"{type(observation).__name__} {id_of(observation)}"

    def write(self, line: str) -> None:
        if self._lines is None:
            raise OSError("no room")
        self._lines.append(line)


class IsSilentlySync(Notes):
    def observe(self, observation: Observation) -> Awaitable[None]:  # type: ignore[override]
        return super().observe(observation)


class ForgetsRefusals(Notes):
    async def observe(self, observation: Observation) -> None:
        if not isinstance(observation, CallFinished) or observation.call.outcome != "refused":
            await super().observe(observation)


class NeedsADecision(Notes):
    def line(self, observation: Observation) -> str:
        if isinstance(observation, CallFinished):
            assert observation.decision is not None
        return super().line(observation)


class ForgetsStarts(Notes):
    async def observe(self, observation: Observation) -> None:
        if not isinstance(observation, SessionStarted):
            await super().observe(observation)


class Answers(Notes):
    async def observe(self, observation: Observation) -> Any:
        await super().observe(observation)
        return Decision(Verdict.DENY, "sink")


class SwallowsErrors(Notes):
    async def observe(self, observation: Observation) -> None:
        with contextlib.suppress(OSError):
            await super().observe(observation)


class HidesMetadata(Notes):
    async def observe(self, observation: Observation) -> None:
        if isinstance(observation, SessionStarted):
            observation.record.metadata.clear()  # type: ignore[attr-defined]
        await super().observe(observation)


class ChangesTheRecord(Notes):
    async def observe(self, observation: Observation) -> None:
        if isinstance(observation, CallFinished):
            object.__setattr__(observation, "message", None)
        await super().observe(observation)


class NotesACallOnce(Notes):
    def write(self, line: str) -> None:
        if self._lines is None or line not in self._lines:
            super().write(line)


class NotesOnlyTheLatest(Notes):
    def write(self, line: str) -> None:
        if self._lines:
            self._lines.clear()
        super().write(line)


class WritesOverNotes(Notes):
    def write(self, line: str) -> None:
        if self._lines:
            self._lines[-1] = self._lines[-1].upper()
        super().write(line)


class MixesObservations(Notes):
    async def observe(self, observation: Observation) -> None:
        self._latest = observation
        await checkpoint()
        await super().observe(self._latest)


class SwallowsItsCancellation(Notes):
    async def observe(self, observation: Observation) -> None:
        try:
            await super().observe(observation)
        except anyio.get_cancelled_exc_class():
            return


class IsBrokenByACancellation(Notes):
    busy = False

    async def observe(self, observation: Observation) -> None:
        if self.busy:
            raise RuntimeError("a note is being taken")
        self.busy = True
        await super().observe(observation)
        self.busy = False


class WritesNamesAsTheyAre(Notes):
    def line(self, observation: Observation) -> str:
        tool = observation.call.tool if isinstance(observation, CallFinished) else ""
        return f"{super().line(observation)} {tool}"

    def write(self, line: str) -> None:
        for part in line.split("\n"):
            super().write(part)


class NotesCalls(Notes):
    async def observe(self, observation: Observation) -> None:
        if isinstance(observation, CallFinished):
            await super().observe(observation)


KNOWN_BAD = {
    EventSinkSuite: {
        IsSilentlySync: {"observe_is_a_coroutine_function"},
        ForgetsRefusals: {"every_kind_is_noted_in_order"},
        NeedsADecision: {"every_kind_is_noted_in_order"},
        ForgetsStarts: {"every_kind_is_noted_in_order"},
        NotesOnlyTheLatest: {"every_kind_is_noted_in_order"},
        Answers: {"observe_answers_nothing"},
        SwallowsErrors: {"a_note_that_fails_is_an_error"},
        HidesMetadata: {"an_observation_stays_as_it_is"},
        ChangesTheRecord: {"an_observation_stays_as_it_is"},
        NotesACallOnce: {"what_happens_twice_is_noted_twice"},
        WritesOverNotes: {"notes_do_not_change_with_what_comes_later"},
        MixesObservations: {"observations_at_once_are_all_noted"},
        SwallowsItsCancellation: {"it_can_be_cancelled_wherever_it_waits"},
        IsBrokenByACancellation: {"it_can_be_cancelled_wherever_it_waits"},
        WritesNamesAsTheyAre: {"odd_names_and_values_are_noted"},
    }
}
