"""What one process asks of a session that another one runs: its form, and the doing of it.

A command is JSON ``{"do": kind, "of": created_at, …}``: ids may be used again, and it is meant
for the session of that time. Its answer is ``{"ok": value}`` or ``{"error": form}``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import asdict
from typing import Any

from pydantic_core import from_json, to_json

from .calls import RunOutcome
from .error_form import error_form, revived
from .errors import ArgumentsError, BrokerError, RunError, SessionNotFoundError
from .mailbox import ToolCallMessage
from .model_calls import Unreadable
from .models import RunStats, SessionRecord
from .session import Session
from .session_handle import CallAnswer

_log = logging.getLogger(__name__)


def command(kind: str, record: SessionRecord, **given: Any) -> bytes:
    """ArgumentsError for what JSON can't hold."""
    try:
        return to_json({"do": kind, "of": record.created_at, **given}, inf_nan_mode="constants")
    except ValueError as problem:
        raise ArgumentsError(f"this can't be handed on: {problem}") from None


def answer_of(body: bytes) -> Any:
    """The value of an answer; the error that it holds is raised."""
    answer = from_json(body)
    if "error" in answer:
        raise revived(answer["error"])
    return answer["ok"]


def begin(session: Session, body: bytes) -> Awaitable[bytes]:
    """Begin what a command asks for; awaited, the answer. An error is in it, never raised."""
    try:
        given = from_json(body)
        if given["of"] != session.info().created_at:
            raise SessionNotFoundError(f"there is no session {session.id!r} of that time any more")
        act = _ACTS[given["do"]](session, given)
    except BrokerError as error:
        return _refused(error)
    except Exception as problem:
        _log.exception("a command to session %s was not understood", session.id)
        return _refused(BrokerError(f"the command was not understood: {type(problem).__name__}"))
    return _answered(session, act)


async def _refused(error: BrokerError) -> bytes:
    return to_json({"error": error_form(error)})


async def _answered(session: Session, act: Awaitable[Any]) -> bytes:
    try:
        return to_json({"ok": await act}, inf_nan_mode="constants")
    except BrokerError as error:
        return await _refused(error)
    except Exception:
        _log.exception("a command to session %s failed", session.id)
        return await _refused(BrokerError("the command failed inside the broker that ran it"))


# The kinds. Each begins at once what it can, so that commands keep their order.


def _call(session: Session, given: Mapping[str, Any]) -> Coroutine[Any, Any, Any]:
    problem = given["problem"]
    args = given["args"] if problem is None else Unreadable(problem)
    # Nothing is checked here: what is wrong with the call is for the session to say.
    message = ToolCallMessage.model_construct(id=given["id"], name=given["name"], args=args)
    return _call_form(session.attempt(message))


async def _call_form(attempt: Coroutine[Any, Any, CallAnswer]) -> dict[str, Any]:
    answer = await attempt
    if answer.error is not None:
        return {"id": answer.id, "error": error_form(answer.error)}
    return {"id": answer.id, "data": answer.data}


def call_answer(form: Mapping[str, Any]) -> CallAnswer:
    """What ``call`` answers."""
    if "error" in form:
        error: Any = revived(form["error"])
        return CallAnswer(form["id"], None, error)
    return CallAnswer(form["id"], form["data"], None)


async def _run(session: Session, given: Mapping[str, Any]) -> dict[str, Any]:
    outcome = await (session.execute if given["last"] else session.run)(given["code"])
    error = outcome.error
    if error is not None and not isinstance(error, BrokerError):
        error = RunError("the code could not be run")
    return {
        "result": outcome.result,
        "error": None if error is None else error_form(error),
        "stats": asdict(outcome.stats),
        "runId": outcome.run_id,
    }


def run_outcome(form: Mapping[str, Any]) -> RunOutcome:
    """What ``run`` answers."""
    error = None if form["error"] is None else revived(form["error"])
    stats = RunStats(**form["stats"])
    return RunOutcome(error is None, form["result"], error, stats, form["runId"])


_ACTS: Mapping[str, Callable[[Session, Mapping[str, Any]], Coroutine[Any, Any, Any]]] = {
    "call": _call,
    "run": _run,
    "begin": lambda session, given: session.begin(given["code"], last=given["last"]),
    "answer": lambda session, given: session.answer(
        given["callId"], result=given["result"], error=given["error"]
    ),
    "deliver": lambda session, given: session.deliver(given["message"]),
    "cancel": lambda session, given: session.cancel(given["reason"]),
}
