"""Session: the calls, runs and messages of one agent, from creation to one final event."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
from pydantic import JsonValue

from . import events as wire
from .calls import CallRecord, RunOutcome, tool_call
from .client_tools import ClientTools
from .errors import (
    BrokerError,
    MaxToolCallsError,
    SessionCancelledError,
    SessionEndedError,
    SessionNotFoundError,
    ToolError,
    ended_by,
)
from .following import Following
from .frame import CallFrame
from .functions import arguments_text
from .idempotency import Claims
from .lanes import Lane
from .mailbox import Mailbox, Message, MessageHandler, ToolCallMessage, tool_call_message
from .models import Principal, RunStats, SessionLimits, SessionRecord, SessionState, ToolSpec
from .observations import SessionFinished
from .once import Once
from .pattern_index import PatternIndex
from .patterns import Pattern
from .redaction import Redactor
from .registry import Catalog
from .session_code import SessionCode
from .surroundings import Surroundings

NO_ARGUMENTS = b"{}"
MOST_NESTED = 16


class Session:
    """One agent's session. Made by ``Broker.session`` or ``SessionManager.create``.

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
        self.id: str = record.id
        self.principal: Principal | None = record.principal
        self.metadata: Mapping[str, JsonValue] = record.metadata
        self.limits: SessionLimits = record.limits
        self._on_end = on_end
        self._record = record
        self._around = surroundings
        self.append = surroundings.store.append
        self._call_prefix = f"c_{secrets.token_hex(5)}_"
        self._calls: set[CallFrame] = set()
        self._client = client_tools
        self._code = SessionCode(self, surroundings, record.runtime)
        self._mailbox = Mailbox(self.take)
        self._attempts = record.tool_calls
        self._state, self._ended_at = record.state, record.ended_at
        self._final: tuple[wire.Draft, SessionState] | None = None
        self.started = self.last_active = time.monotonic()
        self.ending: BrokerError | None = None
        self.ended = Once()
        self.lanes: dict[str, Lane] = {}
        patterns = record.allowed_tools
        self.allowed = None if patterns is None else PatternIndex(list(map(Pattern, patterns)))
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
        return bool(self._calls) or self._code.busy

    def info(self) -> SessionRecord:
        """The session as it stands."""
        now = {"state": self.state, "ended_at": self._ended_at, "tool_calls": self._attempts}
        return self._record.model_copy(update=now)

    def stats(self) -> RunStats:
        return RunStats(time.monotonic() - self.started, self._attempts, self._code.stdout_bytes)

    @property
    def catalog(self) -> Catalog:
        """The broker's tools, and those that the session's client runs itself."""
        base = self._around.catalog
        return base if self._client is None else self._client.within(base)

    # Calls

    def call(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        call_id: str | None = None,
        depth: int = 0,
    ) -> Coroutine[Any, Any, Any]:
        """One tool call through the whole pipeline; awaited, it is the result in JSON form.

        Raises a CallError for what is wrong with the call, a SessionError when the
        session has ended or ends meanwhile.
        """
        if self.ending is not None:
            raise self.over()
        self._attempts = attempt = self._attempts + 1
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
        if most is not None and attempt > most:
            refusal = MaxToolCallsError(f"the {most} tool calls of this session are used up")
        own_id = f"{self._call_prefix}{attempt}"
        if depth > MOST_NESTED:
            refusal = ToolError(f"calls within calls: no more than {MOST_NESTED} levels of them")
        frame = CallFrame(self, own_id, catalog, name, time.monotonic(), refusal, depth)
        return around.chain(
            tool_call((call_id or own_id, name, arguments_json, self.principal, frame, []))
        )

    def over(self) -> BrokerError:
        """The error of what is asked of a session that has ended or is ending."""
        return ended_by(self.ending)

    def under_way(self) -> list[Once]:
        """One for each call and for the code state, set when it has gone."""
        return [*(frame.gone() for frame in self._calls), *self._code.under_way()]

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

    @property
    def redactor(self) -> Redactor:
        return self._around.redactor

    async def visible_tools(self) -> Mapping[str, ToolSpec]:
        """External name → tool, for all that this session may use now."""
        return await self._around.visible(self, self.catalog)

    async def take(self, call: ToolCallMessage | Mapping[str, Any]) -> Any:
        """A call as a message has it: ``{id?, name, args?}``."""
        if not isinstance(call, ToolCallMessage):
            call = tool_call_message(call)
        return await self.call(call.name, call.args, call_id=call.id)

    @property
    def last_call_id(self) -> str:
        """The id that the latest call has in the events."""
        return f"{self._call_prefix}{self._attempts}"

    def answer(self, call_id: str, *, result: JsonValue = None, error: str | None = None) -> None:
        """The client's answer to a call of one of its own tools: a result, or what went wrong.

        CallNotFoundError when no such call waits for one, AlreadyAnsweredError for a second.
        """
        if self.ending is not None:
            raise self.over()
        client = self._client or ClientTools(())
        begun = any(one.call_id == call_id and one.tool in client.tools for one in self._calls)
        client.answer(call_id, result=result, error=error, begun=begun)
        self.last_active = time.monotonic()

    # Code

    async def run(self, code: str) -> RunOutcome:
        """Run an agent's code; what an earlier run defined is still there.

        The outcome holds what the code did wrong, it is not raised. SessionError when the
        session has ended; RuntimeBusyError when a run is under way already.
        """
        return await self._code.run(code)

    async def execute(self, code: str) -> RunOutcome:
        """Run code as the session's last act: its result, or its error, ends the session."""
        return await self._code.execute(code)

    def begin(self, code: str, *, last: bool = False) -> str:
        """Run code in the background, as ``run``, or as ``execute`` when it is the ``last``.

        Returns its id; a run in between ends with a ``partial_result`` of ``["run", id]``.
        """
        return self._code.begin(code, last=last)

    # Messages and events

    def on(self, type: str, handler: MessageHandler) -> None:
        """Let ``handler(message)`` take what is delivered of this type."""
        self._mailbox.on(type, handler)

    async def deliver(self, message: Mapping[str, Any]) -> None:
        """Take a message that came in; what it asks for goes on in the background.

        A ``tool_call`` that no handler takes is executed, and its ``tool_result`` or
        ``tool_error`` sent. ArgumentsError for a message that is not understood.
        """
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

    def events(self, from_seq: int = 1) -> Following:
        """The log from ``from_seq`` on, followed until its final event."""
        return Following(self._around.store, self.id, from_seq)

    async def last_seq(self) -> int:
        """The seq of the latest event. SessionNotFoundError when it has been forgotten."""
        record = await self._around.store.get(self.id)
        if record is None:
            raise SessionNotFoundError(f"there is no session {self.id!r}")
        return record.last_seq

    def claims(self) -> Claims:
        """What has been asked for under an idempotency key in this session."""
        return Claims(self._around.store, self.id)

    async def history(self) -> Sequence[CallRecord]:
        """The finished calls, oldest first."""
        return await self._around.store.history(self.id)

    # The end

    async def cancel(self, reason: str = "cancelled") -> None:
        """Stop all calls and runs and end the session; does nothing when it has ended."""
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
        if self._code.is_open:
            self._code.close()
            self._around.tasks.start_soon(self._code.when_closed, self._conclude_when_quiet)

    async def _conclude_when_quiet(self) -> None:
        """Write the final event if nothing runs any more: the last to stop does it."""
        if self._calls or self._code.is_open or self._final is None:
            return
        (final, state), self._final = self._final, None
        at = time.time()
        with anyio.CancelScope(shield=True):
            try:
                await self._around.store.end(self.id, final, state, at)
            finally:
                self._state, self._ended_at = state, at
                self._mailbox.close()
                self.ended.set()
                if self._on_end is not None:
                    self._on_end(self)
            if self._around.observe is not None:
                why = None if state is SessionState.COMPLETED else self.ending
                code = None if why is None else why.code
                with suppress(BrokerError):  # it is in the log, and there is no call to refuse
                    await self._around.observe(SessionFinished(self.info(), code))
