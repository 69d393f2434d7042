"""Runs an agent's code in a session: one sandbox state, one task, one run at a time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol, cast

import anyio
from anyio.abc import TaskStatus
from pydantic import JsonValue
from pydantic_core import from_json

from . import events
from .calls import RunOutcome
from .contracts import DurableRuntimeSession, Runtime, RuntimeSession
from .errors import (
    BrokerError,
    DeadlineExceededError,
    ResultTooLargeError,
    RunError,
    RuntimeBusyError,
)
from .failures import blot
from .json_form import NotJsonError, TooLargeError, json_text
from .models import RunStats, SessionLimits, ToolSpec
from .once import Once
from .redaction import Redactor
from .tracing import RunTrace

_log = logging.getLogger(__name__)


class RunningSession(Protocol):
    """What running code needs of its session."""

    @property
    def id(self) -> str: ...
    @property
    def limits(self) -> SessionLimits: ...
    @property
    def is_ending(self) -> bool: ...
    def over(self) -> BrokerError: ...
    def emit(self, draft: events.Draft) -> Awaitable[int]: ...
    def call(
        self, name: str, args: Mapping[str, Any] | None = None
    ) -> Coroutine[Any, Any, Any]: ...
    async def visible_tools(self) -> Mapping[str, ToolSpec]: ...
    @property
    def redactor(self) -> Redactor: ...
    def stats(self) -> RunStats: ...


class Host:
    """The session as a sandbox sees it."""

    durable = False

    def __init__(self, session: RunningSession) -> None:
        self._session = session
        self._tools: Mapping[str, ToolSpec] = {}
        self.stdout_bytes = 0
        self.trace: RunTrace | None = None  # of the run that is on

    @property
    def session_id(self) -> str:
        return self._session.id

    @property
    def limits(self) -> SessionLimits:
        return self._session.limits

    def tools(self) -> Mapping[str, ToolSpec]:
        return self._tools

    async def refresh(self) -> None:
        """Look up what the session may use now; done before each run."""
        self._tools = await self._session.visible_tools()

    async def call(
        self, name: str, arguments: Mapping[str, Any], *, key: str | None = None
    ) -> JsonValue:
        with nullcontext() if self.trace is None else self.trace.within():
            return await self._call(name, arguments, key)

    async def _call(self, name: str, arguments: Mapping[str, Any], key: str | None) -> JsonValue:
        result: JsonValue = await self._session.call(name, arguments)
        return result

    async def checkpoint(self, state: bytes, calls: Sequence[str]) -> None:
        raise RunError("this session is not durable: its runs have no checkpoints")

    async def stdout(self, chunk: str) -> None:
        if not chunk:
            return
        self._count(chunk)
        await self._show(events.stdout(self._session.redactor.text(chunk)))

    async def log_line(self, level: events.Level, message: str) -> None:
        self._count(message)
        await self._show(events.log(level, self._session.redactor.text(message)))

    async def _show(self, output: events.Draft) -> None:
        await self._session.emit(output)

    def _count(self, text: str) -> None:
        self.stdout_bytes += len(text.encode("utf-8", "replace"))
        allowed = self.limits.max_output_bytes
        if self.stdout_bytes > allowed:
            raise ResultTooLargeError(f"the code printed more than {allowed} bytes")


class _Job:
    """One piece of code on its way through the lane; ``last`` when nothing runs after it.

    Without ``code`` it is the rest of a run that another process began. ``seconds`` is how
    long it may take, ``used`` how much of that it has taken before.
    """

    def __init__(self, code: str | None, last: bool, seconds: float | None, used: float) -> None:
        self.code = code
        self.last = last
        self.began = anyio.current_time() - used
        deadline = math.inf if seconds is None else self.began + seconds
        self.scope = anyio.CancelScope(deadline=deadline)
        self.stopped = False
        self.done = Once()
        self.result: JsonValue = None
        self.error: Exception | None = None
        self.finished = False

    @property
    def late(self) -> bool:
        """Whether its time was over before it was done, whatever it says of its end."""
        return self.scope.cancel_called and not (self.stopped or self.finished)

    def stop(self) -> None:
        self.stopped = True
        self.scope.cancel()


class RunLane:
    """Holds a session's sandbox state from the first run on.

    The state is opened and closed in one task, whoever asks for the runs: that of ``serve``
    or, when the first run is the last one as well, the caller's own, which is cheaper.
    """

    def __init__(self, session: RunningSession, runtime: Runtime, host: Host | None = None) -> None:
        self.host = host or Host(session)
        self._session = session
        self._runtime = runtime
        self._current: _Job | None = None
        self._wake = Once()
        self._closing = False
        self._served = False
        self._own: AbstractAsyncContextManager[RuntimeSession] | None = None
        self._state: RuntimeSession | None = None
        self.opened = False
        self.closed = Once()

    async def open(self, state: bytes | None = None) -> None:
        """Hold the state in this task, for one run, until ``release``."""
        self.opened, self.closed = True, Once()
        self._own = self._runtime.session(self.host, state)
        self._state = await self._own.__aenter__()

    async def dump(self) -> bytes | None:
        """The state that ``open`` holds, as it is between runs."""
        return None if self._state is None else await self._state.dump()

    async def release(self) -> None:
        """Let go of what ``open`` holds; does nothing when that did not open the state.

        The session ends now or, when whoever asked for the run was cancelled, it can open
        the state anew.
        """
        if self._state is None or self._own is None:
            return
        self._state = None
        try:
            await self._own.__aexit__(None, None, None)
        except Exception:
            _log.exception("the sandbox of session %s failed", self._session.id)
        finally:
            self._own = None
            self.opened = False
            self.closed.set()

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Hold the state and run what comes, until ``close``."""
        self.opened, self.closed = True, Once()
        try:
            async with self._runtime.session(self.host) as state:
                task_status.started()
                self._served = True
                while not self._closing:
                    await self._wake.wait()
                    self._wake = Once()
                    if self._current is not None:
                        await self._work(state, self._current)
        except Exception:
            if not self._served:
                raise
            _log.exception("the sandbox of session %s failed", self._session.id)
        finally:
            if self._current is not None and not self._current.done.is_set():
                self._current.error = RunError("the sandbox of this session has gone")
                self._current.done.set()
            self.closed.set()

    async def _work(self, state: RuntimeSession, job: _Job) -> None:
        try:
            with job.scope:
                await self.host.refresh()
                if job.code is None:
                    resuming = cast(DurableRuntimeSession, state)
                    job.result = await resuming.resume(last=job.last)
                else:
                    job.result = await state.run(job.code, last=job.last)
                job.finished = True
        except Exception as error:
            job.error = error
        finally:
            self._current = None
            job.done.set()

    async def outcome(
        self, code: str | None, run_id: str, *, last: bool = False, used: float = 0.0
    ) -> tuple[RunOutcome, bytes]:
        """How a run ended, and its result as JSON text. RuntimeBusyError while one is on."""
        if self._current is not None:
            raise busy()
        session = self._session
        before, started = session.stats(), time.monotonic()
        result: JsonValue = None
        text = b"null"
        failure: BrokerError | None = None
        try:
            text = session.redactor.json(await self.run(code, last=last, used=used))
            result = from_json(text)
        except BrokerError as error:
            failure = error
            blot(failure, session.redactor)
        after = session.stats()
        stats = RunStats(
            time.monotonic() - started,
            after.tool_calls - before.tool_calls,
            after.stdout_bytes - before.stdout_bytes,
        )
        return RunOutcome(failure is None, result, failure, stats, run_id), text

    async def run(self, code: str | None, *, last: bool, used: float) -> bytes:
        """Run ``code`` after what ran before; its result as JSON text.

        Without ``code``, go on with the run that the state is a checkpoint of. Not to be
        called while a run is on. Cancelling this stops the code.
        """
        longest = self._session.limits.max_code_bytes
        if code is not None and len(code.encode("utf-8", "replace")) > longest:
            raise RunError(f"the code is longer than {longest} bytes")
        if self.closed.is_set():
            raise RunError("the sandbox of this session has gone")
        budget = self._session.limits.run_timeout
        job = self._current = _Job(code, last, budget, used)
        if self._state is None:
            await self._by_the_other_task(job)
        elif not self._closing:
            await self._work(self._state, job)
        self._current = None
        if job.late and budget is not None:
            elapsed = anyio.current_time() - job.began
            await self._session.emit(events.deadline_exceeded(elapsed, budget))
            raise DeadlineExceededError(f"the run took longer than {budget:g} s")
        if isinstance(job.error, BrokerError):
            raise job.error
        if job.error is not None:
            raise RunError(f"the sandbox failed: {job.error}") from job.error
        if not job.finished:
            if self._session.is_ending:
                raise self._session.over()
            raise RunError("the run was cancelled")
        return self._text(job.result)

    async def _by_the_other_task(self, job: _Job) -> None:
        self._wake.set()
        try:
            await job.done.wait()
        finally:
            if not job.done.is_set():
                job.stop()
                with anyio.CancelScope(shield=True):
                    await job.done.wait()

    def _text(self, result: JsonValue) -> bytes:
        try:
            return json_text(result, self._session.limits.max_result_bytes)
        except TooLargeError as problem:
            raise ResultTooLargeError(f"the result of the run is too large: {problem}") from None
        except NotJsonError as problem:
            raise RunError(f"the result of the run can't be passed on: {problem}") from None

    async def when_closed(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do something when the state has gone; what fails of it is for the log."""
        await self.closed.wait()
        try:
            await act()
        except Exception:
            _log.exception("the end of session %s could not be recorded", self._session.id)

    def cancel(self) -> None:
        """Stop the run that is under way."""
        if self._current is not None:
            self._current.stop()

    def close(self) -> None:
        """Stop all and let the state go; ``closed`` is set when it has gone."""
        self._closing = True
        self.cancel()
        self._wake.set()


def busy() -> RuntimeBusyError:
    return RuntimeBusyError("a run is under way in this session", retry_after=1.0)
