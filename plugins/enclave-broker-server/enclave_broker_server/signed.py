"""Takes signed tokens apart (JWTs in the compact form of JWS), and checks their signatures."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry, deserialize_compact

from enclave_broker_core.json_form import NotJsonError, parse

from .jwt_config import LARGEST

COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")
# A key would come from the token itself, or a rule that nobody here knows.
REFUSED_HEADERS = frozenset({"crit", "jwk", "jku", "x5c", "x5u"})


class TokenError(ValueError):
    """A token is not valid; the message says why, and nothing of the token."""


@dataclass(frozen=True, slots=True, repr=False)
class Signed:
    """A token that was taken apart. What it says is not to be believed before ``verify``."""

    text: str
    header: Mapping[str, Any]
    unverified: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Signed | None:
        """The token; None for what is no JWT. TokenError for one of more than 64 KiB, or
        whose claims are not a JSON object."""
        parts = COMPACT.fullmatch(text)
        if parts is None:
            return None
        if len(text) > LARGEST:
            raise TokenError(f"larger than {LARGEST} bytes")
        header = _object(parts[1])
        if header is None:
            return None
        claims = _object(parts[2])
        if claims is None:
            raise TokenError("its claims are not a JSON object")
        return cls(text, header, claims)

    @property
    def algorithm(self) -> str | None:
        return _text(self.header.get("alg"))

    @property
    def kid(self) -> str | None:
        """The id of the key. TokenError when it is not a text."""
        kid = self.header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenError("kid is not a text")
        return kid

    def require_plain(self, types: frozenset[str]) -> None:
        """TokenError when the header wants more than a signature checked, or when the token
        is of a type that is not among ``types``, in lower case; one without a type passes."""
        if refused := REFUSED_HEADERS & self.header.keys():
            raise TokenError(f"its header has {min(refused)}")
        kind = self.header.get("typ")
        if kind is None:
            return
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
            raise TokenError("it is of another type")

    def verify(self, key: Key, algorithm: str) -> Mapping[str, Any]:
        """The claims, when this very key has signed them by this algorithm. TokenError."""
        try:
            deserialize_compact(self.text, key, registry=_Only(algorithm))
        except (JoseError, ValueError, TypeError) as problem:
            reason = problem.error if isinstance(problem, JoseError) else "malformed"
            raise TokenError(f"its signature: {reason}") from None
        return self.unverified


class _Only(JWSRegistry):
    """Allows one algorithm. Sizes are bounded before, for the whole token.

    Also without the library's warning that EdDSA has got a new name: tokens have the old one.
    """

    max_header_length = max_payload_length = max_signature_length = LARGEST

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)
        self._algorithm = algorithm

    def get_alg(self, name: str) -> JWSAlgModel:
        if name != self._algorithm or name == "none":
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


def _object(part: str) -> dict[str, Any] | None:
    try:
        value = parse(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (NotJsonError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
