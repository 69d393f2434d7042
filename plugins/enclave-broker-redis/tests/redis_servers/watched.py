"""A primary with a replica, and sentinels that let the one take the other's place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import redis

from .endpoint import until
from .server import Server, own_server

NAME = "broker"


@dataclass(frozen=True)
class Watched:
    """``servers`` are the first primary and its replica; ``name`` is theirs at the sentinels."""

    servers: tuple[Server, Server]
    sentinels: tuple[Server, ...]
    name: str = NAME

    @property
    def primary(self) -> Server:
        """Which of them is the primary, as the sentinels know."""
        _, port = self.sentinels[0].do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(server for server in self.servers if server.port == int(port))

    @property
    def replica(self) -> Server:
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    def fail_over(self) -> Server:
        """Let the replica take over, while all servers run, and give the new primary.

        The old one becomes a replica some ten seconds later, and takes writes until then. A
        primary that is killed instead is missed after half a second.
        """
        new = self.replica
        until(self._asked, "a failover that is possible")
        self.until_primary(new)
        return new

    def until_primary(self, server: Server) -> None:
        """Wait until a server is the primary, and all sentinels say so."""
        until(lambda: server.do("ROLE")[0] == "master", f"port {server.port} to be promoted")
        for sentinel in self.sentinels:
            until(lambda at=sentinel: self._known(at) == server.port, "the sentinels' word")

    def _asked(self) -> bool:
        try:
            return bool(self.sentinels[0].do("SENTINEL", "FAILOVER", self.name))
        except redis.ResponseError:  # it has not yet heard of a replica that could
            return False

    def _known(self, sentinel: Server) -> int:
        return int(sentinel.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])


@contextmanager
def own_watched(sentinels: int = 1) -> Iterator[Watched]:
    """Both servers and so many sentinels, when the replica has all and all know of all."""
    with ExitStack() as stack:
        primary = stack.enter_context(own_server())
        replica = stack.enter_context(own_server(f"replicaof {primary.host} {primary.port}"))
        watch = (
            f"sentinel monitor {NAME} {primary.host} {primary.port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {NAME} 500",
            f"sentinel failover-timeout {NAME} 5000",
        )
        watching = tuple(
            stack.enter_context(own_server(*watch, sentinel=True)) for _ in range(sentinels)
        )
        until(lambda: replica.do("ROLE")[3] == "connected", "a replica that has all")
        for sentinel in watching:
            until(lambda at=sentinel: _knows_all(at, sentinels), "a sentinel that knows all")
        yield Watched((primary, replica), watching)


def _knows_all(sentinel: Server, sentinels: int) -> bool:
    with sentinel.client() as client:
        state = client.sentinel_master(NAME)
        replicas = client.sentinel_slaves(NAME)
    return (
        int(state["num-other-sentinels"]) == sentinels - 1
        and len(replicas) == 1
        and not replicas[0]["is_sdown"]
        and not replicas[0]["is_disconnected"]
        and replicas[0]["master-link-status"] == "ok"
    )
