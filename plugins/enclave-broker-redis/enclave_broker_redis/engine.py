"""What the store and the limiter ask of the servers, wherever the keys are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from anyio.abc import TaskGroup
from redis.asyncio.connection import AbstractConnection

from .cluster import Cluster
from .config import ServerConfig
from .connecting import BROKEN, Address, Servers
from .failures import unreachable
from .lane import Lane
from .ops import Argument, Op, Script, call_of


class Engine:
    """Sends operations. They begin in the order in which they are asked for, without waiting;
    those of one turn of the event loop go out together.

    Awaiting one raises StoreError for what the servers say or do not say.
    """

    def __init__(self, config: ServerConfig, servers: Servers, tasks: TaskGroup) -> None:
        self._config = config
        self._servers = servers
        self._tasks = tasks
        self._cluster: Cluster | None = None
        if config.cluster:
            self._cluster = Cluster(servers, self._open_lane)
            self.submit = self._cluster.submit
        else:
            self.submit = self._open_lane(None).submit

    @property
    def clustered(self) -> bool:
        """Whether all keys of an operation have to be in one slot."""
        return self._cluster is not None

    def run(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Op:
        """Begin a script; the first of its keys says where."""
        op = call_of(script, keys, arguments)
        self.submit(op)
        return op

    def do(self, command: str, key: Argument, *arguments: Argument, again: bool = True) -> Op:
        """Begin a command; if it may not be run ``again``, it is never sent twice."""
        op = Op((command, key, *arguments), key, again)
        self.submit(op)
        return op

    async def check(self) -> None:
        """StoreError when a server can't be reached; of a cluster, the one that has the prefix."""
        await self.do("EXISTS", f"{self._config.prefix}:{{{self._config.prefix}}}:n")

    @asynccontextmanager
    async def connection(self, key: Argument) -> AsyncIterator[AbstractConnection]:
        """A connection of one's own to where ``key`` is, for reads that wait; StoreError."""
        address = None if self._cluster is None else self._cluster.address_of(key)
        try:
            connection = await self._servers.connect(address)
        except BROKEN as problem:
            self.troubled()
            raise unreachable(self._servers.name(address), problem) from problem
        try:
            yield connection
        except BROKEN:
            self.troubled()
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await connection.disconnect(nowait=True)

    def troubled(self) -> None:
        """Something is not where it was thought to be."""
        if self._cluster is not None:
            self._cluster.troubled()

    async def start(self) -> None:
        """Be ready, or say why not."""
        if self._cluster is not None:
            problem = await self._cluster.look()
            if problem is not None:
                raise unreachable(self._servers.name(), problem)
            self._tasks.start_soon(self._cluster.keep)
        await self.check()

    def _open_lane(self, address: Address | None) -> Lane:
        lane = Lane(
            self._servers.name(address),
            lambda: self._servers.connect(address),
            self._config.timeout,
            self._config.retry_for,
            self._cluster,
        )
        self._tasks.start_soon(lane.run)
        return lane


@asynccontextmanager
async def open_engine(config: ServerConfig) -> AsyncIterator[Engine]:
    """StoreError when the server can't be reached; later it may come and go."""
    stack = AsyncExitStack()
    try:
        servers = Servers(config)
        stack.push_async_callback(servers.close)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        engine = Engine(config, servers, tasks)
        await engine.start()
        yield engine
    finally:
        # The error of the block is the caller's: no task group is to wrap it into a group.
        await stack.aclose()
