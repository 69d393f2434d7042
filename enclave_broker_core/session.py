"""Session: the calls, runs and messages of one agent, from creation to one final event."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import anyio
from pydantic import JsonValue

from . import events as wire
from .calls import RunOutcome, tool_call
from .client_tools import ClientTools
from .durable_code import DurableCode, session_code
from .errors import (
    BrokerError,
    CallError,
    MaxToolCallsError,
    SessionCancelledError,
    SessionEndedError,
    SessionLostError,
    StoreError,
    ToolError,
    ended_by,
)
from .frame import CallFrame, Kept
from .functions import arguments_text
from .lanes import Lane
from .mailbox import Mailbox, Message, MessageHandler, ToolCallMessage, tool_call_message
from .models import RunStats, SessionRecord, SessionState
from .observations import SessionFinished
from .once import Once
from .redaction import LayeredRedactor, Redactor
from .session_handle import CallAnswer, SessionHandle
from .surroundings import Surroundings

NO_ARGUMENTS = b"{}"
MOST_NESTED = 16


class Session(SessionHandle):
    """A session that this process runs. Made by ``Broker.session`` or ``SessionManager.create``.

    Its states: starting → running ⇄ waiting_for_tool → completed | cancelled | failed. An
    ended session never changes again; its events and history can still be read.
    """

    def __init__(
        self,
        record: SessionRecord,
        surroundings: Surroundings,
        on_end: Callable[[Session], None] | None = None,
        client_tools: ClientTools | None = None,
    ) -> None:
        super().__init__(record, surroundings, client_tools)
        self._on_end = on_end
        self._call_prefix = f"c_{secrets.token_hex(5)}_"
        self._calls: set[CallFrame] = set()
        self.code = session_code(self, surroundings, record)
        self.append = self.code.append
        self._mailbox = Mailbox(self.take)
        self.attempts = record.tool_calls
        self._state, self._ended_at = record.state, record.ended_at
        self._final: tuple[wire.Draft, SessionState] | None = None
        self.started = self.last_active = time.monotonic()
        self.ending: BrokerError | None = None
        self._lost = False
        self.ended = Once()
        self.redactor: Redactor = surroundings.redactor
        self.caller_headers: Mapping[str, str] = {}
        self.lanes: dict[str, Lane] = {}
        if record.state.ended:
            self.ending = SessionEndedError(f"the session has ended ({record.state.value})")
            self._mailbox.close()
            self.ended.set()

    async def start(self) -> None:
        """Write the first event; done by whoever created the session."""
        await self.emit(wire.session_init(self.id, self._record.expires_at))

    # What it is

    @property
    def state(self) -> SessionState:
        if self._state is SessionState.RUNNING and self._calls:
            return SessionState.WAITING_FOR_TOOL
        return self._state

    @property
    def is_ending(self) -> bool:
        return self.ending is not None

    @property
    def busy(self) -> bool:
        """Whether a call or a run is under way; a busy session is not idle."""
        return bool(self._calls) or self.code.busy

    @property
    def has_ended(self) -> bool:
        return self.ended.is_set()

    def remaining(self) -> float:
        return max(0.0, self.started + self.limits.timeout - time.monotonic())

    def info(self) -> SessionRecord:
        now = {"state": self.state, "ended_at": self._ended_at, "tool_calls": self.attempts}
        return self._record.model_copy(update=now)

    def stats(self) -> RunStats:
        return RunStats(time.monotonic() - self.started, self.attempts, self.code.stdout_bytes)

    # Calls

    def call(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        call_id: str | None = None,
        depth: int = 0,
        kept: Kept | None = None,
    ) -> Coroutine[Any, Any, Any]:
        if self.ending is not None:
            raise self.over()
        if kept is None or not kept.repeats:
            self.attempts += 1
        attempt = self.attempts
        around, limits = self._around, self.limits
        catalog = around.catalog if self._client is None else self.catalog
        if name not in catalog.tools:
            name = catalog.canonical(name)
        refusal: BrokerError | None = None
        arguments_json = NO_ARGUMENTS
        if args:
            try:
                arguments_json = arguments_text(name, args, limits.max_argument_bytes)
            except BrokerError as error:
                refusal = error
        most = limits.max_tool_calls
        if most is not None and attempt > most and not (kept is not None and kept.repeats):
            refusal = MaxToolCallsError(f"the {most} tool calls of this session are used up")
        own_id = f"{self._call_prefix}{attempt}" if kept is None else kept.call_id
        if depth > MOST_NESTED:
            refusal = ToolError(f"calls within calls: no more than {MOST_NESTED} levels of them")
        frame = CallFrame(self, own_id, catalog, name, time.monotonic(), refusal, depth, kept)
        return around.chain(
            tool_call((call_id or own_id, name, arguments_json, self.principal, frame, []))
        )

    @property
    def last_call_id(self) -> str:
        """The id that events have of the call that was made last."""
        return f"{self._call_prefix}{self.attempts}"

    def over(self) -> BrokerError:
        return ended_by(self.ending)

    def under_way(self) -> list[Once]:
        """One for each call and for the code state, set when it has gone."""
        return [*(frame.gone() for frame in self._calls), *self.code.under_way()]

    def begin_call(self, frame: CallFrame) -> None:
        """The call is under way, and stops when the session ends."""
        if self.ending is not None:
            raise self.over()
        self._calls.add(frame)

    def finish_call(self, frame: CallFrame, failure: BrokerError | None) -> Awaitable[None] | None:
        self.last_active = time.monotonic()
        if failure is not None and self.limits.cancel_on_first_error:
            self._stop(SessionCancelledError(f"cancelled by its first error: {failure.message}"))
        self._calls.discard(frame)
        if self._client is not None:
            self._client.finished(frame.call_id)
        if frame.on_end is not None:
            frame.on_end.set()
        return None if self.ending is None else self._conclude_when_quiet()

    def emit(self, draft: wire.Draft) -> Coroutine[Any, Any, int]:
        """Write an event to the log; it has happened when the store has it."""
        return self.append(self.id, draft)

    def see_caller(self, headers: Mapping[str, str]) -> None:
        if self._state.ended or headers == self.caller_headers:
            return
        self.caller_headers = dict(headers)
        if not isinstance(self.redactor, LayeredRedactor):
            self.redactor = LayeredRedactor(self._around.redactor)
        for name, value in headers.items():
            # With its scheme and without: "Bearer …" is two words, and one of them is secret.
            for text in {value, value.rpartition(" ")[2]}:
                self.redactor.add(text, name)

    async def take(self, call: ToolCallMessage | Mapping[str, Any]) -> Any:
        """A call as a message has it: ``{id?, name, args?}``."""
        made = tool_call_message(call)
        return await self.call(made.name, made.args, call_id=made.id)

    def attempt(self, call: ToolCallMessage) -> Coroutine[Any, Any, CallAnswer]:
        calling = self.call(call.name, call.args, call_id=call.id)
        return self._attempt(call.id or self.last_call_id, calling)

    async def _attempt(self, call_id: str, calling: Coroutine[Any, Any, Any]) -> CallAnswer:
        try:
            return CallAnswer(call_id, await calling, None)
        except CallError as error:
            return CallAnswer(call_id, None, error)

    async def answer(
        self, call_id: str, *, result: JsonValue = None, error: str | None = None
    ) -> None:
        if self.ending is not None:
            raise self.over()
        client = self._client or ClientTools(())
        begun = any(one.call_id == call_id and one.tool in client.tools for one in self._calls)
        client.answer(call_id, result=result, error=error, begun=begun)
        self.last_active = time.monotonic()

    # Code

    async def run(self, code: str) -> RunOutcome:
        return await self.code.run(code)

    async def execute(self, code: str) -> RunOutcome:
        return await self.code.execute(code)

    async def begin(self, code: str, *, last: bool = False) -> str:
        return await self.code.begin(code, last=last)

    # Messages and events

    def on(self, type: str, handler: MessageHandler) -> None:
        """Let ``handler(message)`` take what is delivered of this type."""
        self._mailbox.on(type, handler)

    async def deliver(self, message: Mapping[str, Any]) -> None:
        if self.ending is not None:
            raise self.over()
        act = self._mailbox.accept(message)
        self._around.tasks.start_soon(act, name=f"message of {self.id}")
        self.last_active = time.monotonic()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Put a message into ``messages()``."""
        self._mailbox.send(message)

    def messages(self) -> AsyncIterator[Message]:
        """What was sent, in order, until the session ends. For one reader."""
        return self._mailbox.messages()

    # The end

    async def cancel(self, reason: str = "cancelled") -> None:
        await self.end(SessionCancelledError(self.redactor.text(reason or "cancelled")))

    async def abort(self, error: BaseException) -> None:
        """End because of an exception of the embedding program."""
        with anyio.CancelScope(shield=True):
            await self.cancel(f"cancelled by {type(error).__name__}")

    async def end(self, error: BrokerError) -> None:
        """End with an error: returns when the work has stopped and the log is closed."""
        self._stop(error)
        await self._conclude_when_quiet()
        await self.ended.wait()

    async def complete(self, result_json: bytes | None = None) -> None:
        """End well. Calls that are still under way are cancelled."""
        if self.ended.is_set():
            return
        final = wire.final_ok(result_json, self.stats()), SessionState.COMPLETED
        self._stop(SessionEndedError("the session has completed"), final)
        await self._conclude_when_quiet()
        await self.ended.wait()

    @property
    def is_durable(self) -> bool:
        """Whether another process can go on with it."""
        return isinstance(self.code, DurableCode)

    async def let_go(self, reason: str, patience: float) -> None:
        """Leave a durable session to another process, with as little in doubt as can be.

        Waits up to ``patience`` seconds for the end of the calls that are under way.
        """
        if isinstance(self.code, DurableCode):
            self.code.pause()
        with anyio.move_on_after(patience):
            for frame in tuple(self._calls):
                await frame.gone().wait()
        self.lose(SessionLostError(f"{reason}; another goes on with this session"))
        await self.ended.wait()

    def lose(self, error: SessionLostError) -> None:
        """Another process has the session, or will: stop its work, and write nothing more."""
        if self.ended.is_set() or self._lost:
            return
        self._lost = True
        if isinstance(self.code, DurableCode):
            self.code.leave(error)
        self._stop(error)
        self._around.tasks.start_soon(self._conclude_when_quiet)

    def _stop(
        self, error: BrokerError, final: tuple[wire.Draft, SessionState] | None = None
    ) -> None:
        if self.ending is not None:
            return
        self.ending = error
        if final is None:
            cancelled = isinstance(error, SessionCancelledError)
            state = SessionState.CANCELLED if cancelled else SessionState.FAILED
            final = wire.final_error(error, self.stats()), state
        self._final = final
        for frame in tuple(self._calls):
            frame.stop()
        if self.code.is_open:
            self.code.close()
            self._around.tasks.start_soon(self.code.when_closed, self._conclude_when_quiet)

    async def _conclude_when_quiet(self) -> None:
        """Write the final event if nothing runs any more: the last to stop does it."""
        if self._calls or self.code.is_open or self._final is None:
            return
        (final, state), self._final = self._final, None
        at = time.time()
        with anyio.CancelScope(shield=True):
            try:
                if not self._lost:
                    await self._around.store.end(self.id, final, state, at)
            except StoreError:
                self._around.unsettled.add(self.id, final, state, at)
                raise
            finally:
                self._state, self._ended_at = state, at
                self._mailbox.close()
                self.ended.set()
                if self._on_end is not None:
                    self._on_end(self)
            why = None if state is SessionState.COMPLETED else self.ending
            code = None if why is None else why.code
            if self._around.tracer is not None:
                self._around.tracer.session_ended(self.info(), code)
            if self._around.observe is not None and not self._lost:
                with suppress(BrokerError):  # it is in the log, and there is no call to refuse
                    await self._around.observe(SessionFinished(self.info(), code))
