"""What a session is to whoever has its id: the same whether this process runs it or another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import JsonValue

from .calls import CallRecord, RunOutcome
from .client_tools import ClientTools
from .errors import BrokerError, CallError, SessionNotFoundError
from .following import Following
from .idempotency import Claims
from .mailbox import ToolCallMessage
from .models import Principal, SessionLimits, SessionRecord, SessionState, ToolSpec
from .pattern_index import PatternIndex
from .patterns import Pattern
from .registry import Catalog
from .surroundings import Surroundings


class CallAnswer(NamedTuple):
    """A call's id, as the events have it unless the caller chose one, and what came of it."""

    id: str
    data: Any
    error: CallError | None


class SessionHandle(ABC):
    """One agent's session; what the store keeps of it is read the same way everywhere."""

    def __init__(
        self,
        record: SessionRecord,
        surroundings: Surroundings,
        client_tools: ClientTools | None = None,
    ) -> None:
        self.id: str = record.id
        self.principal: Principal | None = record.principal
        self.metadata: Mapping[str, JsonValue] = record.metadata
        self.limits: SessionLimits = record.limits
        self._record = record
        self._around = surroundings
        self._client = client_tools
        patterns = record.allowed_tools
        self.allowed = None if patterns is None else PatternIndex(list(map(Pattern, patterns)))

    # What it is

    @property
    @abstractmethod
    def state(self) -> SessionState:
        """As far as it is known here."""

    @property
    @abstractmethod
    def has_ended(self) -> bool:
        """Whether its final event has been written."""

    @property
    @abstractmethod
    def is_ending(self) -> bool:
        """Whether it takes nothing more."""

    @abstractmethod
    def over(self) -> BrokerError:
        """The error of what is asked of it when it has ended or is ending."""

    @abstractmethod
    def remaining(self) -> float:
        """Seconds until its lifetime is over."""

    @abstractmethod
    def info(self) -> SessionRecord:
        """The session as it stands."""

    @property
    def catalog(self) -> Catalog:
        """The broker's tools, and those that the session's client runs itself."""
        base = self._around.catalog
        return base if self._client is None else self._client.within(base)

    async def visible_tools(self) -> Mapping[str, ToolSpec]:
        """External name → tool, for all that this session may use now."""
        return await self._around.visible(self, self.catalog)

    # What is asked of it

    @abstractmethod
    def call(
        self, name: str, args: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> Awaitable[Any]:
        """One tool call through the whole pipeline: its result in JSON form.

        Raises a CallError for what is wrong with the call, a SessionError when the
        session has ended or ends meanwhile.
        """

    @abstractmethod
    def attempt(self, call: ToolCallMessage) -> Awaitable[CallAnswer]:
        """The same for a call as a message has it; a CallError is in the answer, not raised."""

    @abstractmethod
    async def answer(
        self, call_id: str, *, result: JsonValue = None, error: str | None = None
    ) -> None:
        """The client's answer to a call of one of its own tools: a result, or what went wrong.

        CallNotFoundError when no such call waits for one, AlreadyAnsweredError for a second.
        """

    @abstractmethod
    async def run(self, code: str) -> RunOutcome:
        """Run an agent's code; what an earlier run defined is still there.

        The outcome holds what the code did wrong, it is not raised. SessionError when the
        session has ended; RuntimeBusyError when a run is under way already.
        """

    @abstractmethod
    async def execute(self, code: str) -> RunOutcome:
        """Run code as the session's last act: its result, or its error, ends the session."""

    @abstractmethod
    async def begin(self, code: str, *, last: bool = False) -> str:
        """Run code in the background, as ``run``, or as ``execute`` when it is the ``last``.

        Returns its id; a run in between ends with a ``partial_result`` of ``["run", id]``.
        """

    @abstractmethod
    async def deliver(self, message: Mapping[str, Any]) -> None:
        """Take a message that came in; what it asks for goes on in the background.

        A ``tool_call`` that no handler takes is executed, and its ``tool_result`` or
        ``tool_error`` sent. ArgumentsError for a message that is not understood.
        """

    @abstractmethod
    async def cancel(self, reason: str = "cancelled") -> None:
        """Stop all calls and runs and end the session; does nothing when it has ended."""

    @abstractmethod
    def see_caller(self, headers: Mapping[str, str]) -> None:
        """Know these headers of its owner's latest request, by their names in lower case.

        Tools that are declared with the secret ``caller:<name>`` may pass them on. They stay
        in the memory of the process that runs the session: asked of another it does nothing.
        """

    # What the store has of it

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
