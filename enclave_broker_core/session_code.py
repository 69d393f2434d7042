"""An agent's code in one session: its runs, one at a time, and what they leave behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from . import events
from .calls import RunOutcome
from .errors import BrokerError, RunError
from .frame import Append
from .once import Once
from .runs import RunLane, RunningSession, busy
from .surroundings import Surroundings
from .traced import Running, Told

_log = logging.getLogger(__name__)


class CodeSession(RunningSession, Protocol):
    """What code needs of its session besides: that it can end it."""

    last_active: float

    async def end(self, error: BrokerError) -> None: ...
    async def complete(self, result_json: bytes | None = None) -> None: ...


class SessionCode:
    """Runs code in a session, and holds its state from the first run on.

    ``append`` is what the session writes its log with.
    """

    def __init__(self, session: CodeSession, around: Surroundings, runtime: str | None) -> None:
        self._session = session
        self._around = around
        self._runtime = runtime
        self._lane: RunLane | None = None
        self._taken = False
        self._runs = 0
        self.append: Append = around.append

    @property
    def busy(self) -> bool:
        return self._taken

    @property
    def is_open(self) -> bool:
        """Whether there is a state that has not gone."""
        return self._lane is not None and not self._lane.closed.is_set()

    @property
    def stdout_bytes(self) -> int:
        return 0 if self._lane is None else self._lane.host.stdout_bytes

    def under_way(self) -> list[Once]:
        """What is set when the state has gone, if there is one."""
        return [] if self._lane is None else [self._lane.closed]

    async def run(self, code: str) -> RunOutcome:
        """Run code between others; how it ended is in the log too."""
        return await self._run(self._take(), code)

    async def execute(self, code: str) -> RunOutcome:
        """Run code as the session's last act."""
        return await self._execute(self._take(), code)

    async def begin(self, code: str, *, last: bool) -> str:
        """The same in the background; the id of the run."""
        run_id = self._take()
        try:
            await self._keep_begun(code, last)
        except BaseException:
            self._leave()
            raise
        self._around.tasks.start_soon(self._in_background, run_id, code, last, name=run_id)
        return run_id

    async def _keep_begun(self, code: str, last: bool) -> None:
        """The run that follows is one that somebody may ask for later."""

    def close(self) -> None:
        """Stop the run that is under way and let the state go; the session concludes then."""
        if self._lane is not None and self.is_open:
            self._lane.close()

    async def when_closed(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do something when the state has gone; what fails of it is for the log."""
        if self._lane is not None:
            await self._lane.when_closed(act)

    def _take(self) -> str:
        """The place for one run, until ``_leave``."""
        if self._session.is_ending:
            raise self._session.over()
        if self._taken:
            raise busy()
        self._taken = True
        self._runs += 1
        return f"run_{self._runs}"

    def _leave(self) -> None:
        self._taken = False
        self._session.last_active = time.monotonic()

    async def _run(self, run_id: str, code: str | None) -> RunOutcome:
        session = self._session
        try:
            outcome, text = await self._outcome(run_id, code, last=False)
            if not session.is_ending:
                path = ["run", run_id]
                if isinstance(outcome.error, BrokerError):
                    await self._show(events.partial_error(path, outcome.error))
                else:
                    await self._show(events.partial_result(path, text, has_next=False))
            return outcome
        finally:
            self._leave()

    async def _show(self, event: events.Draft) -> None:
        """Tell what came of a run that others may follow."""
        await self._session.emit(event)

    async def _execute(self, run_id: str, code: str | None) -> RunOutcome:
        try:
            outcome, text = await self._outcome(run_id, code, last=True)
            if isinstance(outcome.error, BrokerError):
                await self._session.end(outcome.error)
            else:
                await self._session.complete(text)
            return outcome
        finally:
            self._leave()

    async def _in_background(self, run_id: str, code: str | None, last: bool) -> None:
        try:
            await (self._execute if last else self._run)(run_id, code)
        except Exception as problem:
            # Nobody waits for it: what kept it from running is told by the log.
            await self._tell(run_id, problem, last)

    async def _tell(self, run_id: str, problem: Exception, last: bool) -> None:
        session = self._session
        if not isinstance(problem, BrokerError):
            _log.error("%s of session %s failed", run_id, session.id, exc_info=problem)
            problem = RunError("the code could not be run")
        try:
            if last:
                await session.end(problem)
            elif not session.is_ending:
                await session.emit(events.partial_error(["run", run_id], problem))
        except Exception:
            _log.exception("the end of %s of session %s was not recorded", run_id, session.id)

    async def _outcome(
        self, run_id: str, code: str | None, *, last: bool
    ) -> tuple[RunOutcome, bytes]:
        lane = await self._open_lane(alone=last)
        try:
            if self._session.is_ending:
                raise self._session.over()
            return await self._followed(run_id, lane, lane.outcome(code, run_id, last=last))
        finally:
            await lane.release()

    async def _followed(self, run_id: str, lane: RunLane, running: Running) -> Told:
        tracer = self._around.tracer
        if tracer is None:
            return await running
        return await tracer.run(self._session.id, run_id, lane.host, running)

    async def _open_lane(self, *, alone: bool) -> RunLane:
        lane = self._lane or RunLane(self._session, self._around.runtime(self._runtime))
        if not lane.opened:
            self._lane = lane
            try:
                await (lane.open() if alone else self._around.tasks.start(lane.serve))
            except BaseException:
                self._lane = None
                raise
        return lane
