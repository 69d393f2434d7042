"""The authenticator ``api_keys``: long random keys, of which only hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from secrets import token_urlsafe

from pydantic import AwareDatetime, Field, JsonValue, field_validator, model_validator

from enclave_broker_core.contracts import Credentials, OpenContext
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Frozen, Principal

from .bearer import bearer

PREFIX = "ebk_"
KEY_BYTES = 32
LONGEST = 256
HASH = re.compile(r"sha256:[0-9a-f]{64}")
HEADER = r"[a-z0-9-]{1,64}"


class ApiKey(Frozen):
    """One key, and whose it is. Two keys may have one ``id``."""

    hash: str
    """``sha256:`` and the hash of the key in hex."""
    id: str = Field(min_length=1, max_length=256)
    """Who shows it."""
    tenant: str | None = None
    """The caller's tenant."""
    roles: frozenset[str] = frozenset()
    """The caller's roles."""
    attributes: Mapping[str, JsonValue] = Field(default_factory=dict)
    """What access rules may ask for."""
    expires: AwareDatetime | None = None
    """From when on it is not taken; a time with its zone."""

    @field_validator("hash")
    @classmethod
    def _hash(cls, text: str) -> str:
        if text.strip().startswith(PREFIX):
            raise ValueError(
                "this is a key itself, and whoever reads the file could use it: take it out of"
                " service, make a new one with `enclave-broker key new`, and paste what that prints"
            )
        text = text.lower()
        if not HASH.fullmatch(text):
            raise ValueError("a hash is 'sha256:' and 64 hexadecimal digits")
        return text

    def principal(self) -> Principal:
        return Principal(
            id=self.id, tenant=self.tenant, roles=self.roles, attributes=self.attributes
        )


class ApiKeysConfig(Frozen):
    """API keys, of which only the hashes are written down."""

    keys: tuple[ApiKey, ...]
    """The keys that are taken."""
    header: str = Field(default="authorization", pattern=f"^{HEADER}$")
    """The header in which a client sends ``Bearer KEY``."""
    key_header: str = Field(default="x-api-key", pattern=f"^({HEADER})?$")
    """The header in which it may send the bare key instead; an empty one is none."""

    @model_validator(mode="after")
    def _distinct(self) -> ApiKeysConfig:
        if not self.keys:
            raise ValueError("without keys nobody could come in")
        first: dict[str, int] = {}
        for number, key in enumerate(self.keys):
            if key.hash in first:
                raise ValueError(f"keys[{number}] has the hash of keys[{first[key.hash]}]")
            first[key.hash] = number
        if self.header == self.key_header:
            raise ValueError("header and key_header are the same")
        return self


class ApiKeys:
    """Knows people by their keys. A key begins with ``ebk_``: what does not is of another kind.

    ``clock`` is in seconds since the epoch.
    """

    def __init__(self, config: ApiKeysConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._header = config.header
        self._key_header = config.key_header
        self._clock = clock
        self._keys = tuple(
            (
                bytes.fromhex(key.hash.removeprefix("sha256:")),
                key.principal(),
                float("inf") if key.expires is None else key.expires.timestamp(),
            )
            for key in config.keys
        )

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        shown = set(self._shown(credentials))
        if not shown:
            return None
        principal = self._owner(shown.pop())
        # Of two different keys nobody could say whose request it is.
        if principal is None or shown:
            raise AccessDeniedError("the API key is not valid")
        return principal

    def _shown(self, credentials: Credentials) -> Iterator[str]:
        keys = [bearer(credentials, self._header) or ""]
        if self._key_header:
            keys.append(credentials.headers.get(self._key_header, "").strip(" "))
        for key in keys:
            if key.startswith(PREFIX):
                yield key

    def _owner(self, key: str) -> Principal | None:
        """Every key is compared, so that the time it takes tells nothing of any of them."""
        if len(key) > LONGEST:
            return None
        digest = _digest(key)
        found: tuple[Principal, float] | None = None
        for known, principal, expires in self._keys:
            if hmac.compare_digest(digest, known):
                found = principal, expires
        if found is None or self._clock() >= found[1]:
            return None
        return found[0]


@asynccontextmanager
async def open_api_keys(config: ApiKeysConfig, context: OpenContext) -> AsyncIterator[ApiKeys]:
    yield ApiKeys(config)


def new_key() -> str:
    """A key that nobody can guess."""
    return PREFIX + token_urlsafe(KEY_BYTES)


def hash_of(key: str) -> str:
    """What a configuration holds of a key."""
    return f"sha256:{_digest(key).hex()}"


def _digest(key: str) -> bytes:
    # A key has so many bits that a slow hash would not make it any harder to find.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
