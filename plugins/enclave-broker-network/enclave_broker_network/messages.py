"""A request as a plugin makes it, and the answer as it gets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "QUERY", "TRACE"})
IDEMPOTENT_METHODS = SAFE_METHODS | {"PUT", "DELETE"}

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One request. ``url`` is sent as it is: nothing of it is normalised or encoded.

    ``headers`` are those of the request itself; ``Host``, ``Content-Length`` and
    ``Accept-Encoding`` are added. ``idempotent`` says whether it may be sent again; None
    leaves that to the method.
    """

    method: str
    url: str = field(repr=False)
    headers: Pairs = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    idempotent: bool | None = None

    @property
    def may_repeat(self) -> bool:
        return self.method in IDEMPOTENT_METHODS if self.idempotent is None else self.idempotent


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """A whole answer: its body is decoded, and not longer than the rules allow.

    ``headers`` are in lower case and in their order; ``url`` is where it came from, behind
    all redirects.
    """

    status: int
    headers: Pairs = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)

    def header(self, name: str) -> str | None:
        """A header's value, several joined by a comma; None when it is not there."""
        name = name.lower()
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None

    @property
    def media_type(self) -> str:
        """``application/json`` and the like, in lower case; empty when nothing is said."""
        said = self.header("content-type") or ""
        return said.partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset that ``Content-Type`` names."""
        message = Message()
        message["content-type"] = self.header("content-type") or ""
        return message.get_content_charset()

    def text(self) -> str:
        """The body as text, by its charset or as UTF-8; what is no text is replaced."""
        try:
            return self.body.decode(self.charset or "utf-8", "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def retry_after(self) -> float | None:
        """The seconds that ``Retry-After`` asks for; None without it."""
        return seconds_until(self.header("retry-after"))


def seconds_until(said: str | None, now: datetime | None = None) -> float | None:
    """A ``Retry-After`` in seconds from now; None for none, and for what is none."""
    if said is None:
        return None
    said = said.strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        when = parsedate_to_datetime(said)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
