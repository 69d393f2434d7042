"""The seats of all clients of one endpoint: who has how many, and how they are given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

from pydantic_core import to_json

from enclave_broker_core.models import Principal

from .bodies import RefusedError
from .seats import Seat
from .settings import HttpConfig

# How long, in seconds, a client that is turned away is told to wait.
RETRY_AFTER = "5"

Owner = tuple[str | None, str]


def owner_of(principal: Principal) -> Owner:
    """Whose a session is: tenant and id, whatever the roles are now."""
    return principal.tenant, principal.id


class _Key(NamedTuple):
    owner: Owner
    roles: frozenset[str]
    authenticated: bool
    attributes: bytes
    headers: frozenset[tuple[str, str]]


class Seating:
    """An MCP session has a seat of its own; a principal without sessions has one for all requests.

    The second kind is the same only for requests of the same roles and attributes that pass on
    the same headers, which are the session's. It is given up when its session has ended.
    """

    def __init__(self, config: HttpConfig) -> None:
        self._config = config
        self._of_sessions: dict[str, tuple[Principal, Seat]] = {}
        self._of_principals: dict[_Key, Seat] = {}
        self._taken: Counter[Owner] = Counter()
        self._opening: set[Seat] = set()
        self.draining = False

    def __iter__(self) -> Iterator[Seat]:
        seats = (seat for _, seat in self._of_sessions.values())
        return chain(seats, self._of_principals.values())

    def sessions(self) -> list[tuple[str, Principal, Seat]]:
        """The MCP sessions that have a seat, and who began them."""
        return [(session_id, *held) for session_id, held in self._of_sessions.items()]

    @contextmanager
    def opening(self, principal: Principal) -> Iterator[Seat]:
        """A seat for the session that a request in this block asks for. RefusedError 429, 503."""
        self._require_open()
        owner = owner_of(principal)
        self._take(owner)
        seat = Seat(self._config)
        self._opening.add(seat)
        try:
            yield seat
        finally:
            if seat in self._opening:  # no session came of it
                self._opening.remove(seat)
                self._leave(owner)

    @contextmanager
    def held(self, session_id: str, principal: Principal, seat: Seat) -> Iterator[None]:
        """In this block, a seat that was opened is that of an MCP session."""
        self._opening.discard(seat)
        self._of_sessions[session_id] = principal, seat
        try:
            yield
        finally:
            del self._of_sessions[session_id]
            self._leave(owner_of(principal))

    def _take(self, owner: Owner) -> None:
        most = self._config.max_sessions_per_principal
        if self._taken[owner] >= most:
            self._clear()
        if self._taken[owner] >= most:
            said = f"{most} MCP sessions of this caller are open"
            raise RefusedError(429, said, retry_after=RETRY_AFTER)
        self._taken[owner] += 1

    def _leave(self, owner: Owner) -> None:
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]

    def of_session(self, session_id: str) -> Seat | None:
        """The seat of an MCP session, whoever asks; None when there is none."""
        _, seat = self._of_sessions.get(session_id, (None, None))
        return seat

    def of_principal(self, principal: Principal, headers: Mapping[str, str]) -> Seat:
        """The seat for a request that has no session. RefusedError 429, 503."""
        key = _key(principal, headers)
        seat = self._of_principals.get(key)
        if seat is None:
            self._require_open()
            self._clear()
            if len(self._of_principals) >= self._config.max_sessions:
                raise RefusedError(503, "too many callers are here", retry_after=RETRY_AFTER)
            self._take(owner_of(principal))
            seat = self._of_principals[key] = Seat(self._config)
        return seat

    def _clear(self) -> None:
        unused = [key for key, seat in self._of_principals.items() if not seat.is_used]
        for key in unused:
            self._give_up(key)

    def _give_up(self, key: _Key) -> None:
        del self._of_principals[key]
        self._leave(key.owner)

    def _require_open(self) -> None:
        if self.draining:
            raise RefusedError(503, "the server is stopping", retry_after=RETRY_AFTER)

    async def give_up_principals(self) -> None:
        """Close the seats without sessions, each when no request is under way on it."""
        while self._of_principals:
            key, seat = next(iter(self._of_principals.items()))
            await seat.when_quiet()
            if key in self._of_principals:
                self._give_up(key)
            await seat.close()


def _key(principal: Principal, headers: Mapping[str, str]) -> _Key:
    return _Key(
        owner_of(principal),
        principal.roles,
        principal.authenticated,
        to_json(principal.attributes) if principal.attributes else b"",
        frozenset(headers.items()),
    )
