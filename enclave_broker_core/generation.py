"""One generation of a broker's parts: opened together, swapped in together, closed together."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskStatus

from .composition import Composition, Parts, open_parts
from .contracts import Tool, ToolProvider
from .guard import Guarded
from .once import Once
from .redaction import Redactor
from .session_store import SessionStore

_log = logging.getLogger(__name__)

MakeParts = Callable[[AsyncExitStack], Awaitable[Parts]]
"""What a generation is made of; what it opens for that goes on the stack, and closes with it."""

PublishTools = Callable[[str, Sequence[Tool]], None]


class Generation:
    """The opened parts, the tools that they brought, and the task that holds them open.

    Its providers publish from ``adopt`` to ``retire``; after that its parts are closed when
    all that was under way on them has ended.
    """

    def __init__(self, parts: Parts, opened: Composition, tools: Mapping[str, Sequence[Tool]]):
        self.parts = parts
        self.opened = opened
        self.tools = tools
        self._adopted = anyio.Event()
        self._retired = anyio.Event()
        self._left: Sequence[Once] = ()
        self._watching = anyio.CancelScope()

    def adopt(self) -> None:
        """The broker uses it from now on."""
        self._adopted.set()

    def retire(self, under_way: Sequence[Once]) -> None:
        """Let it go when all of ``under_way`` is over."""
        self._left = under_way
        self._watching.cancel()
        self._retired.set()

    async def _watch(self, publish: PublishTools) -> None:
        with self._watching:
            await self._adopted.wait()
            async with anyio.create_task_group() as tasks:
                for name, provider in self.opened.providers.items():
                    tasks.start_soon(_watch, name, provider, publish)

    async def _last(self, publish: PublishTools) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, publish)
            await self._retired.wait()
            for one in self._left:
                await one.wait()


async def hold(
    make: MakeParts,
    redactor: Redactor,
    guarded: Guarded,
    publish: PublishTools,
    store: SessionStore,
    *,
    task_status: TaskStatus[Generation],
) -> None:
    """Open a generation and keep it open until it is retired; a task of the broker's.

    What fails before all of it is open is raised to whoever started the task.
    """
    stack = AsyncExitStack()
    try:
        parts = await make(stack)
        opened = await open_parts(parts, stack, redactor, guarded, store)
        tools = {name: await provider.tools() for name, provider in opened.providers.items()}
        generation = Generation(parts, opened, tools)
        task_status.started(generation)
        await generation._last(publish)
    finally:
        # Without the error, if there is one: no task group is to wrap it into a group.
        await stack.aclose()


async def _watch(name: str, provider: ToolProvider, publish: PublishTools) -> None:
    """Pass on what a provider publishes. One that fails keeps the tools that it has."""

    async def passed(tools: Sequence[Tool]) -> None:
        publish(name, tools)

    try:
        await provider.watch(passed)
    except Exception:
        _log.exception("the tools of %s are not kept fresh any more", name)
