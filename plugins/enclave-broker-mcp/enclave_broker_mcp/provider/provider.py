"""The tool provider ``mcp``: the tools of one server, as they are now."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio
import anyio.to_thread

from enclave_broker_core.contracts import Publish, Tool
from enclave_broker_core.errors import BrokerError

from .catalog import Compiled, Outcome, compile_tools
from .config import McpConfig
from .definitions import Definition
from .health import Health
from .keeper import Connect, Keeper
from .tool import ServerTool

_log = logging.getLogger(__name__)

_MOST_SAID = 20


class McpProvider:
    """The tools of one server. ``run`` keeps it connected, and is a task of who opened it."""

    def __init__(self, config: McpConfig, connect: Connect) -> None:
        self.keeper = Keeper(config, connect, self.take)
        self._config = config
        self._made: Sequence[Compiled] = ()
        self._said: frozenset[tuple[str, str]] = frozenset()
        self._tools: list[Tool] = []
        self._version = 0
        self._told: int | None = None
        self._news = anyio.Event()

    @property
    def health(self) -> Health:
        return self.keeper.health

    async def tools(self) -> Sequence[Tool]:
        if self._told is None:
            self._told = self._version
        return list(self._tools)

    async def watch(self, publish: Publish) -> None:
        while True:
            while self._told == self._version:
                await self._news.wait()
            self._told = self._version
            try:
                await publish(list(self._tools))
            except BrokerError as problem:
                _log.error("the tools of %s stay as they were: %s", self._config.name, problem)

    async def take(self, definitions: Sequence[Definition], more: bool) -> None:
        """Offer what a server lists, if it is other than before."""
        outcome = await anyio.to_thread.run_sync(compile_tools, definitions, self._config)
        self._tell(outcome, more)
        if outcome.made == self._made and self._version:
            return
        self._made = outcome.made
        self._tools = [ServerTool(one, self.keeper.call) for one in outcome.made]
        self._version += 1
        news, self._news = self._news, anyio.Event()
        news.set()

    def _tell(self, outcome: Outcome, more: bool) -> None:
        name = self._config.name
        said = [(tool, f"is left out: {why}") for tool, why in outcome.left_out]
        said += list(outcome.notes)
        if more:
            said.append(
                ("it", f"has more than {self._config.max_tools} tools; the rest is left out")
            )
        fresh = [one for one in said if one not in self._said]
        self._said = frozenset(said)
        for tool, why in fresh[:_MOST_SAID]:
            _log.warning("%s: %s: %s", name, tool, why)
        if len(fresh) > _MOST_SAID:
            _log.warning("%s: and %d more", name, len(fresh) - _MOST_SAID)
