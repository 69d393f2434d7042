"""Tokens that somebody has made up, or has changed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from enclave_broker_server.jwt_config import LARGEST, JwtConfig
from enclave_broker_server.jwt_tokens import JwtTokens
from enclave_broker_server.key_ring import FixedKeys, ring_of
from hypothesis import given, settings
from hypothesis import strategies as st
from issuers import (
    AUDIENCE,
    EC,
    EC384,
    ED,
    ISSUER,
    RSA,
    STRANGER,
    by_hmac,
    claims,
    encoded,
    jwks,
    signed,
    token,
)

from enclave_broker_core.contracts import Credentials
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Principal

pytestmark = pytest.mark.anyio
some = settings(deadline=None, max_examples=60)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Identity does not need the server, which runs on asyncio only."""
    return str(request.param)


KEYS = jwks(RSA, EC, EC384, ED)
GOOD = token()
START, MIDDLE, END = GOOD.split(".")
PAYLOAD = json.dumps(claims()).encode()
PEM = RSA.as_pem(private=False)
STRANGER_JWK = STRANGER.as_dict(private=False)
WRONG_CURVE = token(EC384, "ES384").rpartition(".")[2]


def authenticator() -> JwtTokens:
    config = JwtConfig(issuer=ISSUER, audience=AUDIENCE, jwks=KEYS)
    return JwtTokens(config, FixedKeys(ring_of(KEYS)))


async def ask(text: str) -> Principal | None:
    return await authenticator().authenticate(Credentials({"authorization": f"Bearer {text}"}))


def unsigned(header: Any, payload: bytes = PAYLOAD, signature: str = "") -> str:
    return f"{encoded(json.dumps(header).encode())}.{encoded(payload)}.{signature}"


def with_header(**header: Any) -> str:
    return token(header=header)


async def test_the_good_one_is_taken() -> None:
    """So that the others are not refused for what all of them have."""
    for text in (GOOD, token(EC, "ES256"), token(ED, "EdDSA"), signed(PAYLOAD)):
        assert await ask(text) == Principal(id="ada")


ODD_ALGORITHMS: list[Any] = [None, 5, ["none"], {}, True]

