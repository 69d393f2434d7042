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
    come from. A claim's name is either the whole name of one, or a path with dots.
    """

    issuer: Name
    """What ``iss`` must be."""
    audience: Name | tuple[Name, ...]
    """What ``aud`` must have, or one of several."""
    algorithms: tuple[PublicAlgorithm | SharedAlgorithm, ...] | None = None
    """The algorithms that are taken; all that fit public keys, or HS256 for a secret."""
    jwks_url: str | None = None
    """Where the issuer's keys are fetched."""
    jwks: dict[str, JsonValue] | None = None
    """The keys themselves, as a JSON Web Key Set."""
    public_key_file: Name | None = None
    """A file with one public key in PEM form."""
    secret: SecretStr | None = None
    """A key that is shared with the issuer."""
    leeway: int = Field(default=30, ge=0, le=600)
    """Whole seconds by which clocks may differ."""
    id_claim: Name = "sub"
    """The claim with the caller's id."""
    id_prefix: str = ""
    """What is put before it: keeps the ids of several issuers apart."""
    tenant_claim: Name | None = None
    """The claim with the tenant; a token without it is refused."""
    roles_claim: Name | None = None
    """The claim with the roles."""
    attributes: tuple[Name, ...] = ()
    """Claims that become attributes; one that is missing is left out."""
    types: tuple[str, ...] = ("JWT", "at+jwt")
    """What ``typ`` may say: other tokens of an issuer are for other ends."""
    max_token_bytes: int = Field(default=16 * 1024, ge=1, le=LARGEST)
    """Bytes of a token."""

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
