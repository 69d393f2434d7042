"""Who makes a request: asked of the authenticators, or of the ticket that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

from starlette.types import Scope

from enclave_broker_core.broker import Broker
from enclave_broker_core.contracts import Authenticator, Credentials
from enclave_broker_core.errors import AccessDeniedError, BrokerError, SessionNotFoundError
from enclave_broker_core.models import Principal
from enclave_broker_core.session_handle import SessionHandle

from .answers import HttpError

CHALLENGE = ((b"www-authenticate", b"Bearer"),)
# What may be sent once only: of two, another server might take the other one.
SINGLE = frozenset({"authorization", "x-api-key"})


class Redeem(Protocol):
    """Takes a ticket for a session, once; whose it was. AccessDeniedError otherwise."""

    async def __call__(self, token: str, session_id: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request. ``ticket_for`` is the one session that a ticket opened to it."""

    name: str
    principal: Principal | None
    ticket_for: str | None = None

    async def session(self, broker: Broker, session_id: str) -> SessionHandle:
        """The session, when this caller may touch it. SessionNotFoundError."""
        if self.principal is not None:
            return await broker.get_session(session_id, principal=self.principal)
        if self.ticket_for != session_id:
            raise SessionNotFoundError(f"there is no session {session_id[:80]!r}")
        return await broker.get_session(session_id)


class Identity:
    """Finds out who calls. Without authenticators everybody is the one anonymous principal."""

    def __init__(self, authenticators: Sequence[Authenticator], redeem: Redeem) -> None:
        self._authenticators = tuple(authenticators)
        self._redeem = redeem
        self._nobody = Principal.anonymous()

    async def caller(self, scope: Scope) -> Caller:
        """HttpError 401 for who is not known, 503 when that can't be found out."""
        principal = self._nobody if not self._authenticators else await self._principal(scope)
        if principal is None:
            raise HttpError(401, "say who you are: no credentials are known", headers=CHALLENGE)
        return Caller(principal.id, principal)

    async def by_ticket(self, scope: Scope, session_id: str) -> Caller | None:
        """Who shows a ticket for this session; None without one. HttpError 401."""
        query = scope.get("query_string", b"")
        if b"ticket=" not in query:
            return None
        tickets = parse_qs(query.decode("latin-1"), max_num_fields=20).get("ticket", [])
        try:
            if len(tickets) == 1:
                name = await self._redeem(tickets[0], session_id)
                return Caller(name, None, session_id)
        except AccessDeniedError:
            pass
        raise HttpError(401, "the ticket is not valid (any more)", headers=CHALLENGE)

    async def _principal(self, scope: Scope) -> Principal | None:
        client = scope.get("client")
        credentials = Credentials(_headers(scope), client[0] if client else None)
        for authenticator in self._authenticators:
            try:
                principal = await authenticator.authenticate(credentials)
            except AccessDeniedError:
                raise HttpError(401, "the credentials are not valid", headers=CHALLENGE) from None
            except BrokerError as failed:
                raise HttpError(
                    503, "who you are can't be found out now", retry_after=failed.retry_after
                ) from None
            if principal is None:
                continue
            if type(principal) is not Principal:
                raise HttpError(401, "the credentials are not valid", headers=CHALLENGE)
            return principal
        return None


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in scope["headers"]:
        name = key.decode("latin-1")
        if name in SINGLE and name in found:
            raise HttpError(400, f"{name} is sent more than once")
        found[name] = value.decode("latin-1")
    return found
