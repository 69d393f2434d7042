"""Which signatures a key may verify."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_server.key_ring import KeyRing, KeyUnusableError, VerifyingKey
from hypothesis import given, settings
from hypothesis import strategies as st
from issuers import EC, EC384, ED, RSA, jwks
from joserfc.jwk import Key, RSAKey

RSAS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


@pytest.mark.parametrize(
    ("key", "extra", "algorithms"),
    [
        (RSA, {}, RSAS),
        (RSA, {"alg": "RS512"}, {"RS512"}),
        (RSA, {"use": "sig"}, RSAS),
        (RSA, {"key_ops": ["verify"]}, RSAS),
        (EC, {}, {"ES256"}),
        (EC384, {}, {"ES384"}),
        (ED, {}, {"EdDSA", "Ed25519"}),
        (ED, {"alg": "EdDSA"}, {"EdDSA"}),
    ],
)
def test_algorithms_fit_type_curve_and_purpose(
    key: Key, extra: dict[str, Any], algorithms: set[str]
) -> None:
    made = VerifyingKey.of_jwk(key.as_dict(private=False, **extra))
    assert made.kid == key.kid
    assert set(made.algorithms) == algorithms
    assert not made.key.is_private


@pytest.mark.parametrize("extra", [{"use": "enc"}, {"alg": "HS256"}, {"key_ops": ["sign"]}])
def test_a_key_for_something_else(extra: dict[str, Any]) -> None:
    with pytest.raises(KeyUnusableError, match="not meant for signatures"):
        VerifyingKey.of_jwk(RSA.as_dict(private=False, **extra))


def test_weak_keys_are_not_taken() -> None:
    raw = RSAKey.binding.generate_private_key(1024)
    weak = RSAKey(raw, raw)
    with pytest.raises(KeyUnusableError, match="1024 bits"):
        VerifyingKey.of_jwk(weak.as_dict(private=False))
    with pytest.raises(KeyUnusableError, match="1024 bits"):
        VerifyingKey.of_pem(weak.as_pem(private=False))


def test_no_repr_shows_a_key() -> None:
    made = VerifyingKey.of_jwk(RSA.as_dict(private=False))
    assert str(RSA.as_dict(private=False)["n"]) not in repr(made)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
GOOD = [key.as_dict(private=False) for key in (RSA, EC, ED)]
NAMES = st.sampled_from(["kty", "n", "e", "crv", "x", "y", "d", "use", "key_ops", "alg", "kid"])


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(GOOD), st.dictionaries(NAMES, JSON, max_size=3))
def test_no_key_that_somebody_made_up_breaks_it(jwk: Any, changes: dict[str, Any]) -> None:
    ring = KeyRing.of_jwks({"keys": [jwk | changes, *jwks(EC384)["keys"]]})
    [key] = ring.find("ec384", "ES384")
    assert key.kid == "ec384"
