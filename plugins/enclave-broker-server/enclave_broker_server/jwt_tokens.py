"""The authenticator ``jwt``: tokens that an issuer has signed, such as an identity provider's."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from joserfc.errors import JoseError
from joserfc.jwk import Key, OctKey
from joserfc.jwt import JWTClaimsRegistry
from pydantic import SecretStr, ValidationError

from enclave_broker_core.contracts import Credentials, OpenContext
from enclave_broker_core.errors import AccessDeniedError, ConfigError
from enclave_broker_core.models import Principal

from .bearer import bearer
from .jwks import open_remote_keys
from .jwt_config import JwtConfig
from .key_ring import FixedKeys, KeyRing, Keys, KeyUnusableError, VerifyingKey, ring_of
from .signed import Signed, TokenError

_log = logging.getLogger(__name__)

LARGEST_KEY_FILE = 64 * 1024


class JwtTokens:
    """Knows people by the tokens of one issuer.

    What is no JWT is of another kind, and so is the token of another issuer: several of these
    may stand side by side. Who says falsely that a token is of this issuer is refused, for the
    signature does not agree. ``clock`` is in seconds since the epoch.
    """

    def __init__(
        self, config: JwtConfig, keys: Keys, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._keys = keys
        self._types = frozenset(kind.lower() for kind in config.types)
        self._claims = JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=config.leeway,
            iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "values": list(config.audiences)},
            exp={"essential": True},
        )

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """A token is of this kind when it is a JWT that names this issuer, or none that can
        be read. KeysUnavailableError when nobody can tell."""
        text = bearer(credentials)
        if text is None:
            return None
        try:
            token = Signed.read(text)
            if token is None or not self._is_ours(token):
                return None
            return self._principal(await self._verified(token))
        except TokenError as problem:
            _log.debug("a token for %s was refused: %s", self._config.issuer, problem)
            raise AccessDeniedError("the token is not valid") from None

    def _is_ours(self, token: Signed) -> bool:
        issuer = token.unverified.get("iss")
        if not isinstance(issuer, str):
            raise TokenError("it names no issuer")
        return issuer == self._config.issuer

    async def _verified(self, token: Signed) -> Mapping[str, Any]:
        if len(token.text) > self._config.max_token_bytes:
            raise TokenError(f"larger than {self._config.max_token_bytes} bytes")
        token.require_plain(self._types)
        algorithm = token.algorithm
        if algorithm is None or algorithm not in self._config.allowed:
            raise TokenError("its algorithm is not allowed")
        claims = token.verify(await self._key(token.kid, algorithm), algorithm)
        try:
            self._claims.validate(dict(claims))
        except JoseError as problem:
            raise TokenError(f"{problem.error} {getattr(problem, 'claim', '')}") from None
        return claims

    async def _key(self, kid: str | None, algorithm: str) -> Key:
        found = await self._keys.find(kid, algorithm)
        if len(found) != 1:
            raise TokenError(f"{len(found)} keys fit its algorithm and its kid")
        return found[0]

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        config = self._config
        name = claim(claims, config.id_claim)
        if not isinstance(name, str) or not name:
            raise TokenError(f"{config.id_claim} is not a text")
        tenant = None
        if config.tenant_claim is not None:
            tenant = claim(claims, config.tenant_claim)
            # Without its tenant somebody would escape what holds for the tenant.
            if not isinstance(tenant, str) or not tenant:
                raise TokenError(f"{config.tenant_claim} is not a text")
        found = {path: claim(claims, path) for path in config.attributes}
        try:
            return Principal(
                id=config.id_prefix + name,
                tenant=tenant,
                roles=_roles(claims, config.roles_claim),
                attributes={path: value for path, value in found.items() if value is not None},
            )
        except ValidationError:
            raise TokenError("its claims make no principal") from None


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this very name, else what the path with dots leads to; None without one.

    Names may have dots themselves: some are URLs.
    """
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _roles(claims: Mapping[str, Any], path: str | None) -> frozenset[str]:
    """A list of texts, or one text with spaces between them. Who has none has no role."""
    roles = None if path is None else claim(claims, path)
    if roles is None:
        return frozenset()
    if isinstance(roles, str):
        roles = roles.split()
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise TokenError(f"{path} is not a list of texts")
    return frozenset(roles)


@asynccontextmanager
async def open_jwt(config: JwtConfig, context: OpenContext) -> AsyncIterator[JwtTokens]:
    """The authenticator, with its keys. ConfigError when their file holds none."""
    if config.jwks_url is not None:
        async with open_remote_keys(config.jwks_url, config) as keys:
            yield JwtTokens(config, keys)
    elif config.jwks is not None:
        yield JwtTokens(config, FixedKeys(ring_of(config.jwks)))
    elif config.public_key_file is not None:
        path = Path(context.base_dir, config.public_key_file)
        yield JwtTokens(config, FixedKeys(KeyRing([await _from_file(path)])))
    elif config.secret is not None:
        yield JwtTokens(config, FixedKeys(KeyRing([_from_secret(config.secret, config.allowed)])))


async def _from_file(path: Path) -> VerifyingKey:
    try:
        async with await anyio.open_file(path, "rb") as file:
            pem = await file.read(LARGEST_KEY_FILE)
        return VerifyingKey.of_pem(pem)
    except (OSError, KeyUnusableError) as problem:
        said = problem.strerror if isinstance(problem, OSError) else problem
        raise ConfigError(f"public_key_file {path}: {said}") from None


def _from_secret(secret: SecretStr, algorithms: frozenset[str]) -> VerifyingKey:
    try:
        key = OctKey.import_key(secret.get_secret_value().encode())
    except ValueError:
        raise ConfigError("secret: this is a public key, and anybody could sign with it") from None
    return VerifyingKey(None, key, algorithms)