HOSTILE = {
    **{f"alg {alg}": unsigned({"alg": alg}) for alg in ("none", "None", "NONE", "nOnE", "")},
    **{f"alg {alg!r}": unsigned({"alg": alg}) for alg in ODD_ALGORITHMS},
    "no alg": unsigned({"typ": "JWT", "kid": "rsa"}),
    "alg none with the signature": unsigned({"alg": "none", "kid": "rsa"}, signature=END),
    "alg with a space": unsigned({"alg": "RS256 ", "kid": "rsa"}, signature=END),
    "alg in lower case": unsigned({"alg": "rs256", "kid": "rsa"}, signature=END),
    "alg of encryption": unsigned({"alg": "RSA-OAEP", "enc": "A256GCM"}, signature=END),
    "HS256 by the public PEM": by_hmac({"alg": "HS256", "kid": "rsa"}, PAYLOAD, PEM),
    "HS256 by the stripped PEM": by_hmac({"alg": "HS256"}, PAYLOAD, PEM.strip()),
    "HS256 by the public JWK": by_hmac({"alg": "HS256"}, PAYLOAD, json.dumps(KEYS).encode()),
    "HS256 by nothing": by_hmac({"alg": "HS256"}, PAYLOAD, b""),
    "RS256 by a stranger": token(STRANGER),
    "RS256 header on HS256": by_hmac({"alg": "RS256", "kid": "rsa"}, PAYLOAD, PEM),
    "PS256 header on RS256": unsigned({"alg": "PS256", "kid": "rsa"}, signature=END),
    "EC key for RS256": token(header={"kid": "ec"}),
    "RSA key for ES256": token(EC, "ES256", header={"kid": "rsa"}),
    "ES256 by another curve": token(EC384, "ES384", header={"alg": "ES256", "kid": "ec"}),
    "ES384 by P-256": token(EC, "ES256", header={"alg": "ES384"}),
    "ES256 with a longer signature": unsigned({"alg": "ES256", "kid": "ec"}, PAYLOAD, WRONG_CURVE),
    "ES256 of zeros": unsigned({"alg": "ES256", "kid": "ec"}, signature=encoded(b"\0" * 64)),
    "ES256K with P-256": unsigned({"alg": "ES256K", "kid": "ec"}, signature=encoded(b"\1" * 64)),
    "EdDSA by an EC key": token(EC, "ES256", header={"alg": "EdDSA"}),
    "unknown kid": with_header(kid="nobody"),
    "kid a path": with_header(kid="../../../../dev/null"),
    "kid a URL": with_header(kid="https://evil.example/keys"),
    "kid a number": with_header(kid=5),
    "kid a list": with_header(kid=["rsa"]),
    "an embedded key": token(STRANGER, header={"jwk": STRANGER_JWK}),
    "an embedded key without kid": token(STRANGER, header={"kid": None, "jwk": STRANGER_JWK}),
    "an embedded good key": with_header(jwk=RSA.as_dict(private=False)),
    "a URL of keys": token(STRANGER, header={"jku": "https://evil.example/keys"}),
    "a URL of certificates": token(STRANGER, header={"x5u": "https://evil.example/c"}),
    "certificates": token(STRANGER, header={"x5c": ["MIIB"]}),
    "a good one with a URL of keys": with_header(jku=f"{ISSUER}/keys"),
    "a good one with a URL of certificates": with_header(x5u=f"{ISSUER}/c"),
    "a good one with certificates": with_header(x5c=["MIIB"]),
    "crit of exp": with_header(crit=["exp"], exp=1),
    "crit of the unknown": with_header(crit=["x-new"], **{"x-new": 1}),
    "crit twice": with_header(crit=["b64", "b64"], b64=True),
    "crit empty": with_header(crit=[]),
    "crit not a list": with_header(crit="exp"),
    "crit null": unsigned({"alg": "RS256", "kid": "rsa", "crit": None}, signature=END),
    "b64 false": unsigned({"alg": "RS256", "b64": False, "crit": ["b64"]}, signature=END),
    "a logout token": with_header(typ="logout+jwt"),
    "typ a number": with_header(typ=1),
    "truncated signature": GOOD[:-1],
    "half a signature": f"{START}.{MIDDLE}.{END[: len(END) // 2]}",
    "no signature": f"{START}.{MIDDLE}.",
    "signature and more": f"{GOOD}AAAA",
    "padded in another way": f"{GOOD[:-1]}{chr(ord(GOOD[-1]) + 1)}",
    "another payload": f"{START}.{encoded(json.dumps(claims(sub='eve')).encode())}.{END}",
    "another header": unsigned({"alg": "RS256"}, signature=END),
    "wrong audience": token(aud="another"),
    "no audience": token(aud=None),
    "no issuer": token(iss=None),
    "issuer a list": token(iss=[ISSUER]),
    "issuer null": signed(b'{"iss": null}'),
    "expired": token(exp=int(time.time()) - 31),
    "expired long ago": token(exp=0),
    "expires before time began": token(exp=-1),
    "no exp": token(exp=None),
    "exp null": signed(json.dumps(claims() | {"exp": None}).encode()),
    "exp a text": token(exp="9999999999"),
    "exp infinite": signed(PAYLOAD.replace(b'"exp": ', b'"exp": 1e999, "x": ')),
    "exp NaN": signed(PAYLOAD.replace(b'"exp": ', b'"exp": NaN, "x": ')),
    "not yet valid": token(nbf=int(time.time()) + 3000),
    "issued in the future": token(iat=int(time.time()) + 3000),
    "payload no JSON": signed(b"not json"),
    "payload a list": signed(b"[]"),
    "payload a text": signed(b'"ada"'),
    "payload not UTF-8": signed(b'{"sub": "\xff\xfe"}'),
    "payload nested deeply": signed(b'{"sub":' + b"[" * 6000 + b"]" * 6000 + b"}"),
    "payload nested in objects": signed(b'{"a":' * 3000 + b"1" + b"}" * 3000),
    "payload with half a character": signed(PAYLOAD.replace(b'"ada"', b'"\\ud800"')),
    "a long number": signed(PAYLOAD.replace(b'"sub"', b'"x": ' + b"9" * 5000 + b', "sub"')),
    "larger than is allowed": token(more="x" * 16 * 1024),
    "larger than any": token(more="x" * LARGEST),
    "larger than any, of another issuer": token(iss="https://x.example", more="x" * LARGEST),
    "sub with a zero length": token(sub=""),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_tokens_are_refused(text: str) -> None:
    with pytest.raises(AccessDeniedError) as caught:
        await ask(text)
    assert caught.value.message == "the token is not valid"
    assert caught.value.__cause__ is None


FOREIGN = {
    "empty": "",
    "dots": "..",
    "five parts": f"{GOOD}.{MIDDLE}.{END}",
    "header no JSON": f"{encoded(b'nothing')}.{MIDDLE}.{END}",
    "header a list": f"{encoded(b'[]')}.{MIDDLE}.{END}",
    "header nested deeply": f"{encoded(b'[' * 20_000)}.{MIDDLE}.{END}",
    "header not UTF-8": f"{encoded(bytes([255, 254]))}.{MIDDLE}.{END}",
    "no payload": f"{START}..{END}",
    "with padding": f"{START}==.{MIDDLE}.{END}",
    "standard base64": f"{START}.+/+/.{END}",
    "a line break": f"{START}.{MIDDLE}.{END}\n",
    "spaces": f"{START} .{MIDDLE}.{END}",
    "letters of other scripts": f"{START}.{MIDDLE}.ＡＢＣＤ",
    "half a character": "\ud800.\ud800.\ud800",
    "a million dots": "." * 1_000_000,
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_no_token_is_of_another_kind(text: str) -> None:
    assert await ask(text) is None


async def test_a_token_with_a_name_in_any_script_is_taken() -> None:
    for name in ("Адa", "مرحبا", "名前", "👩‍👩‍👧", "a\u202eb"):
        assert await ask(token(sub=name)) == Principal(id=name)


async def nobody(text: str) -> bool:
    try:
        return await ask(text) is None
    except AccessDeniedError as problem:
        return problem.message == "the token is not valid"


MUTATED = [GOOD, token(EC, "ES256"), token(ED, "EdDSA")]


@some
@given(
    st.sampled_from(MUTATED),
    st.integers(0),
    st.text(alphabet="AQgwB-_.=ÿ\0 9", max_size=3),
    st.integers(0, 3),
)
async def test_no_mutated_token_is_taken(text: str, at: int, put: str, taken: int) -> None:
    at %= len(text)
    mutated = text[:at] + put + text[at + taken :]
    if mutated.strip(" ") != text:
        assert await nobody(mutated)


@some
@given(st.sampled_from(MUTATED), st.sampled_from(MUTATED), st.permutations([0, 1, 2]))
async def test_no_parts_of_two_tokens_make_a_third(one: str, two: str, order: list[int]) -> None:
    parts, others = one.split("."), two.split(".")
    mixed = ".".join([parts[order[0]], parts[order[1]], others[order[2]]])
    if mixed not in (one, two):
        assert await nobody(mixed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "cty", "zip"])


@some
@given(st.dictionaries(HEADER_NAMES, JSON, max_size=3), st.binary(max_size=70))
async def test_no_made_up_header_is_taken(header: dict[str, Any], signature: bytes) -> None:
    assert await nobody(
        unsigned({"alg": "ES256", "kid": "ec"} | header, PAYLOAD, encoded(signature))
    )


CLAIM_NAMES = st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "jti", "validate", "a"])


@some
@given(st.dictionaries(CLAIM_NAMES, JSON, max_size=4))
async def test_odd_claims_of_the_issuer_itself_are_judged(changes: dict[str, Any]) -> None:
    """Whatever it signs, the answer is one of the three that there are."""
    try:
        payload = json.dumps(claims() | changes).encode()
    except ValueError:
        return
    try:
        found = await ask(signed(payload))
    except AccessDeniedError:
        return
    if found is None:
        assert changes["iss"] != ISSUER
    else:
        assert found == Principal(id=changes.get("sub", "ada"))
        assert (
            not {"exp", "aud", "iss"} & changes.keys() or changes.get("exp", 1) > time.time() - 31
        )
