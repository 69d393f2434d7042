"""What the library keyring is asked, and what becomes of its failures."""

from __future__ import annotations

import sys
import threading

import anyio
import keyring
import pytest
from enclave_broker_secrets.config import KeyringConfig
from enclave_broker_secrets.system_keyring import MOST_HANGING, SystemKeyring, open_keyring
from keyring.backends import fail, null

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ConfigError, SecretError

pytestmark = pytest.mark.anyio

CONTEXT = OpenContext("secrets")


class Prompting:
    """A keyring that waits for its user, once for each look-up of ``locked``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.unlocked = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.asked.append((service, username))
        if username == "locked":
            self.unlocked.wait(30)
        return f"the-password-of-{username}"


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The keyring of this process may be chosen, for one test."""
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    return monkeypatch


async def test_each_look_up_asks_the_keyring() -> None:
    backend = Prompting()
    source = SystemKeyring(backend, "broker")
    for _ in range(2):
        assert await source.get("KEY") == "the-password-of-KEY"
    assert backend.asked == [("broker", "KEY")] * 2


@pytest.mark.parametrize("name", ["", " ", "a\0", "a\n", "n" * 257])
async def test_it_is_not_asked_for_odd_names(name: str) -> None:
    backend = Prompting()
    assert await SystemKeyring(backend, "broker").get(name) is None
    assert backend.asked == []


async def test_a_prompt_that_nobody_answers_is_given_up() -> None:
    backend = Prompting()
    source = SystemKeyring(backend, "broker", timeout=0.01)
    try:
        for _ in range(MOST_HANGING + 2):
            with pytest.raises(SecretError, match=r"for 'locked': it does not answer within 0.01"):
                await source.get("locked")
        # No more threads than these wait for it.
        assert backend.asked == [("broker", "locked")] * MOST_HANGING
        with pytest.raises(SecretError, match="does not answer"):
            await source.get("KEY")
    finally:
        backend.unlocked.set()
    with anyio.fail_after(30):
        while True:
            try:
                assert await source.get("KEY") == "the-password-of-KEY"
                return
            except SecretError:
                await anyio.lowlevel.checkpoint()


async def test_a_failure_is_told_by_its_kind_alone() -> None:
    with pytest.raises(SecretError) as caught:
        await SystemKeyring(fail.Keyring(), "broker").get("KEY")
    assert caught.value.message == "the keyring can't be asked for 'KEY': NoKeyringError"
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_the_keyring_of_the_system_is_opened(chosen: pytest.MonkeyPatch) -> None:
    keyring.set_keyring(null.Keyring())
    async with open_keyring(KeyringConfig(service="broker", timeout=5), CONTEXT) as source:
        assert await source.get("KEY") is None


async def test_a_system_without_a_keyring_is_told(chosen: pytest.MonkeyPatch) -> None:
    keyring.set_keyring(fail.Keyring())
    with pytest.raises(ConfigError, match="there is no keyring on this system"):
        async with open_keyring(KeyringConfig(), CONTEXT):
            pass


async def test_a_keyring_that_can_not_be_loaded_is_told(chosen: pytest.MonkeyPatch) -> None:
    chosen.setenv("PYTHON_KEYRING_BACKEND", "no_such_module.Keyring")
    with pytest.raises(ConfigError, match="no keyring that can be opened: ModuleNotFoundError"):
        async with open_keyring(KeyringConfig(), CONTEXT):
            pass


async def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="pip install keyring"):
        async with open_keyring(KeyringConfig(), CONTEXT):
            pass
