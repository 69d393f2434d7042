"""Tokens of an issuer: whom they make, and which are of another kind."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from enclave_broker_server.jwt_config import JwtConfig
from enclave_broker_server.jwt_tokens import JwtTokens, claim, open_jwt
from enclave_broker_server.key_ring import FixedKeys, ring_of
from issuers import AUDIENCE, EC, EC384, ED, ISSUER, RSA, STRANGER, by_hmac, claims, jwks, token
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from pydantic_core import to_json

from enclave_broker_core.contracts import Authenticator, Credentials, OpenContext
from enclave_broker_core.errors import AccessDeniedError, ConfigError
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.authenticators import AuthenticatorSuite

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Identity does not need the server, which runs on asyncio only."""
    return str(request.param)


SECRET = "a secret of more than 32 bytes, for tests"
CONTEXT = OpenContext("jwt")


def config(*keys: Key, **others: Any) -> JwtConfig:
    """For the tokens of ``issuers``, by these keys, or RSA."""
    sources = {"jwks_url", "public_key_file", "secret"} & others.keys()
    given = {} if sources else {"jwks": jwks(*(keys or (RSA,)))}
    return JwtConfig.model_validate({"issuer": ISSUER, "audience": AUDIENCE, **given, **others})


def shown(text: str) -> Credentials:
    return Credentials({"authorization": f"Bearer {text}"})


class JwtSuite(AuthenticatorSuite):
    """The suite, on tokens that one key signs."""

    config: ClassVar[JwtConfig]
    foreign = (
        Credentials({}),
        shown("ebk_" + "a" * 43),
        shown("e30.e30"),
        shown("e30.e30.e30.e30.e30"),
        shown("not-base64!.e30.e30"),
        shown("bm90IGpzb24.e30.e30"),
        shown(token(iss="https://other.example")),
        Credentials({"authorization": f"Basic {token()}"}),
        Credentials({"x-api-key": token()}),
    )

    @asynccontextmanager
    async def open_authenticator(self) -> AsyncIterator[Authenticator]:
        async with open_jwt(self.config, CONTEXT) as tokens:
            yield tokens


class TestRsa(JwtSuite):
    config = config(RSA, roles_claim="roles", tenant_claim="org", attributes=["team"])
    good = shown(token(org="acme", roles=["admin"], team="tools"))
    principal = Principal(
        id="ada", tenant="acme", roles=frozenset({"admin"}), attributes={"team": "tools"}
    )
    wrong = shown(token(STRANGER, org="acme"))


class TestEdwards(JwtSuite):
    config = config(RSA, ED)
    good = shown(token(ED, "EdDSA"))
    principal = Principal(id="ada")
    wrong = shown(token(ED, "EdDSA", aud="somebody-else"))


class TestSecret(JwtSuite):
    config = config(secret=SECRET)
    good = shown(by_hmac({"alg": "HS256"}, to_json(claims()), SECRET.encode()))
    principal = Principal(id="ada")
    wrong = shown(by_hmac({"alg": "HS256"}, to_json(claims()), b"another secret of that length..."))
    secrets = (SECRET,)


async def found(settings: JwtConfig, text: str) -> Principal | None:
    async with open_jwt(settings, CONTEXT) as tokens:
        return await tokens.authenticate(shown(text))


async def is_refused(settings: JwtConfig, text: str) -> bool:
    with pytest.raises(AccessDeniedError, match=r"^the token is not valid$"):
        await found(settings, text)
    return True


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        *((RSA, name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (EC, "ES256"),
        (EC384, "ES384"),
        (ECKey.generate_key("P-521", {"kid": "ec521"}), "ES512"),
        (ED, "EdDSA"),
        (ED, "Ed25519"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_all_usual_algorithms(key: Key, algorithm: str) -> None:
    everything = (
        config(RSA, EC, EC384, ED, key) if key.kid == "ec521" else config(RSA, EC, EC384, ED)
    )
    assert await found(everything, token(key, algorithm)) == Principal(id="ada")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ECKey.generate_key("secp256k1", {"kid": "k1"}), "ES256K"),
        (OKPKey.generate_key("Ed448", {"kid": "448"}), "Ed448"),
    ],
)
async def test_others_when_they_are_allowed(key: Key, algorithm: str) -> None:
    assert await is_refused(config(key), token(key, algorithm))
    allowed = config(key, algorithms=[algorithm])
    assert await found(allowed, token(key, algorithm)) == Principal(id="ada")


