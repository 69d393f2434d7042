"""What differs from one kind of database to the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    from .statements import Statement


class WrongStatement(Exception):
    """The database does not take a statement; the message says why."""


@dataclass(frozen=True)
class Failure:
    """Why a statement failed: ``said`` to the agent, ``reason`` for whoever operates it.

    ``again`` is whether the same may go well later.
    """

    said: str
    reason: str
    again: bool = False
    late: bool = False


class Database(Protocol):
    """One database. All but ``interrupt`` happens in the worker thread of a connection."""

    @property
    def engine(self) -> Engine: ...
    @property
    def types(self) -> Mapping[str, TypeEngine[Any]]:
        """The type that a parameter's value is sent as; what is not there needs none."""

    def value(self, given: Any) -> Any:
        """A checked argument as the driver takes it."""

    def begin(self, connection: Connection, *, read_only: bool, seconds: float) -> None:
        """Begin a transaction, which can't write when it is ``read_only``."""

    def check(self, connection: Connection, statement: Statement) -> None:
        """Have it parsed, and not run. WrongStatement for what it does not take."""

    def interrupt(self, raw: Any) -> None:
        """End what runs on a driver's connection, from another thread."""

    def waits(self, problem: Exception) -> bool:
        """Whether a lock was not free, and it is worth another try at once."""

    def failure(self, problem: Exception) -> Failure:
        """What is to be told of a driver's error."""


BROKEN_RULES: Mapping[str, str] = {
    "unique": "something with this key is there already",
    "foreign": "it refers to what is not there, or something else refers to it",
    "missing": "a value is missing that has to be there",
    "check": "a value is not one of those that are allowed",
}
UNREACHABLE = "the database can't be reached now; try again later"
CONTENDED = "others are changing the same; nothing was changed, try again"
UNFIT = "a value does not fit: it is too large, too long or of another form"
FAILED = "the query failed; whoever operates this tool finds the reason in the log"
