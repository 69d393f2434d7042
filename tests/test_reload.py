"""A broker takes another configuration while it runs, in one step or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from enclave_broker_core import AccessDeniedError, Broker, ConfigError, PluginError
from enclave_broker_core.access import AccessController
from enclave_broker_core.build import open_setup
from enclave_broker_core.composition import Parts
from enclave_broker_core.contracts import Publish, Tool
from enclave_broker_core.declaration import declare
from enclave_broker_core.models import SessionLimits
from enclave_broker_core.threads import Threads

pytestmark = pytest.mark.anyio

DENY = AccessController(default="deny")
ALLOW = AccessController(default="allow")


def made_of(**parts: Any) -> Any:
    async def make(stack: AsyncExitStack) -> Parts:
        return Parts(**parts)

    return make


class Noted:
    """A middleware that says when it is opened and closed."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        self.log.append(f"{self.name} opens")

        async def middleware(call: Any, call_next: Any) -> Any:
            result = await call_next(call)
            self.log.append(f"{self.name} saw {call.name}")
            return result

        try:
            yield middleware
        finally:
            self.log.append(f"{self.name} closes")


class Provider:
    def __init__(self, *names: str) -> None:
        self.names = names
        self.watching = anyio.Event()
        self.publish: Publish | None = None
        self.stopped = False

    async def tools(self) -> Sequence[Tool]:
        return [self.tool(name) for name in self.names]

    def tool(self, name: str) -> Tool:
        async def handler() -> str:
            return name

        declared = declare(name, handler, Threads(), {})
        assert not hasattr(declared, "pattern")
        return declared  # type: ignore[return-value]

    async def watch(self, publish: Publish) -> None:
        self.publish = publish
        self.watching.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.stopped = True


async def test_calls_to_come_pass_the_new_parts_and_those_under_way_the_old() -> None:
    log: list[str] = []
    entered, release = anyio.Event(), anyio.Event()
    broker = Broker(middleware=[Noted("old", log).opened()], access=ALLOW)

    @broker.tool("slow")
    async def slow() -> str:
        entered.set()
        await release.wait()
        return "done"

    @broker.tool("quick")
    async def quick() -> str:
        return "done"

    async with broker, broker.session() as session, anyio.create_task_group() as tasks:
        results: list[str] = []

        async def call() -> None:
            results.append(await session.call("slow"))

        tasks.start_soon(call)
        await entered.wait()
        await broker.reload(made_of(middleware=[Noted("new", log).opened()], access=[ALLOW]))
        assert await session.call("quick") == "done"
        assert log == ["old opens", "new opens", "new saw quick"]
        release.set()
        while "old closes" not in log:
            await anyio.lowlevel.checkpoint()
        assert results == ["done"]
        assert log[3:] == ["old saw slow", "old closes"]
        assert broker.stats().calls == 2
    assert log[-1] == "new closes"


async def test_what_does_not_open_leaves_all_as_it_was() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def broken() -> AsyncIterator[Any]:
        raise PluginError("no such backend")
        yield

    broker = Broker(middleware=[Noted("old", log).opened()], access=ALLOW)

    @broker.tool("quick")
    async def quick() -> str:
        return "done"

    async with broker, broker.session() as session:
        with pytest.raises(PluginError, match="no such backend"):
            await broker.reload(
                made_of(access=[DENY], middleware=[Noted("new", log).opened(), broken()])
            )
        assert await session.call("quick") == "done"
        assert log == ["old opens", "new opens", "new closes", "old saw quick"]


async def test_rules_hold_from_the_next_call_on() -> None:
    broker = Broker(access=ALLOW)

    @broker.tool("quick")
    async def quick() -> str:
        return "done"

    async with broker, broker.session() as session:
        assert await session.call("quick") == "done"
        await broker.reload(made_of(access=[DENY], limits=SessionLimits(max_tool_calls=3)))
        with pytest.raises(AccessDeniedError):
            await session.call("quick")
        assert (await broker.create_session()).limits.max_tool_calls == 3


async def test_providers_and_their_tools_are_swapped_whole() -> None:
    old, new = Provider("old:a", "both:b"), Provider("new:c", "both:b")
    broker = Broker(providers={"old": old})

    @broker.tool("own")
    async def own() -> str:
        return "own"

    async with broker, broker.session() as session:
        await old.watching.wait()
        await broker.reload(made_of(providers={"new": new}))
        assert {spec.name for spec in broker.list_tools()} == {"own", "new:c", "both:b"}
        await new.watching.wait()
        assert old.stopped
        assert new.publish is not None
        await new.publish([new.tool("new:d")])
        assert await session.call("new:d") == "new:d"
        assert {spec.name for spec in broker.list_tools()} == {"own", "new:d"}


async def test_a_name_that_is_taken_leaves_all_as_it_was() -> None:
    broker = Broker(providers={"old": Provider("old:a")})

    @broker.tool("own")
    async def own() -> str:
        return "own"

    async with broker, broker.session() as session:
        with pytest.raises(ConfigError, match="own"):
            await broker.reload(made_of(providers={"new": Provider("own")}))
        assert {spec.name for spec in broker.list_tools()} == {"own", "old:a"}
        assert await session.call("old:a") == "old:a"


async def test_a_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('[limits]\nmax_tool_calls = 1\n[access]\ndefault = "allow"\n')
    async with open_setup(path) as setup:
        assert (await setup.broker.create_session()).limits.max_tool_calls == 1
        path.write_text("[limits]\nmax_tool_calls = 2\n")
        await setup.reload()
        assert (await setup.broker.create_session()).limits.max_tool_calls == 2
        path.write_text("[limits]\nmax_tool_cals = 3\n")
        with pytest.raises(ConfigError, match="max_tool_cals"):
            await setup.reload()
        path.write_text("[store]\nmax_events = 10\n")
        with pytest.raises(ConfigError, match="store"):
            await setup.reload()
        assert (await setup.broker.create_session()).limits.max_tool_calls == 2
