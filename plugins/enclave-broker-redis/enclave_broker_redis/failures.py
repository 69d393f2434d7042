"""What a server's errors mean: it did not run and may soon, it is elsewhere, or it failed."""

from __future__ import annotations

import re
from typing import Literal

from redis.exceptions import AskError, NoScriptError, RedisError

from enclave_broker_core.errors import StoreError

RETRY_AFTER = 1.0
_SHOWN = 300

Meaning = Literal["later", "primary", "script", "failed"]

# A command's own error stands at the beginning, or in that of the script, as 6.2 has it.
_CODE = re.compile(r"(?:^|-)(LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|READONLY)\b")


def meaning_of(problem: Exception) -> Meaning:
    """What an error that a server answered means for the command; none of them changed anything.

    ``later``: the server can't now. ``primary``: it is none any more. ``script``: it does not
    know the script.
    """
    if isinstance(problem, NoScriptError):
        return "script"
    found = _CODE.search(_text(problem))
    if found is None:
        return "failed"
    return "primary" if found[1] == "READONLY" else "later"


def refusal(where: str, problem: Exception) -> StoreError:
    """The error of a command that the server answered with an error."""
    if isinstance(problem, AskError):
        return StoreError(f"{where} is a node of a cluster: set cluster = true")
    return StoreError(f"{where} refused: {_text(problem)}", retry_after=RETRY_AFTER)


def unreachable(where: str, problem: BaseException) -> StoreError:
    return StoreError(f"{where} can't be reached: {reason(problem)}", retry_after=RETRY_AFTER)


def unanswered(where: str, problem: BaseException) -> StoreError:
    """The error of what was sent, and may have been done or not."""
    return StoreError(
        f"{where} was lost before it answered: {reason(problem)}", retry_after=RETRY_AFTER
    )


def reason(problem: BaseException) -> str:
    return _text(problem) or type(problem).__name__


def _text(problem: BaseException) -> str:
    text = str(problem)
    code = problem.status_code if isinstance(problem, RedisError) else None
    if code and not text.startswith(code):
        text = f"{code} {text}"
    return text[:_SHOWN]
