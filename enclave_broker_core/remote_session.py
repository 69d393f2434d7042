"""A session that another process of the same broker runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from .calls import RunOutcome
from .client_tools import ClientTools
from .errors import BrokerError, SessionEndedError
from .json_form import NotJsonError
from .mailbox import ToolCallMessage
from .models import SessionRecord, SessionState
from .session_commands import answer_of, call_answer, command, run_outcome
from .session_handle import CallAnswer, SessionHandle
from .store_abilities import SharedStore
from .surroundings import Surroundings


class RemoteSession(SessionHandle):
    """Hands what is asked of it to the process that runs it, through the store.

    Everything may raise SessionLostError: that process has gone with it in hand, so it may
    have been done or not. What it knows of the session is as it was when it was looked up.
    """

    def __init__(self, record: SessionRecord, around: Surroundings, store: SharedStore) -> None:
        declared = record.client_tools
        super().__init__(record, around, ClientTools(declared) if declared else None)
        self._store = store

    @property
    def state(self) -> SessionState:
        return self._record.state

    @property
    def has_ended(self) -> bool:
        return False

    @property
    def is_ending(self) -> bool:
        return False

    def over(self) -> BrokerError:
        return SessionEndedError("the session has ended")

    def remaining(self) -> float:
        return max(0.0, self._record.expires_at - time.time())

    def see_caller(self, headers: Mapping[str, str]) -> None:
        """They stay where they came in: the store is no place for them."""

    def info(self) -> SessionRecord:
        return self._record

    async def call(
        self, name: str, args: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> Any:
        answer = await self._call(call_id, name, args)
        if answer.error is not None:
            raise answer.error
        return answer.data

    async def attempt(self, call: ToolCallMessage) -> CallAnswer:
        return await self._call(call.id, call.name, call.args)

    async def _call(
        self, call_id: str | None, name: str, args: Mapping[str, Any] | None
    ) -> CallAnswer:
        problem: str | None = None
        given: dict[str, Any] = {}
        try:
            given.update(args or {})
        except NotJsonError as error:  # it is an attempt all the same
            problem = str(error)
        asked = {"id": call_id, "name": name, "args": given, "problem": problem}
        return call_answer(await self._ask("call", **asked))

    async def answer(
        self, call_id: str, *, result: JsonValue = None, error: str | None = None
    ) -> None:
        await self._ask("answer", callId=call_id, result=result, error=error)

    async def run(self, code: str) -> RunOutcome:
        return run_outcome(await self._ask("run", code=code, last=False))

    async def execute(self, code: str) -> RunOutcome:
        return run_outcome(await self._ask("run", code=code, last=True))

    async def begin(self, code: str, *, last: bool = False) -> str:
        run_id: str = await self._ask("begin", code=code, last=last)
        return run_id

    async def deliver(self, message: Mapping[str, Any]) -> None:
        await self._ask("deliver", message=dict(message))

    async def cancel(self, reason: str = "cancelled") -> None:
        try:
            await self._ask("cancel", reason=reason)
        except SessionEndedError:
            return

    async def _ask(self, kind: str, **given: Any) -> Any:
        return answer_of(await self._store.ask(self.id, command(kind, self._record, **given)))
