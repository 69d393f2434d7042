"""The tool provider ``mcp``: the tools of one server, as they are now."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread

from enclave_broker_core.contracts import Publish, Tool, ToolContext
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.redaction import Redactor

from .catalog import Compiled, Outcome, compile_tools
from .config import McpConfig
from .definitions import Definition
from .health import Health
from .keeper import Connect, Keeper
from .pinning import HeldBack, Pinning
from .pins import PinFile
from .tool import ServerTool

_log = logging.getLogger(__name__)

_MOST_SAID = 20


class McpProvider:
    """The tools of one server. ``keeper`` keeps it connected.

    ``listed`` is what could be offered of what it lists, ``made`` what is: without what is held
    back. ``pins`` says what was accepted, if tools are pinned.
    """

    def __init__(
        self, config: McpConfig, connect: Connect, pins: PinFile | None, redactor: Redactor
    ) -> None:
        self.keeper = Keeper(config, connect, self.take, redactor)
        self.listed: Sequence[Compiled] = ()
        self.pins = pins
        self._config = config
        self._pinning = None if pins is None else Pinning(config.name, pins)
        self.made: Sequence[Compiled] = ()
        self._held: frozenset[str] = frozenset()
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
        return self._brought()

    async def watch(self, publish: Publish) -> None:
        while True:
            while self._told == self._version:
                await self._news.wait()
            self._told = self._version
            try:
                await publish(self._brought())
            except BrokerError as problem:
                _log.error("the tools of %s stay as they were: %s", self._config.name, problem)

    def _brought(self) -> list[Tool]:
        if self._pinning is not None:
            self._pinning.tell()
        return list(self._tools)

    async def take(self, definitions: Sequence[Definition], more: bool) -> None:
        """Offer what a server lists, if it is other than before."""
        outcome = await anyio.to_thread.run_sync(compile_tools, definitions, self._config)
        self._tell(outcome, more)
        self.listed = outcome.made
        self._offer()

    async def follow_pins(self) -> None:
        """Offer what was accepted meanwhile, if tools are pinned."""
        while self._pinning is not None:
            await self._pinning.changed()
            self._offer()

    def _offer(self) -> None:
        made, held = self.listed, frozenset[str]()
        if self._pinning is not None:
            made = self._pinning.sort(made)
            held = frozenset(self._pinning.held)
        if (made, held) == (self.made, self._held) and self._version:
            return
        self.made, self._held = made, held
        self._tools = [ServerTool(one, self._call) for one in made]
        if self._pinning is not None and held:
            self._tools.append(HeldBack(self._config.name, self._pinning))
        self._version += 1
        news, self._news = self._news, anyio.Event()
        news.set()

    async def _call(
        self, tool: Compiled, arguments: Mapping[str, Any], context: ToolContext
    ) -> Any:
        if self._pinning is not None:
            self._pinning.require(tool)
        return await self.keeper.call(tool, arguments, context)

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