async def test_only_the_algorithms_that_are_allowed() -> None:
    narrow = config(algorithms=["RS512"])
    assert await found(narrow, token(algorithm="RS512")) == Principal(id="ada")
    assert await is_refused(narrow, token())


async def test_a_token_without_kid_means_the_one_key_that_fits() -> None:
    nameless = {"kid": None}
    assert await found(config(RSA, EC), token(header=nameless)) == Principal(id="ada")
    two = config(RSA, EC, ED)
    assert await found(two, token(EC, "ES256", nameless)) == Principal(id="ada")
    other = STRANGER.as_dict(private=False, kid="second")
    ambiguous = config(jwks={"keys": [*jwks(RSA)["keys"], other]})
    assert await is_refused(ambiguous, token(header=nameless))
    assert await found(ambiguous, token()) == Principal(id="ada")


@pytest.mark.parametrize("kid", ["RSA", "rsa ", "", "../rsa", "/dev/null", "rsa\0", "' or 1=1 --"])
async def test_a_kid_is_compared_and_nothing_else(kid: str) -> None:
    assert await is_refused(config(RSA), token(header={"kid": kid}))


# Public keys from a file


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
async def test_a_key_in_a_file_takes_any_kid(
    key: RSAKey | ECKey | OKPKey, algorithm: str, tmp_path: Path
) -> None:
    (tmp_path / "key.pem").write_bytes(key.as_pem(private=False))
    settings = config(public_key_file="key.pem")
    async with open_jwt(settings, OpenContext("jwt", str(tmp_path))) as tokens:
        assert await tokens.authenticate(shown(token(key, algorithm))) == Principal(id="ada")
        text = token(key, algorithm, {"kid": None})
        assert await tokens.authenticate(shown(text)) == Principal(id="ada")
        with pytest.raises(AccessDeniedError):
            await tokens.authenticate(shown(token(STRANGER)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (RSA.as_pem(private=True), "private key"),
        (b"", "not a public key"),
        (b"\0" * 100_000, "not a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n", "not a public key"),
        (None, "No such file"),
    ],
)
async def test_a_file_without_a_key(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        async with open_jwt(config(public_key_file=str(tmp_path / "key.pem")), CONTEXT):
            pytest.fail("it opened")
    assert caught.value.__cause__ is None


async def test_a_public_key_is_no_secret() -> None:
    with pytest.raises(ConfigError, match="anybody could sign"):
        async with open_jwt(config(secret=RSA.as_pem(private=False).decode()), CONTEXT):
            pytest.fail("it opened")


# Several issuers


async def test_several_issuers_stand_side_by_side() -> None:
    mine = config(RSA)
    other = config(EC, issuer="https://other.example", id_prefix="other:")
    text = token(EC, "ES256", iss="https://other.example")
    assert await found(mine, text) is None
    assert await found(other, text) == Principal(id="other:ada")
    assert await found(other, token()) is None
    # Who only says that it is the other one's gets no further.
    assert await is_refused(other, token(RSA, iss="https://other.example"))


async def test_an_issuer_is_compared_as_it_is() -> None:
    for issuer in (f"{ISSUER}/", ISSUER.upper(), f"{ISSUER}\0", f" {ISSUER}"):
        assert await found(config(), token(iss=issuer)) is None


# Claims

MAPPED = [
    ({"id_claim": "email"}, {"email": "ada@acme"}, Principal(id="ada@acme")),
    ({"id_claim": "user.name"}, {"user": {"name": "ada l"}}, Principal(id="ada l")),
    ({"id_prefix": "x:"}, {}, Principal(id="x:ada")),
    ({}, {"sub": "ädä ☃ 𝒳"}, Principal(id="ädä ☃ 𝒳")),
    ({}, {"roles": ["admin"], "tenant": "x"}, Principal(id="ada")),
    ({"tenant_claim": "org.id"}, {"org": {"id": "acme"}}, Principal(id="ada", tenant="acme")),
    ({"roles_claim": "realm_access.roles"}, {"realm_access": {"roles": ["a", "b"]}}, {"a", "b"}),
    ({"roles_claim": "scope"}, {"scope": "a  b"}, {"a", "b"}),
    ({"roles_claim": "scope"}, {"scope": ""}, set()),
    ({"roles_claim": "scope"}, {}, set()),
    ({"roles_claim": "https://a.b/roles"}, {"https://a.b/roles": ["a"]}, {"a"}),
    (
        {"attributes": ["team", "org.name", "absent"]},
        {"team": {"n": 1}, "org": {"name": "x"}, "other": 1},
        Principal(id="ada", attributes={"team": {"n": 1}, "org.name": "x"}),
    ),
]


@pytest.mark.parametrize(("options", "extra", "wanted"), MAPPED)
async def test_claims_become_the_principal(
    options: dict[str, Any], extra: dict[str, Any], wanted: Principal | set[str]
) -> None:
    if isinstance(wanted, set):
        wanted = Principal(id="ada", roles=frozenset(wanted))
    assert await found(config(**options), token(**extra)) == wanted


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ({}, {"sub": None}),
        ({}, {"sub": ""}),
        ({}, {"sub": 5}),
        ({}, {"sub": "a" * 257}),
        ({"id_prefix": "p" * 250}, {"sub": "a" * 7}),
        ({"id_claim": "email"}, {}),
        ({"id_claim": "user.name"}, {"user": ["name"]}),
        ({"tenant_claim": "org"}, {}),
        ({"tenant_claim": "org"}, {"org": ""}),
        ({"tenant_claim": "org"}, {"org": 7}),
        ({"roles_claim": "roles"}, {"roles": {"admin": True}}),
        ({"roles_claim": "roles"}, {"roles": ["a", 1]}),
        ({"roles_claim": "roles"}, {"roles": True}),
    ],
)
async def test_claims_that_make_nobody(options: dict[str, Any], extra: dict[str, Any]) -> None:
    assert await is_refused(config(**options), token(**extra))


