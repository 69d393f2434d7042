"""Code in a durable session: saved where it begins, at each call and where it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import anyio

from .calls import RunOutcome
from .durable_log import since
from .durable_runs import Durability, DurableHost, DurableSession, KeptRuns
from .durable_state import Answer, CodeState, StateRefusedError
from .errors import BrokerError, ConfigError, RunError, SessionCancelledError, SessionLostError
from .events import Draft
from .models import SessionRecord
from .registry import Catalog
from .runs import RunLane
from .session_code import CodeSession, SessionCode
from .shown import Shown
from .surroundings import Surroundings

_log = logging.getLogger(__name__)


class DurableCodeSession(CodeSession, DurableSession, Protocol):
    attempts: int

    def info(self) -> SessionRecord: ...
    @property
    def catalog(self) -> Catalog: ...


def session_code(
    session: DurableCodeSession, around: Surroundings, record: SessionRecord
) -> SessionCode:
    """What runs the code of a session, as durably as it was created."""
    if record.durable and around.durability is not None:
        return DurableCode(session, around, record.runtime, around.durability)
    return SessionCode(session, around, record.runtime)


class DurableCode(SessionCode):
    """Runs code in a durable session. A state is opened for each run, from what was saved."""

    def __init__(
        self,
        session: DurableCodeSession,
        around: Surroundings,
        runtime: str | None,
        durability: Durability,
    ) -> None:
        super().__init__(session, around, runtime)
        self._owner = session
        self._durability = durability
        self._kept = KeptRuns(session, durability)
        self._host = DurableHost(session, self._kept)
        self._left: bytes | None = None  # what the runs so far left behind
        self._begun = self._going_on = False
        self.append = self._kept.append

    @property
    def stdout_bytes(self) -> int:
        return self._host.stdout_bytes

    def leave(self, why: SessionLostError) -> None:
        """Write nothing more of the session."""
        self._kept.leave(why)

    def pause(self) -> None:
        """Go no further than to the next wait, where all is saved."""
        self._kept.pause()

    async def _run(self, run_id: str, code: str | None) -> RunOutcome:
        try:
            return await super()._run(run_id, code)
        except BaseException:
            await self._drop()
            raise

    async def _execute(self, run_id: str, code: str | None) -> RunOutcome:
        try:
            return await super()._execute(run_id, code)
        except BaseException:
            await self._drop()
            raise

    async def _drop(self) -> None:
        """Whoever wanted the run has gone, or it can't be had: nobody is to go on with it."""
        if self._session.is_ending or self._kept.state.kind == "done":
            return
        with anyio.CancelScope(shield=True):
            try:
                await self._kept.done(None, self._left, self._host.stdout_bytes)
            except BrokerError as problem:
                _log.warning("that a run of session %s is over: %s", self._session.id, problem)

    async def _show(self, event: Draft) -> None:
        await self._kept.done(event, self._left, self._host.stdout_bytes)
        await super()._show(event)

    async def _keep_begun(self, code: str, last: bool) -> None:
        name = self._runtime or self._around.default_runtime
        self._host.take_up(Shown(), self._host.stdout_bytes)
        try:
            await self._kept.begin(
                self._runs, code, last, name, self._left, self._host.stdout_bytes
            )
        except BaseException:
            await self._drop()
            raise
        self._begun = True

    async def _outcome(
        self, run_id: str, code: str | None, *, last: bool
    ) -> tuple[RunOutcome, bytes]:
        kept = self._kept
        going_on, self._going_on = self._going_on, False
        if code is not None and not self._begun:
            await self._keep_begun(code, last)
        self._begun = False
        runtime = self._around.runtime(kept.state.runtime)
        lane = self._lane = RunLane(self._session, runtime, self._host)
        try:
            await lane.open(kept.state.runtime_state)
        except BaseException as problem:
            self._lane = None
            if going_on and isinstance(problem, BrokerError):
                await self._session.end(lost(problem.message))
            raise
        try:
            if code is None:
                self._left = await lane.dump()  # as it was before the run
            if self._session.is_ending:
                raise self._session.over()
            running = lane.outcome(code, run_id, last=last, used=kept.used)
            found = await self._followed(run_id, lane, running)
            return found if last else await self._keep(lane, found)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                self._left = await lane.dump()
            raise
        finally:
            await lane.release()

    async def _keep(
        self, lane: RunLane, found: tuple[RunOutcome, bytes]
    ) -> tuple[RunOutcome, bytes]:
        """Take what the run left; when that is too much, it is the run's error and goes."""
        left = await lane.dump()
        try:
            self._kept.require_room(left)
        except RunError as problem:
            return replace(found[0], ok=False, result=None, error=problem), b"null"
        self._left = left
        return found

    # Going on where another process was

    async def take_up(self) -> None:
        """Go on with what was saved; a run that was under way goes on in the background.

        StateRefusedError when that can't be; ConfigError when this broker can't do it.
        """
        session, store, seal = self._owner, self._durability.store, self._durability.seal
        self._taken = True  # no run begins meanwhile
        attempts = session.attempts
        saved = await store.saved(session.id)
        state, answers = self._kept.state, {}
        if saved is not None:
            state = CodeState.from_bytes(saved.state, seal, session.id)
            answers = {
                call_id: Answer.from_bytes(saved.answers[call_id], seal, session.id, call_id)
                for call_id in state.pending
                if call_id in saved.answers
            }
        after = await since(store, session.id, state, session.info().last_seq)
        begun = {call_id: tool for call_id, tool in state.pending.items() if tool is not None}
        begun |= after.begun
        self._require_known(begun, answers)
        if state.kind != "done":
            require_durable_runtime(self._around, state.runtime)
        if session.is_ending:
            return
        errors = [answer for answer in answers.values() if answer.error is not None]
        if errors and session.limits.cancel_on_first_error:
            await session.end(SessionCancelledError("cancelled by its first error"))
            return
        # Others may have called meanwhile: what they did counts too.
        session.attempts += state.attempts + after.attempts - attempts
        self._runs = state.runs
        self._host.take_up(after.shown, state.stdout_bytes)
        order = sorted(answers, key=lambda one: (after.ended.get(one, 0), answers[one].at))
        in_order = {call_id: answers[call_id] for call_id in order}
        self._kept.take_up(state, begun, in_order, after.seq)
        if state.kind != "waiting":
            self._left = state.runtime_state
        if state.kind != "done":
            self._begun = self._going_on = True
            code = state.code if state.kind == "begun" else None
            self._around.tasks.start_soon(
                self._in_background, state.run_id, code, state.last, name=state.run_id
            )
        else:
            if state.draft is not None and not after.told:
                await session.emit(state.draft)
            self._leave()

    def _require_known(self, begun: Mapping[str, str], answers: Mapping[str, Answer]) -> None:
        """StateRefusedError when nobody knows what came of a call, and it can't be repeated."""
        catalog = self._owner.catalog
        for call_id, name in begun.items():
            answer = answers.get(call_id)
            if answer is not None and answer.stopped == "session":
                raise StateRefusedError("it was about to end")
            tool = catalog.find(catalog.canonical(name))
            if answer is None and not (tool is not None and tool.spec.idempotent):
                raise StateRefusedError(
                    f"it is not known whether the call {call_id} of {name} was done, and the tool"
                    " is not declared to be idempotent"
                )


def lost(reason: str) -> SessionLostError:
    return SessionLostError(f"the process that ran the session has gone: {reason}")


def require_durable_runtime(around: Surroundings, name: str | None) -> None:
    """ConfigError when this broker has no such runtime, or one whose runs can't be kept."""
    try:
        runtime = around.runtime(name)
    except RunError as problem:
        raise ConfigError(problem.message) from None
    if getattr(runtime, "durable", False) is not True:
        raise ConfigError(f"the runtime {name or around.default_runtime!r} is not durable")
