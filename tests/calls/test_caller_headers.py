"""Headers of the caller's own request: for tools that ask for them by name, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from shared_memory import replicas

from enclave_broker_core import (
    Broker,
    ConfigError,
    SecretError,
    ToolContext,
    ToolError,
    open_broker,
)

pytestmark = pytest.mark.anyio
TOKEN = "tok-0123456789abcdef"
HEADERS = {"authorization": f"Bearer {TOKEN}"}


def broker(**options: Any) -> Broker:
    made = Broker(**options)

    @made.tool("passes", secrets=["caller:Authorization"])
    async def passes(ctx: ToolContext) -> dict[str, Any]:
        value = ctx.secret("caller:Authorization")
        await ctx.log("info", f"sent {value}")
        await ctx.partial({"token": TOKEN})
        return {"length": len(value), "reflected": f"you are {TOKEN}"}

    @made.tool("fails", secrets=["caller:authorization"])
    async def fails(ctx: ToolContext) -> None:
        raise ToolError(f"refused {ctx.secret('caller:authorization')}")

    @made.tool("others")
    async def others(ctx: ToolContext) -> str:
        return ctx.secret("caller:authorization")

    return made


async def test_who_asks_by_name_gets_it_and_it_surfaces_nowhere() -> None:
    async with broker() as made:
        session = await made.create_session(caller_headers=HEADERS)
        assert await session.call("passes") == {
            "length": len(f"Bearer {TOKEN}"),
            "reflected": "you are [secret]",
        }
        with pytest.raises(ToolError, match=r"^refused \[secret\]$"):
            await session.call("fails")
        await session.complete()
        written = [event.to_json() async for event in session.events()]
        written += [repr(record).encode() for record in await session.history()]
        assert len(written) > 6
        assert not [line for line in written if TOKEN.encode() in line]


async def test_who_does_not_ask_does_not() -> None:
    async with broker() as made, made.session(caller_headers=HEADERS) as session:
        with pytest.raises(SecretError, match="is not declared with it"):
            await session.call("others")


async def test_without_it_the_call_says_so() -> None:
    async with broker() as made, made.session() as session:
        with pytest.raises(SecretError, match="the caller's request had none"):
            await session.call("passes")
        session.see_caller({"x-other": "1"})
        with pytest.raises(SecretError, match="the caller's request had none"):
            await session.call("passes")


async def test_the_latest_counts_and_older_ones_are_blotted_out_too() -> None:
    async with broker() as made, made.session(caller_headers=HEADERS) as session:
        session.see_caller({"authorization": "Bearer another-token-1"})
        assert await session.call("passes") == {"length": 22, "reflected": "you are [secret]"}


async def test_one_sessions_are_no_other_sessions() -> None:
    async with broker() as made, made.session(caller_headers=HEADERS), made.session() as other:
        with pytest.raises(SecretError):
            await other.call("passes")


async def test_they_do_not_go_to_another_process() -> None:
    async with (
        replicas(2) as stores,
        broker(store=stores[0]) as here,
        broker(store=stores[1]) as there,
    ):
        session = await here.create_session()
        remote = await there.get_session(session.id)
        remote.see_caller(HEADERS)
        with pytest.raises(SecretError):
            await remote.call("passes")


async def test_no_configuration_reads_them() -> None:
    with pytest.raises(ConfigError, match="caller:authorization"):
        async with open_broker({"store": {"use": "${secret:caller:authorization}"}}):
            pass
