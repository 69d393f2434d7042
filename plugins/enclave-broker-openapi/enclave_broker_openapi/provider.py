"""The tool provider ``openapi``: a document's tools, and the task that keeps them fresh."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import anyio
import anyio.to_thread

from enclave_broker_core.contracts import Publish, Tool
from enclave_broker_core.errors import BrokerError

from .catalog import Outcome, make_catalog
from .config import OpenapiConfig
from .fetching import Loaded, Stamp
from .freshness import Health, Pace, State
from .loading import Source
from .problems import DocumentError
from .sending import Sender
from .tool import OperationTool

_log = logging.getLogger(__name__)

_MOST_SAID = 20


class OpenapiProvider:
    """The tools of one document. ``health`` says how fresh they are, ``outcome`` what became
    of the document's operations; it is None before there was one.
    """

    def __init__(
        self,
        config: OpenapiConfig,
        source: Source,
        sender: Sender,
        refused: Callable[[str], str | None],
        pace: Pace,
    ) -> None:
        self.health = Health("unhealthy", "it has not been loaded yet")
        self.outcome: Outcome | None = None
        self._config = config
        self._source = source
        self._sender = sender
        self._refused = refused
        self._pace = pace
        self._tools: list[OperationTool] = []
        self._stamps: dict[str, Stamp] = {}
        self._left_out: frozenset[str] = frozenset()

    async def tools(self) -> Sequence[Tool]:
        return list(self._tools)

    async def watch(self, publish: Publish) -> None:
        while True:
            seconds = self._pace.after(self.health.failures)
            if seconds is None or (self._config.kind == "table" and self.outcome is not None):
                return
            await anyio.sleep(seconds)
            await self.refresh(publish)

    async def refresh(self, publish: Publish) -> None:
        """Look at the document once; publish its tools when it has changed."""
        try:
            loaded = await self._newer()
            if loaded is None:
                self._recovered()
            else:
                await self.take(loaded, publish)
        except BrokerError as problem:
            self.failed(problem)
        except Exception as problem:
            # Of what nobody thought of, the next document may be free.
            _log.exception("the document of %s could not be used", self._config.name)
            self.failed(DocumentError(f"it can't be understood: {type(problem).__name__}"))

    async def _newer(self) -> Loaded | None:
        """The document when it is another than it was, or has a part that was not there."""
        if self.outcome is None or await self._source.has_changed(self._stamps):
            return await self._source.load()
        if not self._left_out:
            return None
        loaded = await self._source.load()
        return None if loaded.left_out.keys() == self._left_out else loaded

    async def take(self, loaded: Loaded, publish: Publish | None = None) -> None:
        """Make the tools of a document. Until they are published nothing of the old is gone."""
        outcome = await anyio.to_thread.run_sync(
            make_catalog, loaded.document, self._config, self._refused
        )
        tools = [OperationTool(compiled, self._sender) for compiled in outcome.made]
        before, self._tools = self._tools, tools
        if publish is not None:
            try:
                await publish(list(tools))
            except BaseException:
                self._tools = before
                raise
        self.outcome = outcome
        self._stamps = dict(loaded.stamps)
        self._left_out = frozenset(loaded.left_out)
        self._recovered()
        self._tell(outcome, loaded)

    def failed(self, problem: BrokerError) -> None:
        """Note that the document could not be had or used; the tools stay as they are."""
        state: State = "unhealthy" if self.outcome is None else "stale"
        if (self.health.state, self.health.reason) != (state, problem.message):
            kept = "there are no tools" if self.outcome is None else "the tools stay as they were"
            _log.warning("the document of %s: %s; %s", self._config.name, problem.message, kept)
        self.health = Health(state, problem.message, self.health.failures + 1)

    def _recovered(self) -> None:
        if self.health.state == "stale":
            _log.info("the document of %s can be had again", self._config.name)
        self.health = Health("healthy")

    def _tell(self, outcome: Outcome, loaded: Loaded) -> None:
        name = self._config.name
        for uri, why in loaded.left_out.items():
            _log.warning("%s: what its document refers to is not there: %s: %s", name, uri, why)
        said = [f"{one.key} is no tool: {one.reason}" for one in outcome.broken]
        alike = Counter(note.said for note in outcome.notes)
        first = {note.said: note.key for note in reversed(outcome.notes)}
        said += [
            f"{first[text]}{f' and {times - 1} more' if times > 1 else ''}: {text}"
            for text, times in alike.items()
        ]
        said += list(outcome.unused)
        for line in said[:_MOST_SAID]:
            _log.warning("%s: %s", name, line)
        if len(said) > _MOST_SAID:
            more = len(said) - _MOST_SAID
            _log.warning("%s: and %d more; 'enclave-broker tools import' shows all", name, more)
