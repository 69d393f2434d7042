"""A tool's secrets: it gets them, and nobody else ever sees them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from enclave_broker_core import (
    ArgumentsError,
    Broker,
    Event,
    LoggingMiddleware,
    SecretError,
    SecretSource,
    ToolContext,
    ToolError,
    UnknownToolError,
)

pytestmark = pytest.mark.anyio

SECRET = 'pa"ss\\wörd\n1234'
NUMBER = "4444333322221111"


class Vault:
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def get(self, name: str) -> str | None:
        return self._values.get(name)


class Broken:
    async def get(self, name: str) -> str | None:
        raise OSError("the vault is closed")


def leaky(*sources: SecretSource) -> Broker:
    broker = Broker(
        secrets=sources or [Vault({"KEY": SECRET, "CARD": NUMBER, "PIN": "1234"})],
        middleware=[LoggingMiddleware()],
    )

    @broker.tool("leak", secrets=["KEY", "CARD", "PIN"])
    async def leak(how: str, ctx: ToolContext, echo: Any = None) -> Any:
        value = ctx.secret("KEY")
        assert value == SECRET
        if how == "key":
            raise KeyError(value)
        if how == "raise":
            raise ValueError(f"could not use {value}")
        if how == "events":
            await ctx.log("info", f"using {value}", {"the": [value], value: 1})
            await ctx.partial({"part": value, "card": int(ctx.secret("CARD"))})
        return {
            "text": f"<{value}>",
            value: [value],
            "card": int(ctx.secret("CARD")),
            "pin": "1234",
        }

    return broker


BLOTTED = {"text": "<[secret]>", "[secret]": ["[secret]"], "card": "[secret]", "pin": "1234"}


def hides(text: str) -> None:
    for form in (SECRET, "ss\\\\w", "ss\\w", "wörd", "w\\u00f6rd", NUMBER):
        assert form not in text


async def test_a_tool_gets_its_own_and_no_result_has_them() -> None:
    async with leaky() as broker, broker.session() as session:
        assert await session.call("leak", {"how": "return"}) == BLOTTED
        assert await session.call("leak", {"how": "return"}) == BLOTTED


async def test_no_event_history_log_or_message_has_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with leaky() as broker, broker.session() as session:
        with pytest.raises(ToolError, match=r"could not use \[secret\]") as caught:
            await session.call("leak", {"how": "raise"})
        with pytest.raises(ToolError, match=r"'\[secret\]'"):
            await session.call("leak", {"how": "key"})
        await session.call("leak", {"how": "events", "echo": [SECRET, float(NUMBER), int(NUMBER)]})
        with pytest.raises(ArgumentsError):
            await session.call("leak", {SECRET: SECRET})
        with pytest.raises(UnknownToolError) as unknown:
            await session.call(f"tool {SECRET}")
        history = await session.history()
        await session.cancel(f"because of {SECRET}")
        lines = [event.to_json().decode() async for event in session.events()]
    for line in lines:
        hides(line)
        assert Event.from_json(line).to_json().decode() == line
    assert "using [secret]" in str(lines)
    hides(str(history))
    hides(caplog.text)
    hides(str(caught.value.to_wire()) + str(caught.value) + str(unknown.value))
    assert "could not use [secret]" in caplog.text


async def test_secrets_of_one_session_are_hidden_from_all() -> None:
    async with leaky() as broker, broker.session() as session:
        broker.tool("plain")(lambda: f"plain {SECRET}")
        await session.call("leak", {"how": "return"})
        async with broker.session() as other:
            assert await other.call("plain") == "plain [secret]"
        broker.conceal("another-secret")
        broker.tool("another")(lambda: "another-secret")
        assert await session.call("another") == "[secret]"


async def test_a_missing_one_fails_the_call_before_the_tool_runs() -> None:
    async with leaky(Vault({"KEY": SECRET})) as broker, broker.session() as session:
        with pytest.raises(SecretError, match="no secret source knows 'CARD'") as caught:
            await session.call("leak", {"how": "return"})
        assert caught.value.code == "SECRET_ERROR"
        assert (await session.history())[0].error_code == "SECRET_ERROR"


async def test_a_source_that_fails_is_a_secret_error() -> None:
    async with leaky(Broken()) as broker, broker.session() as session:
        with pytest.raises(SecretError, match="the secret 'KEY' can't be read"):
            await session.call("leak", {"how": "return"})


async def test_the_first_source_that_knows_it_gives_it() -> None:
    broker = leaky(Vault({"KEY": SECRET}), Vault({"KEY": "other", "CARD": NUMBER, "PIN": "1"}))
    async with broker, broker.session() as session:
        assert (await session.call("leak", {"how": "return"}))["text"] == "<[secret]>"


async def test_one_that_is_not_declared_is_not_given() -> None:
    broker = Broker(secrets=[Vault({"KEY": SECRET, "B": SECRET})])

    @broker.tool("t", secrets=["B"])
    async def t(ctx: ToolContext) -> str:
        return ctx.secret("KEY")

    async with broker, broker.session() as session:
        with pytest.raises(SecretError, match="is not declared with it"):
            await session.call("t")


async def test_the_environment_is_the_source_when_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BROKER_TEST_KEY", "from-the-environment")
    broker = Broker()

    @broker.tool("t", secrets=["BROKER_TEST_KEY"])
    def t(ctx: ToolContext) -> list[Any]:
        value = ctx.secret("BROKER_TEST_KEY")
        return [value, len(value)]

    async with broker, broker.session() as session:
        assert await session.call("t") == ["[secret]", 20]
