"""The token in an ``Authorization`` header."""

from __future__ import annotations

from enclave_broker_core.contracts import Credentials


def bearer(credentials: Credentials, header: str = "authorization") -> str | None:
    """The token after ``Bearer``, whatever the scheme's case; None for another scheme or none."""
    scheme, _, token = credentials.headers.get(header, "").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None
