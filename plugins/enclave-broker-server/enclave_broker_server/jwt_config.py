"""What the authenticator ``jwt`` is told of one issuer and its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, JsonValue, SecretStr, field_validator, model_validator

from .jwks_settings import JwksSettings, require_safe

PublicAlgorithm = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "ES256K",
    "EdDSA",
    "Ed25519",
    "Ed448",
]
SharedAlgorithm = Literal["HS256", "HS384", "HS512"]
Name = Annotated[str, Field(min_length=1)]

PUBLIC = frozenset(get_args(PublicAlgorithm)) - {"ES256K", "Ed448"}
# A secret has to be as long as the hash that it is used with, in bytes.
SHARED: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
# Of a token that is read at all.
LARGEST = 64 * 1024
SOURCES = ("jwks_url", "jwks", "public_key_file", "secret")


class JwtConfig(JwksSettings):
    """Whose tokens are taken, whose keys prove them, and which claims say who somebody is.

    Exactly one of ``jwks_url``, ``jwks``, ``public_key_file`` and ``secret`` says where keys
    come from. ``algorithms`` are by default all that fit public keys, or HS256 for a secret.
    ``leeway`` is in whole seconds, as the times in tokens are. A claim's name is either the
    whole name of one, or a path with dots; an ``attributes`` claim that is missing is left
    out, a missing ``tenant_claim`` refused. ``id_prefix`` keeps the ids of several issuers
    apart. ``types`` are what ``typ`` may say: other tokens of an issuer are for other ends.
    """

    issuer: Name
    audience: Name | tuple[Name, ...]
    algorithms: tuple[PublicAlgorithm | SharedAlgorithm, ...] | None = None
    jwks_url: str | None = None
    jwks: dict[str, JsonValue] | None = None
    public_key_file: Name | None = None
    secret: SecretStr | None = None
    leeway: int = Field(default=30, ge=0, le=600)
    id_claim: Name = "sub"
    id_prefix: str = ""
    tenant_claim: Name | None = None
    roles_claim: Name | None = None
    attributes: tuple[Name, ...] = ()
    types: tuple[str, ...] = ("JWT", "at+jwt")
    max_token_bytes: int = Field(default=16 * 1024, ge=1, le=LARGEST)

    @property
    def audiences(self) -> list[str]:
        return [self.audience] if isinstance(self.audience, str) else list(self.audience)

    @property
    def allowed(self) -> frozenset[str]:
        """The algorithms that a token may name."""
        if self.algorithms is not None:
            return frozenset(self.algorithms)
        return PUBLIC if self.secret is None else frozenset({"HS256"})

    @field_validator("audience", "algorithms")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        # Here and not as a bound of the list: that would be told too of one with a wrong item.
        if value == ():
            raise ValueError("the list is empty")
        return value

    @field_validator("jwks")
    @classmethod
    def _jwks(cls, document: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if document is not None:
            # Only who has keys here waits for what reads them.
            from .key_ring import ring_of

            ring_of(document)
        return document

    @model_validator(mode="after")
    def _one_source(self) -> JwtConfig:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(f"one of {', '.join(SOURCES)} says where keys come from, not {said}")
        if self.jwks_url is not None:
            try:
                require_safe(self.jwks_url, allow_http=self.allow_http)
            except ValueError as problem:
                raise ValueError(f"jwks_url: {problem}") from None
        return self

    @model_validator(mode="after")
    def _algorithms_fit(self) -> JwtConfig:
        shared = SHARED.keys() & self.allowed
        if self.secret is None:
            if shared:
                raise ValueError(f"{min(shared)} needs a secret, and no public keys")
            return self
        if others := self.allowed - shared:
            raise ValueError(f"{min(others)} needs public keys, and there is a secret")
        needed = max(SHARED[name] for name in shared)
        if len(self.secret.get_secret_value().encode()) < needed:
            raise ValueError(f"secret: {needed} bytes or more are needed, at random")
        return self
