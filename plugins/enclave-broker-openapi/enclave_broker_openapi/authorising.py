"""Puts credentials into requests, and keeps the tokens that were fetched for them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import anyio
from enclave_broker_network.messages import OutboundRequest
from enclave_broker_network.outbound import Outbound

from enclave_broker_core.errors import SecretError, ToolError
from enclave_broker_core.json_form import NotJsonError, parse
from enclave_broker_core.redaction import Redactor

from .credentials import (
    ApiKey,
    Basic,
    Bearer,
    ClientCredentials,
    Secret,
    basic_header,
    revealed,
    values_of,
)
from .security import Use
from .styles import percent

# A token is not used in its last seconds: the request is still to arrive.
EARLY = 30.0
_LIFE = 300.0
_MOST_TOKENS = 256


@dataclass(slots=True)
class Shown:
    """What a request shows of its credentials. No repr has them."""

    headers: list[tuple[str, str]] = field(default_factory=list, repr=False)
    query: list[str] = field(default_factory=list, repr=False)
    cookies: list[str] = field(default_factory=list, repr=False)


@dataclass(slots=True)
class _Token:
    url: str
    text: str = field(default="", repr=False)
    until: float = 0.0
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class Authoriser:
    """Shows credentials. ``clock`` is monotonic, in seconds.

    ``redactor`` knows what was shown, fetched tokens too, of which the broker knows nothing.
    """

    def __init__(self, outbound: Outbound, clock: Callable[[], float] = time.monotonic) -> None:
        self._outbound = outbound
        self._clock = clock
        self._tokens: dict[str, _Token] = {}
        self.redactor = Redactor()

    async def show(self, uses: Sequence[Use], secret: Secret) -> Shown:
        """What the requests of an operation show. ToolError when there is no token to be had."""
        shown = Shown()
        for use in uses:
            credential = use.credential
            if isinstance(credential, Bearer):
                text = revealed(credential.token, secret)
                shown.headers.append(("Authorization", f"Bearer {text}"))
            elif isinstance(credential, Basic):
                username, text = (revealed(value, secret) for value in values_of(credential))
                shown.headers.append(("Authorization", basic_header(username, text)))
            elif isinstance(credential, ApiKey):
                text = revealed(credential.key, secret)
                self._show_key(shown, use, text)
            else:
                text = await self._token(use, credential, secret)
                shown.headers.append(("Authorization", f"Bearer {text}"))
            self.redactor.add(text, use.name)
        return shown

    def forget(self, uses: Sequence[Use]) -> bool:
        """Use no token any more that was fetched for these; whether there was one."""
        urls = {use.token_url for use in uses if isinstance(use.credential, ClientCredentials)}
        known = [
            token
            for token in self._tokens.values()
            if token.url in urls and token.until > self._clock()
        ]
        for token in known:
            token.until = 0.0
        return bool(known)

    def _show_key(self, shown: Shown, use: Use, key: str) -> None:
        if use.place == "query":
            shown.query.append(f"{percent(use.name, 'auth')}={percent(key, 'auth')}")
        elif use.place == "cookie":
            shown.cookies.append(f"{use.name}={key}")
        else:
            shown.headers.append((use.name, key))

    async def _token(self, use: Use, credential: ClientCredentials, secret: Secret) -> str:
        if use.token_url is None:
            raise SecretError("no token_url is known for the client credentials")
        client = revealed(credential.client_id, secret), revealed(credential.client_secret, secret)
        # By what it was fetched with: a secret that was changed fetches anew.
        key = hashlib.sha256(repr((use.token_url, client, use.scopes)).encode()).hexdigest()
        if key not in self._tokens and len(self._tokens) >= _MOST_TOKENS:
            self._tokens.clear()
        token = self._tokens.setdefault(key, _Token(use.token_url))
        async with token.lock:
            if token.until <= self._clock():
                token.text, seconds = await self._fetch(use, credential, client)
                token.until = self._clock() + max(1.0, seconds - EARLY)
            return token.text

    async def _fetch(
        self, use: Use, credential: ClientCredentials, client: tuple[str, str]
    ) -> tuple[str, float]:
        fields = {"grant_type": "client_credentials", **credential.parameters}
        if use.scopes:
            fields["scope"] = " ".join(use.scopes)
        headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
        ]
        if credential.client_auth == "basic":
            # RFC 6749 has both form-encoded first.
            username, password = (percent(part, "auth") for part in client)
            headers.append(("Authorization", basic_header(username, password)))
        else:
            fields |= {"client_id": client[0], "client_secret": client[1]}
        request = OutboundRequest(
            "POST", use.token_url or "", tuple(headers), urlencode(fields).encode()
        )
        answer = await self._outbound.send(request)
        if answer.status != 200:
            raise ToolError(f"no token: its server answered {answer.status}")
        try:
            said = parse(answer.body)
        except NotJsonError:
            said = None
        text = said.get("access_token") if isinstance(said, dict) else None
        if not isinstance(text, str) or not text:
            raise ToolError("no token: its server's answer has none")
        seconds = said.get("expires_in")
        try:
            return text, float(seconds) if seconds is not None else _LIFE
        except (TypeError, ValueError):
            return text, _LIFE
