"""A broker on a server in a thread of its own, for what is tested from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal
from enclave_broker_client import ClientSettings
from enclave_broker_server.app import create_app
from enclave_broker_server.listening import listen, serving_at, url_of
from enclave_broker_server.settings import ServerSettings, StreamSettings

from enclave_broker_core import Broker, ToolContext, open_broker
from enclave_broker_core.events import Event

PATIENCE = 30.0
# A test's client does not wait between attempts, and gives up soon.
QUICK = ClientSettings(first_pause=0.01, longest_pause=0.05, attempts=4)


@dataclass(frozen=True)
class Server:
    """``url`` is its address, ``portal`` leads to the loop on which its broker is."""

    url: str
    broker: Broker
    portal: BlockingPortal
    seen: Counter[str] = field(default_factory=Counter)

    def log(self, session_id: str) -> list[Event]:
        """A session's whole log, as the broker has it."""

        async def read() -> list[Event]:
            with anyio.fail_after(PATIENCE):
                session = await self.broker.get_session(session_id)
                return [event async for event in session.events()]

        return self.portal.call(read)


def add_tools(broker: Broker, seen: Counter[str]) -> None:
    @broker.tool("test:echo", tags={"test"})
    async def echo(value: object) -> object:
        """Give back what comes."""
        return value

    @broker.tool("test:count")
    async def count(name: str) -> int:
        seen[name] += 1
        return seen[name]

    @broker.tool("test:fail")
    async def fail() -> None:
        raise ValueError("it does not work")

    @broker.tool("test:rare", rate_limit={"max_calls": 1, "window": 3600})
    async def rare() -> None: ...

    @broker.tool("test:wait")
    async def wait(name: str) -> None:
        seen[name] += 1
        await anyio.sleep_forever()

    @broker.tool("test:through")
    async def through(name: str, args: dict[str, object], context: ToolContext) -> object:
        return await context.call(name, args)


@asynccontextmanager
async def served(portal: BlockingPortal, **options: Any) -> AsyncIterator[Server]:
    # Streams that are cut faster than any client comes back have their places a little longer.
    usual = ServerSettings(streams=StreamSettings(max_per_session=1000))
    options = {"settings": usual, **options}
    async with open_broker({"runtime": {"use": "monty", "workers": 1}}) as broker:
        sockets = listen("127.0.0.1", 0)
        server = Server(url_of(*sockets[0].getsockname()), broker, portal)
        add_tools(broker, server.seen)
        async with serving_at(sockets, create_app(broker, **options), options["settings"]):
            yield server
