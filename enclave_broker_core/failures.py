"""What a handler or a middleware raised, for the agent and for the log."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from .errors import BrokerError, ResultTooLargeError, ToolError
from .json_form import NotJsonError, TooLargeError, json_copy
from .redaction import Redactor

_log = logging.getLogger(__name__)

LONGEST_MESSAGE = 2000


class Failures:
    """Turns any exception into a ToolError; its traceback goes to the log, without secrets."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def of(self, name: str, problem: BaseException) -> ToolError:
        """The error that the agent sees: the exception's message, no traceback."""
        trace = "".join(traceback.format_exception(problem))
        _log.error("%s failed\n%s", name, self._redactor.text(trace).rstrip())
        return ToolError(self._redactor.text(message_of(problem))[:LONGEST_MESSAGE])


def blot(failure: BrokerError, redactor: Redactor) -> None:
    """Take secrets out of an error's message and its details; details that are no JSON go."""
    failure.message = redactor.text(failure.message)
    failure.args = (failure.message,)
    if failure.details:
        try:
            failure.details = tuple(redactor.value(list(failure.details)))
        except ValueError:
            failure.details = ()


def message_of(problem: BaseException) -> str:
    """What an exception says; its name when it says nothing."""
    try:
        said = str(problem)
    except Exception:
        said = ""
    return said or type(problem).__name__


def result_form(name: str, value: Any, max_bytes: int) -> Any:
    """A result in its JSON form. ResultTooLargeError, ToolError when it has none."""
    try:
        return json_copy(value, max_bytes)
    except TooLargeError as problem:
        raise ResultTooLargeError(f"the result of {name} is too large: {problem}") from None
    except NotJsonError as problem:
        raise ToolError(f"the result of {name} can't be passed on: {problem}") from None
