"""Tickets of one use, for those who can't send headers: EventSource and WebSocket in browsers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from secrets import token_bytes, token_urlsafe
from typing import NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jwt import JWTClaimsRegistry

from enclave_broker_core.errors import AccessDeniedError

from .signed import Signed, TokenError

ALGORITHM = "HS256"
TYPE = "ticket+jwt"
LIFETIME = 30
KEY_BYTES = 32
NONCE_BYTES = 16
LARGEST_TICKET = 4096

FirstUse = Callable[[str, str], Awaitable[bool]]


class Ticket(NamedTuple):
    """``expires_at`` is in seconds since the epoch."""

    token: str
    expires_at: float


class Tickets:
    """Issues tickets and takes each of them once.

    ``key`` has 32 bytes or more; several servers that take each other's tickets need the same,
    None is a random one. ``first_use(session_id, nonce)`` says, for ``LIFETIME`` seconds at
    least, True the first time only. ``clock`` is in seconds since the epoch.
    """

    def __init__(
        self,
        key: bytes | None,
        first_use: FirstUse,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if key is not None and len(key) < KEY_BYTES:
            raise ValueError(f"the key for tickets has to have {KEY_BYTES} bytes or more")
        self._key = OctKey.import_key(token_bytes(KEY_BYTES) if key is None else key)
        self._first_use = first_use
        self._clock = clock

    def issue(self, session_id: str, subject: str) -> Ticket:
        """A ticket to one session, for whoever ``subject`` names."""
        expires_at = int(self._clock()) + LIFETIME
        claims = {
            "sub": subject,
            "sid": session_id,
            "exp": expires_at,
            "jti": token_urlsafe(NONCE_BYTES),
        }
        header = {"alg": ALGORITHM, "typ": TYPE}
        return Ticket(jwt.encode(header, claims, self._key), float(expires_at))

    async def redeem(self, token: str, session_id: str) -> str:
        """Whose ticket to this session it is. AccessDeniedError, which does not say why, when
        it is none, too old, used, or to another session."""
        try:
            subject, nonce = self._read(token, session_id)
        except (TokenError, JoseError):
            raise AccessDeniedError("the ticket is not valid") from None
        if await self._first_use(session_id, nonce) is not True:
            raise AccessDeniedError("the ticket is not valid")
        return subject

    def _read(self, token: str, session_id: str) -> tuple[str, str]:
        signed = Signed.read(token) if len(token) <= LARGEST_TICKET else None
        if signed is None:
            raise TokenError("it is no ticket")
        signed.require_plain(frozenset({TYPE}))
        claims = dict(signed.verify(self._key, ALGORITHM))
        registry = JWTClaimsRegistry(
            now=lambda: int(self._clock()),
            exp={"essential": True},
            sid={"essential": True, "value": session_id},
            sub={"essential": True},
            jti={"essential": True},
        )
        registry.validate(claims)
        return claims["sub"], claims["jti"]
