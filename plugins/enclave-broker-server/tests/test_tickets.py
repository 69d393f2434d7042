"""Tickets: one use, one session, half a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint
from enclave_broker_server.tickets import LIFETIME, Tickets
from hypothesis import given, settings
from hypothesis import strategies as st
from issuers import RSA, by_hmac, encoded, signed

from enclave_broker_core.errors import AccessDeniedError, SessionNotFoundError

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Identity does not need the server, which runs on asyncio only."""
    return str(request.param)


SESSION, OTHER = "s_one", "s_two"
KEY = b"k" * 32
HEADER = {"alg": "HS256", "typ": "ticket+jwt"}


class Uses:
    """Remembers what was used, as a store does: between asking and knowing others run."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def first(self, session_id: str, nonce: str) -> bool:
        await checkpoint()
        new = (session_id, nonce) not in self.seen
        self.seen.append((session_id, nonce))
        await checkpoint()
        return new


def tickets(clock: Callable[[], float] = time.time, key: bytes | None = KEY) -> Tickets:
    return Tickets(key, Uses().first, clock=clock)


async def refusal(made: Tickets, token: str, session_id: str = SESSION) -> str:
    with pytest.raises(AccessDeniedError) as caught:
        await made.redeem(token, session_id)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.message


async def test_a_ticket_is_for_one_use() -> None:
    made = tickets()
    token, expires_at = made.issue(SESSION, "ada")
    assert expires_at == pytest.approx(time.time() + LIFETIME, abs=5)
    assert await made.redeem(token, SESSION) == "ada"
    assert await refusal(made, token) == await refusal(made, token)


async def test_a_refusal_does_not_say_why() -> None:
    now = 1_000_000.0
    made = tickets(clock=lambda: now)
    used, late, elsewhere = (made.issue(SESSION, "ada").token for _ in range(3))
    await made.redeem(used, SESSION)
    said = {
        await refusal(made, used),
        await refusal(made, elsewhere, OTHER),
        await refusal(made, "no ticket at all"),
        await refusal(made, tickets(key=None).issue(SESSION, "ada").token),
    }
    now += LIFETIME
    said.add(await refusal(made, late))
    assert said == {"the ticket is not valid"}


async def test_a_ticket_lives_for_half_a_minute() -> None:
    now = 1_000_000.0
    made = tickets(clock=lambda: now)
    token, expires_at = made.issue(SESSION, "ada")
    assert expires_at == now + 30
    now = expires_at - 1
    assert await made.redeem(token, SESSION) == "ada"


async def test_who_tries_it_at_another_session_does_not_use_it_up() -> None:
    made = tickets()
    token = made.issue(SESSION, "ada").token
    await refusal(made, token, OTHER)
    assert await made.redeem(token, SESSION) == "ada"


async def test_of_fifty_at_once_one_gets_in() -> None:
    made = tickets()
    token = made.issue(SESSION, "ada").token
    answers: list[str | None] = []

    async def redeem() -> None:
        try:
            answers.append(await made.redeem(token, SESSION))
        except AccessDeniedError:
            answers.append(None)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(redeem)
    assert sorted(answers, key=str) == [None] * 49 + ["ada"]


async def test_servers_with_one_key_take_each_other_s() -> None:
    token = tickets().issue(SESSION, "ada").token
    assert await tickets().redeem(token, SESSION) == "ada"
    mine = tickets(key=None)
    assert await mine.redeem(mine.issue(SESSION, "ada").token, SESSION) == "ada"


async def test_what_does_not_say_true_is_no_first_use() -> None:
    async def forgotten(session_id: str, nonce: str) -> bool:
        return "a coroutine would be truthy too"  # type: ignore[return-value]

    made = Tickets(KEY, forgotten)
    await refusal(made, made.issue(SESSION, "ada").token)


async def test_an_error_of_the_store_is_no_refusal() -> None:
    async def lost(session_id: str, nonce: str) -> bool:
        raise SessionNotFoundError("there is no such session")

    made = Tickets(KEY, lost)
    with pytest.raises(SessionNotFoundError):
        await made.redeem(made.issue(SESSION, "ada").token, SESSION)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        tickets(key=b"k" * 31)


def test_no_repr_shows_the_key() -> None:
    assert "kkkk" not in repr(vars(tickets()))


def ticket_claims(**changes: object) -> bytes:
    good = {"sub": "ada", "sid": SESSION, "exp": int(time.time()) + 20, "jti": "n"}
    kept = {name: value for name, value in (good | changes).items() if value is not None}
    return json.dumps(kept).encode()


async def test_the_forger_would_do_with_the_key() -> None:
    """So that the next test does not pass for another reason."""
    assert await tickets().redeem(by_hmac(HEADER, ticket_claims(), KEY), SESSION) == "ada"


FORGED = {
    "empty": "",
    "dots": "..",
    "no JSON": "a.b.c",
    "by another key": by_hmac(HEADER, ticket_claims(), b"x" * 32),
    "HS512": by_hmac(HEADER | {"alg": "HS512"}, ticket_claims(), KEY),
    "an ordinary token": by_hmac(HEADER | {"typ": "JWT"}, ticket_claims(), KEY),
    "crit": by_hmac(HEADER | {"crit": ["exp"]}, ticket_claims(), KEY),
    "no exp": by_hmac(HEADER, ticket_claims(exp=None), KEY),
    "no jti": by_hmac(HEADER, ticket_claims(jti=None), KEY),
    "no session": by_hmac(HEADER, ticket_claims(sid=None), KEY),
    "subject a number": by_hmac(HEADER, ticket_claims(sub=5), KEY),
    "jti a list": by_hmac(HEADER, ticket_claims(jti=["n"]), KEY),
    "nested deeply": by_hmac(HEADER, b"[" * 3000, KEY),
    "claims no JSON": by_hmac(HEADER, b"not json", KEY),
    "too large": by_hmac(HEADER, ticket_claims(more="x" * 4096), KEY),
    "alg none": ".".join(
        (encoded(json.dumps(HEADER | {"alg": "none"}).encode()), encoded(ticket_claims()), "")
    ),
    "by RSA": signed(ticket_claims(), RSA, header={"typ": "ticket+jwt"}),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
async def test_forged_tickets(token: str) -> None:
    assert await refusal(tickets(), token) == "the ticket is not valid"


@settings(deadline=None, max_examples=60)
@given(st.text(), st.integers(0), st.booleans())
async def test_no_changed_ticket_is_taken(text: str, at: int, instead: bool) -> None:
    made = tickets()
    token = made.issue(SESSION, "ada").token
    at %= len(token)
    changed = token[:at] + text + token[at + instead * max(1, len(text)) :]
    if changed != token:
        await refusal(made, changed)
