"""What follows sessions, runs, calls and requests while they happen: the contract of a tracer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

from .calls import Outcome, RunOutcome, ToolCall
from .errors import BrokerError
from .models import Decision, SessionRecord, ToolSpec
from .redaction import Redactor
from .stats import BrokerStats

Headers = Sequence[tuple[str, str]]


def no_headers() -> Headers:
    """Those of a broker without a tracer."""
    return ()


class CallEnd(NamedTuple):
    """How a call ended. ``result`` is what the caller gets, ``error`` what is raised instead.

    ``code`` is the error's; ``decision`` is None when access was never asked.
    """

    outcome: Outcome
    code: str | None
    result: Any
    error: BrokerError | None
    decision: Decision | None


class RunTrace(Protocol):
    """A run that is followed."""

    def within(self) -> AbstractContextManager[None]:
        """What is done in this block, in whichever task, belongs to the run."""

    def end(self, outcome: RunOutcome | None) -> None:
        """The run is over; None when it was cancelled, or could not be had."""


class RequestTrace(Protocol):
    """A request to a server that is followed, in the task that answers it."""

    def end(self, route: str | None, status: int) -> None:
        """The answer has been sent. ``route`` is the path with its parameters' names.

        A ``status`` of 0: there was none.
        """


@runtime_checkable
class Tracer(Protocol):
    """An event sink that is told when something begins, too, and at once.

    It is called in the task that does the thing, so that it may set context variables; so no
    method may wait. What it raises is logged and changes nothing. It needs no ``observe``; what
    has one is told of observations as well. A broker has at most one tracer.
    """

    def attach(self, stats: Callable[[], BrokerStats]) -> None:
        """The broker uses it from now on; ``stats`` are what it counts."""

    def session_began(self, record: SessionRecord) -> None:
        """A session is this process's: it was created, taken up, or there before ``attach``."""

    def session_ended(self, record: SessionRecord, code: str | None) -> None:
        """It has ended, or another process has it; ``code`` is None when it completed."""

    def run(self, session_id: str, run_id: str) -> RunTrace:
        """A run begins."""

    def call(
        self, call: ToolCall, spec: ToolSpec | None, redactor: Redactor
    ) -> Callable[[CallEnd], None]:
        """A call begins, one that will be refused too; what is returned is told of its end.

        ``spec`` is None for a name that is not in the catalog, which the caller may have made
        up. Nothing of the call's name and arguments is to be shown but through ``redactor``;
        the result and the error are the caller's, with no secret in them.
        """

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> RequestTrace:
        """A server let a request in; names of headers are in lower case."""

    def headers(self) -> Headers:
        """What tells another service whose call the request is that is sent to it now."""

    def stored(self, operation: str, seconds: float) -> None:
        """The store has done something: "append" or "admit"."""
