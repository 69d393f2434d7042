"""What the tests of identity share: an issuer's keys, and tokens of any kind."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ISSUER = "https://id.example"
AUDIENCE = "broker"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
EC384 = ECKey.generate_key("P-384", {"kid": "ec384"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})


def jwks(*keys: Key) -> dict[str, Any]:
    """What an issuer publishes: the public parts."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, changed; None takes one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 3600}
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(
    key: Key = RSA, algorithm: str = "RS256", header: dict[str, Any] | None = None, **changes: Any
) -> str:
    """A token signed by ``key``: its header and claims are good ones, changed."""
    return signed(json.dumps(claims(**changes)).encode(), key, algorithm, header)


def signed(
    payload: bytes, key: Key = RSA, algorithm: str = "RS256", header: dict[str, Any] | None = None
) -> str:
    """Any bytes at all, properly signed."""
    whole = {"alg": algorithm, "kid": key.kid, "typ": "JWT"} | (header or {})
    whole = {name: value for name, value in whole.items() if value is not None}
    start = f"{encoded(json.dumps(whole).encode())}.{encoded(payload)}"
    model = jws.JWSRegistry.algorithms[algorithm]
    return f"{start}.{encoded(model.sign(start.encode(), key))}"


def by_hmac(header: dict[str, Any], payload: bytes, secret: bytes) -> str:
    """Signed by HS256 with any bytes, also those that no library would take for a secret."""
    start = f"{encoded(json.dumps(header).encode())}.{encoded(payload)}"
    return f"{start}.{encoded(hmac.new(secret, start.encode(), hashlib.sha256).digest())}"


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
