"""Follows a session's events: in order, each once and none left out, however often the
connection breaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from enclave_broker_core.errors import BrokerError, SessionNotFoundError
from enclave_broker_core.events import Event

from .answers import whole
from .errors import ConnectionLostError, MissingEventsError, ProtocolError
from .lines import LineReader, event_of
from .outcomes import Outcome, final_error
from .refusals import Refusal, refusal
from .retrying import Retrying
from .settings import ClientSettings
from .steps import NDJSON, Close, Head, Open, Read, Steps, get

# Refusals of a stream that may be let in a moment later: its place may not be free yet.
PASSING = frozenset({429, 502, 503, 504})
# What something in between answers when it does not know what became of a request.
UNKNOWN = frozenset({502, 504})
LONGEST_SEQ = 18


class Following:
    """The events of one session from ``from_seq`` on, up to the final one.

    ``opening`` is the request that makes the session and streams what comes of it; it is sent
    again when nobody knows whether the server has had it, as that knows the session by its id.
    When it is not ``repeatable`` it begins a run in a session, and is sent once. ``outcome``
    says after which event nothing more is wanted. A ``filter`` leaves gaps, and without one a
    gap is an error.
    """

    def __init__(
        self,
        session_id: str,
        settings: ClientSettings,
        *,
        from_seq: int = 1,
        filter: Mapping[str, Any] | None = None,
        opening: Open | None = None,
        repeatable: bool = True,
        outcome: Outcome | None = None,
    ) -> None:
        self.session_id = session_id
        self.place = max(1, from_seq) - 1
        self.ended = False
        self._settings = settings
        self._filter = filter
        self._opening = opening
        self._repeatable = repeatable
        self.outcome = outcome
        # A run begins wherever the session is by then.
        self._placed = repeatable
        self._unsure = False
        self._looking = False
        self._connected = False
        self._to_the_end = False
        self._lines = LineReader(settings.max_line_bytes)
        self._retrying = Retrying(settings)

    def begin(self) -> Steps[None]:
        """Connect. Raises what the server refuses the session or its stream for."""
        while not self._connected:
            posting = self._opening is not None and not self._looking
            try:
                head = yield self._request()
                refused = yield from self._refused(head)
            except ConnectionLostError as lost:
                yield Close()
                self._not_answered(posting, lost)
                yield from self._retrying.after(lost)
                continue
            if refused is not None:
                yield from self._after(posting, refused)
                continue
            if not self._placed:
                self._place(head.headers)
            self._connected = True
            self._to_the_end = posting
            self._opening = None

    def next(self) -> Steps[Event | None]:
        """The next event; None after the last one."""
        while not self.ended:
            yield from self.begin()
            line = self._lines.next()
            if line is None:
                yield from self._more()
            elif self._is_new(event := event_of(line, self.session_id)):
                return event
        if self._connected and self._to_the_end:
            # The answer ends here: read to its end, its connection can be used again.
            yield from self._last_read()
        yield Close()
        self._connected = False
        return None

    def _place(self, headers: Mapping[str, str]) -> None:
        """Take from an answer where its run begins, and which one it is."""
        first = headers.get("x-first-seq", "")
        if first.isdecimal() and 0 < len(first) <= LONGEST_SEQ:
            self.place = max(1, int(first)) - 1
            self._placed = True
        if self.outcome is not None:
            self.outcome.run_id = headers.get("x-run-id")

    def _request(self) -> Open:
        if self._opening is not None and not self._looking:
            return self._opening
        query = {"from": str(self.place + 1)}
        if self._filter is not None:
            query["filter"] = json.dumps(self._filter)
        path = f"/sessions/{self.session_id}/stream"
        return get(path, self._settings.heartbeat_timeout, accept=NDJSON, query=query)

    def _not_answered(self, posting: bool, lost: ConnectionLostError) -> None:
        if not posting or not lost.sent:
            return
        if not self._repeatable:
            raise lost
        self._unsure = self._looking = True

    def _after(self, posting: bool, refused: Refusal) -> Steps[None]:
        """Decide what to do about a refusal; most are raised."""
        status = refused.status
        if self._opening is not None and not posting and status == 404:
            # The server never got the request, so it can be repeated.
            self._looking = False
            return
        if posting and self._repeatable and status in UNKNOWN:
            self._unsure = self._looking = True
        elif posting and self._unsure and status == 409:
            self._looking = True  # it had got it after all
        elif posting or status not in PASSING:
            raise refused.error
        yield from self._retrying.after(refused.error)

    def _refused(self, head: Head) -> Steps[Refusal | None]:
        most = self._settings.max_answer_bytes
        if head.status != 200:
            body = yield from whole(most)
            return refusal(head.status, head.headers, body, SessionNotFoundError)
        if head.media_type != NDJSON:
            yield Close()
            raise ProtocolError(f"the server's stream is {head.media_type[:100]!r}, not {NDJSON}")
        if "x-refused" not in head.headers:
            return None
        event = event_of((yield from whole(most)).rstrip(b"\n"), self.session_id)
        status = head.headers["x-refused"]
        if event.type != "final" or event.payload["ok"] or not _is_status(status):
            raise ProtocolError("the server's refusal does not say why")
        return Refusal(int(status), self._why(event, int(status), head))

    def _why(self, event: Event, status: int, head: Head) -> BrokerError:
        error = final_error(event.payload, status)
        after = head.headers.get("retry-after", "")
        if error.retry_after is None and after.isdecimal() and len(after) < 10:
            error.retry_after = float(after)
        return error

    def _more(self) -> Steps[None]:
        """Read on, or get ready to connect again."""
        lost = ConnectionLostError("the stream ended before its final event")
        try:
            chunk = yield Read()
        except ConnectionLostError as problem:
            chunk, lost = b"", problem
        if chunk:
            self._lines.feed(chunk)
            return
        yield Close()
        self._connected = False
        if not self._placed:
            raise lost
        # What there is of a line comes again, with all that is behind the last event.
        self._lines.clear()
        yield from self._retrying.after(lost)

    def _last_read(self) -> Steps[None]:
        try:
            yield Read()
        except ConnectionLostError:
            return

    def _is_new(self, event: Event) -> bool:
        if event.type == "heartbeat":
            # Of this connection and not of the log: it has no place of its own.
            self._retrying.reset()
            return False
        if event.seq <= self.place:
            return False
        in_order = self._placed and self._filter is None
        if in_order and event.seq > self.place + 1 and not _announced(event):
            raise MissingEventsError(self.place + 1, event.seq - 1)
        self._placed = True
        self._retrying.reset()
        self.place = event.seq
        last = self.outcome is not None and self.outcome.see(event)
        self.ended = last or event.type == "final"
        return True


def _announced(event: Event) -> bool:
    """Whether it says itself that those before it are no longer kept."""
    return event.type == "error" and event.payload.get("code") == "EVENTS_DROPPED"


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isdecimal()