def test_a_name_is_a_claim_s_own_before_it_is_a_path() -> None:
    assert claim({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert claim({"a": {"b": 2}}, "a.b") == 2
    assert claim({"a": "b"}, "a.b") is None


# Times and audiences

NOW = 2_000_000_000
TIMES = [
    ({"exp": NOW - 29}, True),
    ({"exp": NOW - 30}, False),
    ({"exp": NOW + 1.5}, True),
    ({"nbf": NOW + 30}, True),
    ({"nbf": NOW + 31}, False),
    ({"iat": NOW + 30}, True),
    ({"iat": NOW + 31}, False),
    ({"iat": None}, True),
    ({"exp": str(NOW + 100)}, False),
    ({"exp": True}, False),
    ({"nbf": "0"}, False),
    ({"iat": [1]}, False),
]


@pytest.mark.parametrize(("times", "good"), TIMES)
async def test_times(times: dict[str, Any], good: bool) -> None:
    tokens = JwtTokens(config(), FixedKeys(ring_of(jwks(RSA))), clock=lambda: NOW + 0.9)
    text = token(**({"iat": NOW, "exp": NOW + 60} | times))
    if good:
        assert await tokens.authenticate(shown(text)) == Principal(id="ada")
    else:
        with pytest.raises(AccessDeniedError):
            await tokens.authenticate(shown(text))


async def test_without_leeway_times_are_exact() -> None:
    assert await is_refused(config(leeway=0), token(exp=int(time.time())))


@pytest.mark.parametrize(
    ("audience", "in_token", "good"),
    [
        ("broker", ["x", "broker"], True),
        (["a", "broker"], "broker", True),
        (["a", "broker"], ["broker", "z"], True),
        ("broker", "brokers", False),
        ("broker", ["brokers"], False),
        ("broker", [], False),
        ("broker", "", False),
        ("broker", None, False),
        ("broker", {"broker": 1}, False),
        ("broker", ["broker", 5], False),
    ],
)
async def test_audiences(audience: Any, in_token: Any, good: bool) -> None:
    if good:
        assert await found(config(audience=audience), token(aud=in_token)) == Principal(id="ada")
    else:
        assert await is_refused(config(audience=audience), token(aud=in_token))
