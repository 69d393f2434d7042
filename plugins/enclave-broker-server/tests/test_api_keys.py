"""Keys of which only hashes are kept."""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from enclave_broker_server.api_keys import (
    ApiKey,
    ApiKeys,
    ApiKeysConfig,
    hash_of,
    new_key,
    open_api_keys,
)
from enclave_broker_server.keys_command import key_command, key_commands, toml_line
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from enclave_broker_core.build import check
from enclave_broker_core.contracts import Authenticator, Credentials, OpenContext
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.authenticators import AuthenticatorSuite

ADA, BOB = new_key(), new_key()
CONFIG = ApiKeysConfig.model_validate(
    {
        "keys": [
            {"hash": hash_of(BOB), "id": "bob"},
            {
                "hash": hash_of(ADA).upper().replace("SHA", "sha"),
                "id": "ada",
                "tenant": "acme",
                "roles": ["admin"],
                "attributes": {"team": "tools"},
            },
        ]
    }
)
PRINCIPAL = Principal(
    id="ada", tenant="acme", roles=frozenset({"admin"}), attributes={"team": "tools"}
)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Identity does not need the server, which runs on asyncio only."""
    return str(request.param)


class TestApiKeys(AuthenticatorSuite):
    good = Credentials({"authorization": f"Bearer {ADA}"})
    principal = PRINCIPAL
    wrong = Credentials({"authorization": f"Bearer {new_key()}"})
    foreign = (
        Credentials({}),
        Credentials({"authorization": "Bearer e30.e30.e30"}),
        Credentials({"authorization": "Basic YWRhOmFkYQ=="}),
        Credentials({"authorization": ADA}),
        Credentials({"x-api-key": "the-key-of-another-kind"}),
    )

    @asynccontextmanager
    async def open_authenticator(self) -> AsyncIterator[Authenticator]:
        async with open_api_keys(CONFIG, OpenContext("keys")) as keys:
            yield keys


class TestBareApiKeys(TestApiKeys):
    good = Credentials({"x-api-key": ADA})
    wrong = Credentials({"x-api-key": new_key()})


async def asked(keys: ApiKeys, **headers: str) -> Principal | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await keys.authenticate(Credentials(named))


def config(*keys: dict[str, Any], **others: Any) -> ApiKeysConfig:
    return ApiKeysConfig.model_validate({"keys": keys, **others})


@pytest.mark.anyio
async def test_of_two_different_keys_none_counts() -> None:
    keys = ApiKeys(CONFIG)
    with pytest.raises(AccessDeniedError):
        await asked(keys, authorization=f"Bearer {ADA}", x_api_key=BOB)
    assert await asked(keys, authorization=f"Bearer {ADA}", x_api_key=ADA) == PRINCIPAL
    found = await asked(keys, authorization="Bearer another.kind.oftoken", x_api_key=BOB)
    assert found == Principal(id="bob")


@pytest.mark.anyio
async def test_the_headers_are_configured() -> None:
    keys = ApiKeys(config({"hash": hash_of(ADA), "id": "ada"}, header="x-auth", key_header=""))
    assert await asked(keys, x_auth=f"bearer  {ADA}") == Principal(id="ada")
    assert await asked(keys, authorization=f"Bearer {ADA}", x_api_key=ADA) is None
    assert await keys.authenticate(Credentials({"": ADA})) is None


@pytest.mark.anyio
async def test_a_key_expires() -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    entry = {"hash": hash_of(ADA), "id": "ada", "expires": at}
    now = at.timestamp() - 1
    keys = ApiKeys(config(entry), clock=lambda: now)
    assert await asked(keys, x_api_key=ADA) == Principal(id="ada")
    now = at.timestamp()
    with pytest.raises(AccessDeniedError):
        await asked(keys, x_api_key=ADA)


@pytest.mark.anyio
async def test_one_person_may_have_two_keys() -> None:
    keys = ApiKeys(config(*({"hash": hash_of(key), "id": "ada"} for key in (ADA, BOB))))
    assert await asked(keys, x_api_key=ADA) == await asked(keys, x_api_key=BOB)


@pytest.mark.anyio
@pytest.mark.parametrize("shown", [ADA, BOB, new_key()], ids=["ada", "bob", "nobody"])
async def test_all_keys_are_compared_in_constant_time(
    shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ApiKeys(CONFIG)
    real, compared = hmac.compare_digest, list[tuple[bytes, bytes]]()

    def counted(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return real(given, known)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    try:
        await asked(keys, x_api_key=shown)
    except AccessDeniedError:
        assert shown not in (ADA, BOB)
    digest = bytes.fromhex(hash_of(shown).removeprefix("sha256:"))
    known = [bytes.fromhex(hash_of(key).removeprefix("sha256:")) for key in (BOB, ADA)]
    assert compared == [(digest, known[0]), (digest, known[1])]


@pytest.mark.anyio
@settings(deadline=None, max_examples=60)
@given(st.text(), st.integers(0, len(ADA)))
async def test_nothing_but_the_key_is_taken(text: str, at: int) -> None:
    keys = ApiKeys(CONFIG)
    for other in (ADA[:at] + text + ADA[at:], ADA[:at] + text, "ebk_" + text):
        if other.strip(" ") != ADA:
            try:
                assert await asked(keys, x_api_key=other) is None
            except AccessDeniedError:
                continue


def test_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {len("ebk_") + 43}


# What a configuration may not say


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "nobody could come in"),
        ([{"hash": ADA, "id": "ada"}], "enclave-broker key new"),
        ([{"hash": f" {ADA}", "id": "ada"}], "enclave-broker key new"),
        ([{"hash": "sha256:12", "id": "ada"}], "64 hexadecimal digits"),
        ([{"hash": hash_of(ADA)[7:], "id": "ada"}], "64 hexadecimal digits"),
        ([{"hash": hash_of(ADA), "id": ""}], "at least 1 character"),
        ([{"hash": hash_of(ADA), "id": "a"}, {"hash": hash_of(ADA), "id": "b"}], "hash of keys[0]"),
        ([{"hash": hash_of(ADA), "id": "a", "expires": "2027-01-01T00:00:00"}], "timezone"),
    ],
)
def test_mistakes_are_told(keys: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(*keys)
    messages = [item["msg"] for item in caught.value.errors()]
    assert any(said in message for message in messages)
    assert not any(ADA[8:] in message for message in messages)


def test_no_mistake_shows_a_key() -> None:
    table = {"use": "api_keys", "keys": [{"hash": ADA, "id": "ada"}]}
    [said] = check({"authenticators": [table]})
    assert "authenticators[0].keys[0].hash" in said
    assert "enclave-broker key new" in said
    assert ADA not in said


# enclave-broker key new


def test_a_new_key_comes_with_its_line() -> None:
    arguments = ["new", "--id", "ada", "--role", "dev", "--role", "admin", "--tenant", "acme"]
    done = CliRunner().invoke(key_commands(), arguments)
    assert done.exit_code == 0
    [key] = [line for line in done.stdout.splitlines() if line.startswith("ebk_")]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("{")]
    [entry] = tomllib.loads(f"keys = [\n{line}\n]")["keys"]
    assert entry == {
        "hash": hash_of(key),
        "id": "ada",
        "tenant": "acme",
        "roles": ["admin", "dev"],
    }


@pytest.mark.anyio
async def test_a_new_key_works() -> None:
    done = CliRunner().invoke(key_commands(), ["new", "--json", "--id", "ada"])
    made = json.loads(done.stdout)
    assert made["hash"] == hash_of(made["key"])
    [entry] = tomllib.loads(f"keys = [{made['line']}]")["keys"]
    keys = ApiKeys(config(entry), clock=time.time)
    assert await asked(keys, authorization=f"Bearer {made['key']}") == Principal(id="ada")


@pytest.mark.parametrize("id", ["", "a" * 257])
def test_an_id_that_can_t_be(id: str) -> None:
    done = CliRunner().invoke(key_commands(), ["new", "--id", id])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--id" in done.stderr


def test_the_program_has_the_command(tmp_path: Path) -> None:
    command = key_command()
    assert (command.name, command.build) == ("key", key_commands)
    program = [sys.executable, "-m", "enclave_broker_cli", "key", "new", "--json", "--id", "ada"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    made = json.loads(done.stdout)
    assert made["hash"] == hash_of(made["key"])


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=50), st.text(), st.frozensets(st.text()))
def test_the_line_is_toml_whatever_is_in_it(id: str, tenant: str, roles: frozenset[str]) -> None:
    entry = ApiKey(hash=hash_of("x"), id=id, tenant=tenant, roles=roles)
    [read] = tomllib.loads(f"keys = [{toml_line(entry)}]")["keys"]
    assert ApiKey.model_validate(read) == entry
