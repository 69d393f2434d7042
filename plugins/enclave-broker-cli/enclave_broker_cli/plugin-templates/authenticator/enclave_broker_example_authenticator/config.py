"""What a configuration may say of the authenticator."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Token(BaseModel, extra="forbid", frozen=True):
    """Whose a token is. ``sha256`` is the digest of the token, in hex: not the token itself."""

    sha256: Digest
    id: str = Field(min_length=1, max_length=256)
    tenant: str | None = None
    roles: frozenset[str] = frozenset()


class TokensConfig(BaseModel, extra="forbid", frozen=True, hide_input_in_errors=True):
    """``tokens`` are all that are known. They have to be random: long, and nobody's choice."""

    tokens: tuple[Token, ...] = ()
