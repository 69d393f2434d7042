"""The parts of a configured broker: their lives, their secrets and their failures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from enclave_broker_core import (
    Component,
    ConfigError,
    NoConfig,
    OpenContext,
    PluginError,
    Principal,
    SecretError,
    ToolContext,
    hookimpl,
    open_broker,
)
from enclave_broker_core.build import check, check_backends, open_setup

pytestmark = pytest.mark.anyio

HIDDEN = "correct horse battery"
SHORT = "pin"


class TokenConfig(BaseModel, extra="forbid"):
    token: str = ""

    @field_validator("token")
    @classmethod
    def _token(cls, token: str) -> str:
        if "bad" in token:
            raise ValueError(f"the token {token} is bad")
        return token


class Seen:
    """A plugin for these tests: it notes what opens and closes, and with what."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.tokens: list[str] = []
        self.fails = ""

    def part(self, kind: str) -> Any:
        @asynccontextmanager
        async def opened(config: TokenConfig, context: OpenContext) -> AsyncIterator[Any]:
            if self.fails == kind:
                raise OSError(f"no way to {kind} with {config.token}")
            self.happened.append(f"open {kind} as {context.name}")
            self.tokens.append(config.token)
            try:
                yield self
            finally:
                self.happened.append(f"close {kind}")

        return opened

    async def observe(self, observation: Any) -> None:
        self.happened.append(type(observation).__name__)

    async def authenticate(self, credentials: Any) -> Principal | None:
        return None

    async def get(self, name: str) -> str | None:
        return {"KEY": HIDDEN, "BAD": f"bad {HIDDEN}", "SHORT_BAD": f"{SHORT}bad"}.get(name)

    @hookimpl
    def enclave_event_sinks(self) -> Iterable[Component]:
        only_asyncio = Component(
            "modern", self.part("modern"), TokenConfig, loops=frozenset({"asyncio"})
        )
        return [Component("seen", self.part("sink"), TokenConfig), only_asyncio]

    @hookimpl
    def enclave_secret_sources(self) -> Iterable[Component]:
        return [Component("vault", self.part("secrets"), NoToken)]

    @hookimpl
    def enclave_authenticators(self) -> Iterable[Component]:
        return [Component("badge", self.part("authenticator"), TokenConfig)]


class NoToken(NoConfig):
    @property
    def token(self) -> str:
        return ""


VAULT = {"secrets": [{"use": "vault"}]}


async def test_parts_live_as_long_as_the_broker() -> None:
    seen = Seen()
    config = {
        **VAULT,
        "sinks": [{"use": "seen"}],
        "authenticators": [{"use": "badge", "token": "${secret:KEY}"}],
    }
    async with open_setup(config, plugins=[seen]) as setup:
        assert setup.authenticators == (seen,)
        assert setup.settings.authenticators[0].rest == {"token": HIDDEN}
        async with setup.broker.session():
            pass
    # The sink takes note in its own time; it is only closed after all that it was given.
    assert [what for what in seen.happened if not what.startswith("Session")] == [
        "open secrets as secrets[0]",
        "open sink as sinks[0]",
        "open authenticator as authenticators[0]",
        "close authenticator",
        "close sink",
        "close secrets",
    ]
    before_it_closed = seen.happened[: seen.happened.index("close sink")]
    assert [what for what in before_it_closed if what.startswith("Session")] == [
        "SessionStarted",
        "SessionFinished",
    ]


async def test_secrets_are_resolved_and_blotted_out_of_results() -> None:
    seen = Seen()
    config = {**VAULT, "sinks": [{"use": "seen", "token": "Bearer ${secret:KEY}"}]}
    async with open_broker(config, plugins=[seen]) as broker:
        assert seen.tokens == ["", f"Bearer {HIDDEN}"]

        @broker.tool("leak", secrets=["KEY"])
        async def leak(ctx: ToolContext) -> str:
            return ctx.secret("KEY")

        @broker.tool("tell")
        async def tell() -> str:
            return f"it is {HIDDEN}"

        async with broker.session() as session:
            assert await session.call("tell") == "it is [secret]"
            assert await session.call("leak") == "[secret]"


@pytest.mark.parametrize(("name", "value"), [("BAD", HIDDEN), ("SHORT_BAD", SHORT)])
async def test_a_secret_is_in_no_message(name: str, value: str) -> None:
    config = {**VAULT, "sinks": [{"use": "seen", "token": f"${{secret:{name}}}"}]}
    with pytest.raises(ConfigError) as raised:
        async with open_broker(config, plugins=[Seen()]):
            pass
    assert raised.value.problems == ("sinks[0].token: the token [secret] is bad",)
    assert value not in str(raised.value)


async def test_a_secret_is_not_in_the_message_of_a_part_that_does_not_open() -> None:
    seen = Seen()
    seen.fails = "sink"
    config = {**VAULT, "sinks": [{"use": "seen", "token": "${secret:KEY}"}]}
    with pytest.raises(PluginError) as raised:
        async with open_broker(config, plugins=[seen]):
            pass
    assert raised.value.message == (
        "sinks[0]: plugin 'Seen' of the program: sinks[0] (seen) did not open:"
        " OSError: no way to sink with [secret]"
    )
    assert raised.value.__cause__ is None
    assert seen.happened[-1] == "close secrets"


