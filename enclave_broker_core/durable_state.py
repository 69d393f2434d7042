"""What is saved of a durable session's code, and of its calls' answers; sealed, as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from .error_form import error_form, revived
from .errors import BrokerError, SessionError
from .events import Draft
from .seals import BrokenSealError, Seal

VERSION = 1

Kind = Literal["begun", "waiting", "done"]


class StateRefusedError(Exception):
    """What was saved can't be gone on with; the text, for people, says why."""


@dataclass(frozen=True, slots=True)
class CodeState:
    """The code of a session at one moment.

    ``begun``: the run of ``code`` begins, in the state ``runtime_state``. ``waiting``: it
    waits, and ``runtime_state`` is its checkpoint. ``done``: it is over, ``event`` tells what
    came of it, and ``runtime_state`` is what later runs begin with.

    ``seq``: what came of the run before this moment is at or before it in the log, and what
    comes later is behind it. ``pending`` has the ids of the calls that are waited for, with
    the tool's name when the call had begun. ``attempts`` and ``stdout_bytes`` are the
    session's so far, ``seconds`` is how long the run took so far.
    """

    kind: Kind
    seq: int
    runs: int
    last: bool
    runtime: str | None
    attempts: int
    stdout_bytes: int
    seconds: float = 0.0
    pending: Mapping[str, str | None] = field(default_factory=dict)
    event: tuple[str, str] | None = None
    code: str = field(default="", repr=False)
    runtime_state: bytes | None = field(default=None, repr=False)

    @property
    def run_id(self) -> str:
        return f"run_{self.runs}"

    @property
    def draft(self) -> Draft | None:
        """The event that tells what came of the run."""
        return None if self.event is None else (self.event[0], self.event[1].encode())

    def to_bytes(self, seal: Seal, session_id: str) -> bytes:
        """Sealed for this session; the state of the runtime is behind the rest as it is."""
        named = asdict(self)
        blob = named.pop("runtime_state")
        head = to_json({"version": VERSION, "state": blob is not None} | named)
        body = len(head).to_bytes(4, "big") + head + (blob or b"")
        return seal.close(body, "state", session_id, str(self.seq)) + self.seq.to_bytes(8, "big")

    @classmethod
    def from_bytes(cls, data: bytes, seal: Seal, session_id: str) -> CodeState:
        """What ``to_bytes`` gave for the same session; StateRefusedError for anything else."""
        sealed, seq = data[:-8], int.from_bytes(data[-8:], "big")
        try:
            body = seal.open(sealed, "state", session_id, str(seq))
        except BrokenSealError:
            raise StateRefusedError(
                "the saved state was not written by a broker with this durable_key for this"
                " session, or was changed"
            ) from None
        end = 4 + int.from_bytes(body[:4], "big")
        head = from_json(body[4:end])
        if head.pop("version") != VERSION:
            raise StateRefusedError("the saved state was written by another version")
        blob = body[end:] if head.pop("state") else None
        try:
            return _STATES.validate_python(head | {"runtime_state": blob})
        except ValidationError:
            raise StateRefusedError("the saved state was written by another version") from None


_STATES = TypeAdapter(CodeState)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call, and when (seconds since the epoch): a result or an error.

    ``stopped``: the run itself, or its session, was ending and stopped the call.
    """

    at: float
    result: JsonValue = field(default=None, repr=False)
    error: Mapping[str, Any] | None = field(default=None, repr=False)
    stopped: Literal["run", "session"] | None = None

    @classmethod
    def of(
        cls, at: float, result: JsonValue, failure: BrokerError | None, *, cancelled: bool
    ) -> Answer:
        if cancelled:
            return cls(at, stopped="run")
        if failure is None:
            return cls(at, result)
        if isinstance(failure, SessionError):
            return cls(at, stopped="session")
        return cls(at, error=error_form(failure))

    def unwrap(self) -> JsonValue:
        """The result, or the error raised."""
        if self.error is not None:
            raise revived(self.error)
        return self.result

    def to_bytes(self, seal: Seal, session_id: str, call_id: str) -> bytes:
        return seal.close(to_json(asdict(self)), "answer", session_id, call_id)

    @classmethod
    def from_bytes(cls, data: bytes, seal: Seal, session_id: str, call_id: str) -> Answer:
        """What ``to_bytes`` gave for the same call; StateRefusedError for anything else."""
        try:
            return cls(**from_json(seal.open(data, "answer", session_id, call_id)))
        except BrokenSealError:
            raise StateRefusedError(
                f"the saved answer of the call {call_id} was not written by a broker with this"
                " durable_key for this call, or was changed"
            ) from None
