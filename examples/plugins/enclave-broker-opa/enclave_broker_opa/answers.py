"""What the service says, as a Decision: only ``true`` is a yes, and nothing that is nearly one."""

from __future__ import annotations

from enclave_broker_core.models import Decision, Verdict
from pydantic import BaseModel, Field, ValidationError

ANSWERED = "opa"
UNDEFINED = "opa undefined"
FAILED = "opa failed"


class _Opinion(BaseModel, extra="forbid", strict=True):
    allow: bool = False
    ask: bool = False
    rule: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=2000)


class _Answer(BaseModel, strict=True):
    # OPA may put decision_id, metrics, provenance or warning beside it.
    result: bool | _Opinion | None = None


class BadAnswerError(Exception):
    """It is no answer; the message says why, and holds nothing of it."""


def decision(status: int, body: bytes) -> Decision:
    """What an answer means. Raises BadAnswerError for what is no decision at all."""
    if status != 200:
        raise BadAnswerError(f"the service answered {status}")
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError:
        raise BadAnswerError(
            "the service's answer is neither a bool nor an object of allow, ask, rule and reason"
        ) from None
    if "result" not in answer.model_fields_set:
        return Decision(Verdict.DENY, UNDEFINED, "the rule is undefined for this input, or unknown")
    if answer.result is None:
        raise BadAnswerError("the service's answer is null")
    if isinstance(answer.result, bool):
        return Decision(Verdict.ALLOW if answer.result else Verdict.DENY, ANSWERED)
    return _of(answer.result)


def _of(said: _Opinion) -> Decision:
    rule = f"{ANSWERED} {_line(said.rule)}" if said.rule else ANSWERED
    # Who may once somebody has agreed may not before that, also where both are said.
    if said.ask:
        return Decision(Verdict.ASK, rule, _line(said.reason))
    return Decision(Verdict.ALLOW if said.allow else Verdict.DENY, rule, _line(said.reason))


def _line(text: str) -> str:
    """One line for a terminal or a log, whatever a rule took over from the arguments."""
    return "".join(char if char.isprintable() else " " for char in text)