async def test_unknown_secrets_are_told_with_all_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    path = tmp_path / "broker.toml"
    path.write_text("""[[sinks]]
use = "seen"
token = "${secret:NONE}"
[[sinks]]
use = "seen"
tokn = "${env:NOT_SET}"
""")
    with pytest.raises(ConfigError) as raised:
        async with open_broker(path, plugins=[Seen()]):
            pass
    assert raised.value.problems == (
        f"{path}:3: sinks[0].token: no secret source knows 'NONE'",
        f"{path}:6: sinks[1].tokn: the environment variable NOT_SET is not set",
    )
    assert raised.value.message.startswith(f"there are 2 mistakes in {path}:\n  {path}:3: ")


async def test_the_environment_is_the_source_of_secrets_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEY", "from the environment")
    config: dict[str, Any] = {"sinks": [{"use": "seen", "token": "${secret:KEY}"}]}
    seen = Seen()
    async with open_broker(config, plugins=[seen]):
        assert seen.tokens == ["from the environment"]
    async with open_broker({**config, **VAULT}, plugins=[seen]):
        assert seen.tokens[-1] == HIDDEN


async def test_a_source_that_does_not_open_stops_the_start() -> None:
    seen = Seen()
    seen.fails = "secrets"
    with pytest.raises(PluginError, match=r"secrets\[0\]: plugin 'Seen' of the program"):
        async with open_broker(VAULT, plugins=[seen]):
            pass


async def test_a_part_for_another_loop_fails_clearly(anyio_backend: str) -> None:
    config = {"sinks": [{"use": "modern"}]}
    if anyio_backend == "asyncio":
        async with open_broker(config, plugins=[Seen()]) as broker:
            assert broker.list_tools() == []
        return
    with pytest.raises(PluginError) as raised:
        async with open_broker(config, plugins=[Seen()]):
            pass
    assert raised.value.message == (
        "sinks[0]: plugin 'Seen' of the program: sinks[0] (modern) runs on asyncio,"
        " this program runs on trio"
    )


async def test_check_backends_opens_everything_and_tells_each_failure() -> None:
    seen = Seen()
    assert await check_backends({"sinks": [{"use": "seen"}]}, plugins=[seen]) == []
    assert seen.happened == ["open sink as sinks[0]", "close sink"]
    seen.fails = "sink"
    config = {
        "sinks": [{"use": "seen"}],
        "tools": [{"use": "python", "module": "none_such.py"}],
        "audit": {"path": "no/such/folder/audit.jsonl"},
    }
    assert await check_backends(config, plugins=[seen]) == [
        (
            "audit: the core: audit: no/such/folder/audit.jsonl can't be opened:"
            " No such file or directory"
        ),
        (
            "tools[0]: plugin 'core' of enclave-broker-core 0.1.0: there is no Python file"
            " none_such.py"
        ),
        (
            "sinks[0]: plugin 'Seen' of the program: sinks[0] (seen) did not open:"
            " OSError: no way to sink with "
        ),
    ]
    assert await check_backends({"stor": {}}) == check({"stor": {}})


class Entered:
    """A secret source that is a context manager too, as many clients are."""

    entered = 0

    async def __aenter__(self) -> Entered:
        self.entered += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self.entered -= 1

    async def get(self, name: str) -> str | None:
        return HIDDEN if self.entered == 1 else None


async def test_a_source_is_entered_once_whatever_it_is() -> None:
    @asynccontextmanager
    async def opened(config: NoConfig, context: OpenContext) -> AsyncIterator[Entered]:
        async with Entered() as source:
            yield source

    class Vault:
        @hookimpl
        def enclave_secret_sources(self) -> Iterable[Component]:
            return [Component("vault", opened)]

    async with open_broker(VAULT, plugins=[Vault()]) as broker:

        @broker.tool("length", secrets=["KEY"])
        async def length(ctx: ToolContext) -> int:
            return len(ctx.secret("KEY"))

        async with broker.session() as session:
            assert await session.call("length") == len(HIDDEN)


async def test_a_part_can_ask_for_a_secret_as_it_is_now() -> None:
    values = {"TOKEN": "first of all"}
    asked: list[str] = []

    class Source:
        async def get(self, name: str) -> str | None:
            return values.get(name)

    @asynccontextmanager
    async def open_source(config: Any, context: OpenContext) -> AsyncIterator[Source]:
        yield Source()

    class Provider:
        def __init__(self, context: OpenContext) -> None:
            self._context = context

        async def tools(self) -> list[Any]:
            asked.append(await self._context.secret("TOKEN"))
            values["TOKEN"] = "changed since"
            asked.append(await self._context.secret("TOKEN"))
            with pytest.raises(SecretError):
                await self._context.secret("OTHER")
            return []

        async def watch(self, publish: Any) -> None: ...

    @asynccontextmanager
    async def open_provider(config: Any, context: OpenContext) -> AsyncIterator[Provider]:
        assert "secret" not in repr(context)
        yield Provider(context)

    class Plugin:
        @hookimpl
        def enclave_secret_sources(self) -> list[Component]:
            return [Component("mine", open_source)]

        @hookimpl
        def enclave_tool_providers(self) -> list[Component]:
            return [Component("mine", open_provider)]

    config = {"secrets": [{"use": "mine"}], "tools": [{"use": "mine"}]}
    async with open_broker(config, plugins=[Plugin()]):
        assert asked == ["first of all", "changed since"]
    with pytest.raises(SecretError):
        await OpenContext("alone").secret("TOKEN")
