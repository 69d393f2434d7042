"""Keeps the runs of a durable session in the store, so that another process can go on."""

from __future__ import annotations

import re
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import anyio
from pydantic import JsonValue

from .calls import CallRecord
from .durable_state import Answer, CodeState
from .errors import BrokerError, RunError, SessionLostError
from .events import Draft
from .once import Once
from .runs import Host, RunningSession
from .seals import Seal
from .shown import Shown
from .store_abilities import DurableStore

CALL_PREFIX = "c_run_"
"""What the ids of durable calls begin with; those of others are random there."""

_KEY = re.compile(r"[A-Za-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class Durability:
    """What makes sessions durable; ``most_bytes`` may be saved of one."""

    store: DurableStore
    seal: Seal
    most_bytes: int


class DurableSession(RunningSession, Protocol):
    def call(
        self, name: str, args: Mapping[str, Any] | None = None, *, kept: KeptCall | None = None
    ) -> Coroutine[Any, Any, Any]: ...


class KeptCall:
    """One call of a durable run, to its record: its id in the log, and what is kept of it.

    ``repeats``: the log has it already, but not what came of it.
    """

    def __init__(self, runs: KeptRuns, call_id: str, repeats: bool) -> None:
        self._runs = runs
        self.call_id = call_id
        self.repeats = repeats

    async def end(
        self,
        event: Draft,
        call: CallRecord,
        result: JsonValue,
        failure: BrokerError | None,
        *,
        cancelled: bool,
    ) -> None:
        answer = Answer.of(time.time(), result, failure, cancelled=cancelled)
        await self._runs.end_call(event, call, answer)


class KeptRuns:
    """The saved state of a session's code, and the calls that the run under way waits for.

    ``state`` is what was saved last, for all that is known. ``seq`` is the latest event that
    this process knows to be in the log.
    """

    def __init__(self, session: DurableSession, around: Durability) -> None:
        self._session = session
        self._around = around
        self._began = 0.0
        self._used = 0.0
        self._begun: dict[str, str] = {}
        self._in_doubt: set[str] = set()
        self._answers: dict[str, Answer] = {}
        self._turns: dict[str, tuple[Once | None, Once]] = {}
        self._paused = False
        self._gone: SessionLostError | None = None
        self.seq = 0
        self.state = CodeState("done", 0, 0, False, None, 0, 0)

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
    ) -> int:
        """The store's, for all that this session writes."""
        self._require_here()
        seq = await self._around.store.append(session_id, event, call)
        self.seq = max(self.seq, seq)
        return seq

    async def end_call(self, event: Draft, call: CallRecord, answer: Answer) -> None:
        """The same for the end of a durable call, with what came of it."""
        self._require_here()
        session_id, around = self._session.id, self._around
        sealed = answer.to_bytes(around.seal, session_id, call.call_id)
        seq = await around.store.append(session_id, event, call, answer=sealed)
        self.seq = max(self.seq, seq)

    # Saving

    async def begin(
        self,
        runs: int,
        code: str,
        last: bool,
        runtime: str | None,
        runtime_state: bytes | None,
        printed: int,
    ) -> None:
        """Save that a run begins in ``runtime_state``."""
        self._begun, self._in_doubt, self._answers = {}, set(), {}
        self._began, self._used = time.monotonic(), 0.0
        # Code that is too long fails wherever it runs, and so does so much of it.
        code = code[: self._session.limits.max_code_bytes + 1]
        code = code.encode("utf-8", "replace").decode()
        run = {"runs": runs, "last": last, "runtime": runtime, "code": code}
        await self._save(self._now("begun", printed, runtime_state, event=None, pending={}, **run))

    async def checkpoint(self, runtime_state: bytes, keys: Sequence[str], printed: int) -> None:
        """Save that the run waits for the calls with these keys; RunError when it is too much."""
        self.require_room(runtime_state)
        ids = [self._call_id(key) for key in keys]
        pending = {call_id: self._begun.get(call_id) for call_id in ids}
        await self._save(self._now("waiting", printed, runtime_state, pending=pending, code=""))
        # Those that were saved as not begun may have begun meanwhile.
        self._begun = {one: tool for one, tool in self._begun.items() if one in pending}
        if self._paused:
            await anyio.sleep_forever()

    async def done(self, event: Draft | None, runtime_state: bytes | None, printed: int) -> None:
        """Save that the run is over, what is told of it, and what it left."""
        told = None if event is None else (event[0], event[1].decode())
        await self._save(self._now("done", printed, runtime_state, event=told, code="", pending={}))

    def _now(self, kind: Any, printed: int, runtime_state: bytes | None, **more: Any) -> CodeState:
        return replace(
            self.state,
            kind=kind,
            seq=self.seq,
            attempts=self._session.stats().tool_calls,
            stdout_bytes=printed,
            seconds=self._used + time.monotonic() - self._began,
            runtime_state=runtime_state,
            **more,
        )

    def require_room(self, runtime_state: bytes | None) -> None:
        """RunError for more than may be saved, and for what a runtime could not dump."""
        most = self._around.most_bytes
        if runtime_state is None:
            raise RunError("the runtime did not dump the state of the code")
        if len(runtime_state) > most:
            raise RunError(
                f"the state of the code has {len(runtime_state)} bytes, and at most {most} are"
                " kept of a durable session"
            )

    async def _save(self, state: CodeState) -> None:
        self._require_here()
        data = state.to_bytes(self._around.seal, self._session.id)
        self.state = state  # a save that fails may have happened
        await self._around.store.save(self._session.id, data, keep=frozenset(state.pending))

    def leave(self, why: SessionLostError) -> None:
        """Write nothing more: the session is another process's, or will be.

        The store may let this one write until then. That a call was stopped here is no answer
        that anybody may go on from.
        """
        self._gone = why

    def _require_here(self) -> None:
        if self._gone is not None:
            raise SessionLostError(self._gone.message)

    def pause(self) -> None:
        """Begin no more calls: whoever goes on with the run begins them."""
        self._paused = True

    # Going on

    def take_up(
        self, state: CodeState, begun: Mapping[str, str], answers: Mapping[str, Answer], seq: int
    ) -> None:
        """Go on from ``state``: ``begun`` are the calls, with their tools, that the log has,
        and ``answers`` what came of them, in that order."""
        self.state, self.seq = state, seq
        self._began, self._used = time.monotonic(), state.seconds
        self._begun, self._answers = dict(begun), dict(answers)
        self._in_doubt = {call_id for call_id in begun if call_id not in answers}
        before: Once | None = None
        for call_id, answer in answers.items():
            if answer.stopped is None:
                turn = Once()
                self._turns[call_id] = before, turn
                before = turn

    @property
    def used(self) -> float:
        """The seconds that the run under way took in other processes."""
        return self._used

    async def call(self, name: str, arguments: Mapping[str, Any], key: str) -> JsonValue:
        """Make a call that a checkpoint lists, or give its outcome again."""
        call_id = self._call_id(key)
        if call_id not in self.state.pending:
            raise RuntimeError(f"the runtime makes a call that no checkpoint lists: {key!r}")
        if call_id in self._answers:
            return await self._again(call_id)
        repeats = call_id in self._in_doubt
        if call_id in self._begun and not repeats:
            raise RuntimeError(f"the runtime makes a call twice: {key!r}")
        self._in_doubt.discard(call_id)
        self._begun[call_id] = name
        kept = KeptCall(self, call_id, repeats)
        result: JsonValue = await self._session.call(name, arguments, kept=kept)
        return result

    async def _again(self, call_id: str) -> JsonValue:
        """In the order in which the outcomes came, on which what the code does may depend."""
        answer = self._answers[call_id]
        if answer.stopped is not None:
            # The run was about to end, and will again: it got nothing from this call.
            await anyio.sleep_forever()
        before, turn = self._turns[call_id]
        if before is not None:
            await before.wait()
        turn.set()
        return answer.unwrap()

    def _call_id(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise RuntimeError(f"{key[:80]!r} can't be the key of a call")
        return f"c_{self.state.run_id}_{key}"


class DurableHost(Host):
    """The session as a sandbox sees it whose runs can be gone on with."""

    durable = True

    def __init__(self, session: DurableSession, kept: KeptRuns) -> None:
        super().__init__(session)
        self._kept = kept
        self._shown = Shown()

    async def _call(self, name: str, arguments: Mapping[str, Any], key: str | None) -> JsonValue:
        if key is None:
            raise RuntimeError("the runtime makes a call of a durable run without a key")
        return await self._kept.call(name, arguments, key)

    async def checkpoint(self, state: bytes, calls: Sequence[str]) -> None:
        self._shown = Shown()
        await self._kept.checkpoint(state, calls, self.stdout_bytes)

    def take_up(self, shown: Shown, stdout_bytes: int) -> None:
        """Go on where so much was printed; what comes next may have been ``shown``."""
        self._shown, self.stdout_bytes = shown, stdout_bytes

    async def _show(self, output: Draft) -> None:
        rest = self._shown.rest(output)
        if rest is not None:
            await super()._show(rest)
