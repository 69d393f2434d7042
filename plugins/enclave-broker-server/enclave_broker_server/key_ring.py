"""Public keys: which signatures each may verify, and which one a token means."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from joserfc.errors import InvalidKeyTypeError, JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

_log = logging.getLogger(__name__)

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "Ed448"),
)
KINDS: Mapping[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
SIGNING_CURVES = frozenset({"Ed25519", "Ed448"})
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
MAX_KEYS = 100


class KeyUnusableError(ValueError):
    """A key can't verify signatures; the message says why, and nothing of the key."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key, its id if it has one, and the algorithms that fit its type and its purpose."""

    kid: str | None
    key: Key = field(repr=False)
    algorithms: frozenset[str]

    @classmethod
    def of_jwk(cls, jwk: Any) -> VerifyingKey:
        """KeyUnusableError for what is not a public key that can verify."""
        if not isinstance(jwk, dict):
            raise KeyUnusableError("it is not an object")
        kind = KINDS.get(str(jwk.get("kty")))
        if kind is None:
            raise KeyUnusableError("its kty is none of RSA, EC and OKP")
        if "d" in jwk:
            raise KeyUnusableError("it is a private key: only its public part belongs here")
        try:
            if kind is RSAKey:
                _require_strong(kind.binding.import_from_dict(jwk))
            return cls._of(kind.import_key(jwk))
        except KeyUnusableError:
            raise
        except Exception:  # whatever a library says to a key that somebody made up
            raise KeyUnusableError("its parts make no key") from None

    @classmethod
    def of_pem(cls, pem: bytes) -> VerifyingKey:
        """Of a public key or a certificate. KeyUnusableError for anything else."""
        if b"PRIVATE" in pem:
            raise KeyUnusableError("it is a private key: only its public part belongs here")
        for kind in KINDS.values():
            try:
                raw = kind.binding.import_from_bytes(pem)
                if kind is RSAKey:
                    _require_strong(raw)
                return cls._of(kind.import_key(raw))
            except InvalidKeyTypeError:
                continue
            except KeyUnusableError:
                raise
            except Exception:
                break
        raise KeyUnusableError("it is not a public key or a certificate in PEM form")

    @classmethod
    def _of(cls, key: Key) -> VerifyingKey:
        algorithms = frozenset(name for name in ALGORITHMS if _fits(key, name))
        if not algorithms:
            raise KeyUnusableError("it is not meant for signatures")
        return cls(key.kid, key, algorithms)


class KeyRing:
    """The keys of one issuer, as they are at a time."""

    def __init__(self, keys: Iterable[VerifyingKey]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def of_jwks(cls, document: Any) -> KeyRing:
        """Of what an issuer publishes: keys that can't be used are left out, as all of their
        kinds that may be invented have to be. KeyUnusableError when it is no set of keys."""
        keys: list[VerifyingKey] = []
        for number, jwk in enumerate(keys_in(document)):
            try:
                keys.append(VerifyingKey.of_jwk(jwk))
            except KeyUnusableError as problem:
                _log.debug("keys[%d] is left out: %s", number, problem)
        return cls(keys)

    def find(self, kid: str | None, algorithm: str, *, unnamed: bool = True) -> Sequence[Key]:
        """The keys that a token may mean: those of its ``kid``, all when it names none.

        ``unnamed`` says whether keys without an id may be meant when none has it.
        """
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        if kid is None:
            return [key.key for key in fitting]
        found = [key.key for key in fitting if key.kid == kid]
        if found or not unnamed:
            return found
        return [key.key for key in fitting if key.kid is None]


class Keys(Protocol):
    """Where an issuer's keys come from."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that a token may mean. A BrokerError when that can't be told now."""


class FixedKeys:
    """Keys that stay as they are."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        return self._ring.find(kid, algorithm)


def ring_of(document: Any) -> KeyRing:
    """The keys of a set that is in the configuration: each has to be usable. ValueError."""
    keys = []
    for number, jwk in enumerate(keys_in(document)):
        try:
            keys.append(VerifyingKey.of_jwk(jwk))
        except KeyUnusableError as problem:
            raise ValueError(f"keys[{number}]: {problem}") from None
    if not keys:
        raise ValueError("there are no keys in it")
    return KeyRing(keys)


def keys_in(document: Any) -> Sequence[Any]:
    """The members of a JWK set, whatever they are. KeyUnusableError when it is none."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise KeyUnusableError("it is not an object with a list of keys")
    if len(keys) > MAX_KEYS:
        raise KeyUnusableError(f"it has more than {MAX_KEYS} keys")
    return keys


def _fits(key: Key, algorithm: str) -> bool:
    try:
        # The type, the curve, and what the key says it is for.
        JWSRegistry.algorithms[algorithm].check_key(key)
        key.check_key_op("verify")
    except JoseError:
        return False
    return not isinstance(key, OKPKey) or key.curve_name in SIGNING_CURVES


def _require_strong(raw: Any) -> None:
    if not MIN_RSA_BITS <= raw.key_size <= MAX_RSA_BITS:
        raise KeyUnusableError(
            f"it has {raw.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken"
        )
