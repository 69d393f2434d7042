"""What may stand in the table of a ``jwt`` authenticator."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_server.jwt_config import JwtConfig
from issuers import EC, RSA, jwks
from joserfc.jwk import OctKey, OKPKey
from pydantic import ValidationError

BASE = {"issuer": "https://id.example", "audience": "broker"}
URL = "https://id.example/keys"
SECRET = "s" * 64
PUBLIC = jwks(RSA)


@pytest.mark.parametrize(
    "others",
    [
        {"jwks_url": URL},
        {"jwks_url": "http://127.0.0.1:8080/keys"},
        {"jwks_url": "http://[::1]/keys"},
        {"jwks_url": "http://localhost/keys"},
        {"jwks_url": "http://id.internal/keys", "allow_http": True},
        {"jwks": PUBLIC},
        {"public_key_file": "key.pem"},
        {"secret": SECRET},
        {"secret": SECRET, "algorithms": ["HS512", "HS256"]},
        {"jwks": PUBLIC, "audience": ["a", "b"]},
    ],
)
def test_this_may_be(others: dict[str, Any]) -> None:
    JwtConfig.model_validate(BASE | others)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({}, "not none"),
        ({"jwks": PUBLIC, "secret": SECRET}, "not jwks and secret"),
        ({"jwks": PUBLIC, "jwks_url": URL}, "not jwks_url and jwks"),
        ({"jwks": PUBLIC, "algorithms": ["RS256", "HS256"]}, "HS256 needs a secret"),
        ({"jwks": PUBLIC, "algorithms": []}, "list is empty"),
        ({"jwks": PUBLIC, "algorithms": ["none"]}, "Input should be"),
        ({"jwks": PUBLIC, "algorithms": ["NONE"]}, "Input should be"),
        ({"secret": SECRET, "algorithms": ["HS256", "RS256"]}, "RS256 needs public keys"),
        ({"secret": "s" * 31}, "32 bytes"),
        ({"secret": "s" * 63, "algorithms": ["HS512"]}, "64 bytes"),
        ({"jwks_url": "http://id.example/keys"}, "use https"),
        ({"jwks_url": "http://localhost.evil.example/"}, "use https"),
        ({"jwks_url": "http://127.0.0.1.evil.example/"}, "use https"),
        ({"jwks_url": "file:///etc/keys"}, "not an https URL"),
        ({"jwks_url": "https:///keys"}, "not an https URL"),
        ({"jwks_url": "keys.json"}, "not an https URL"),
        ({"jwks_url": "https://ada:pass@id.example/keys"}, "no user"),
        ({"jwks": {}}, "list of keys"),
        ({"jwks": {"keys": []}}, "no keys"),
        ({"jwks": {"keys": ["x"]}}, "keys[0]: it is not an object"),
        ({"jwks": {"keys": [*PUBLIC["keys"], {"kty": "RSA"}]}}, "keys[1]: its parts"),
        ({"jwks": {"keys": [RSA.as_dict(private=True)]}}, "private key"),
        ({"jwks": {"keys": [EC.as_dict(private=True)]}}, "private key"),
        ({"jwks": {"keys": [OctKey.generate_key(256).as_dict()]}}, "none of RSA, EC and OKP"),
        ({"jwks": jwks(OKPKey.generate_key("X25519"))}, "not meant for signatures"),
        ({"jwks": PUBLIC, "issuer": ""}, "at least 1 character"),
        ({"jwks": PUBLIC, "audience": []}, "list is empty"),
        ({"jwks": PUBLIC, "leeway": 601}, "less than or equal to 600"),
        ({"jwks": PUBLIC, "leeway": -1}, "greater than or equal to 0"),
        ({"jwks": PUBLIC, "max_token_bytes": 10_000_000}, "less than or equal to 65536"),
        ({"jwks": PUBLIC, "max_token_byte": 1}, "Extra inputs"),
    ],
)
def test_this_may_not(others: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        JwtConfig.model_validate(BASE | others)
    messages = [item["msg"] for item in caught.value.errors()]
    assert any(said in message for message in messages), messages
    private = RSA.as_dict(private=True)["d"]
    assert not any(SECRET in message or str(private) in message for message in messages)


@pytest.mark.parametrize("missing", ["issuer", "audience"])
def test_issuer_and_audience_are_needed(missing: str) -> None:
    kept = {name: value for name, value in BASE.items() if name != missing}
    with pytest.raises(ValidationError, match=missing):
        JwtConfig.model_validate(kept | {"jwks": PUBLIC})


def test_no_repr_shows_the_secret() -> None:
    assert SECRET not in repr(JwtConfig.model_validate(BASE | {"secret": SECRET}))


def test_public_keys_never_allow_a_shared_algorithm() -> None:
    allowed = JwtConfig.model_validate(BASE | {"jwks": PUBLIC}).allowed
    assert {"RS256", "ES256", "EdDSA"} <= allowed
    assert not {"none", "HS256", "HS384", "HS512"} & allowed
    assert JwtConfig.model_validate(BASE | {"secret": SECRET}).allowed == {"HS256"}
