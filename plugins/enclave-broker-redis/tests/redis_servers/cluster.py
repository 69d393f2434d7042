"""A cluster of primaries on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .endpoint import until
from .server import Server, own_server

SLOTS = 16384
NODE = ("cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 5000")


@dataclass(frozen=True)
class Cluster:
    """Its nodes, each with a third of the slots. One that starts again has the same ones."""

    nodes: tuple[Server, ...]

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def owner(self, key: str) -> Server:
        """The node that holds a key."""
        slot = int(self.nodes[0].do("CLUSTER", "KEYSLOT", key))
        return self.nodes[slot * len(self.nodes) // SLOTS]

    def until_ok(self) -> None:
        """Wait until every node knows that every other one is there."""
        for node in self.nodes:
            until(lambda node=node: self._ok(node), f"a cluster at port {node.port}")

    def _ok(self, node: Server) -> bool:
        with node.client() as client:
            info, peers = client.cluster("INFO"), client.cluster("NODES")
        return (
            info["cluster_state"] == "ok"
            and int(info["cluster_size"]) == len(self.nodes)
            and all(peer["connected"] and "fail" not in peer["flags"] for peer in peers.values())
        )


@contextmanager
def own_cluster(size: int = 3) -> Iterator[Cluster]:
    """A cluster that is ready; a key is on the node that ``owner(key)`` says."""
    with ExitStack() as stack:
        nodes = tuple(stack.enter_context(own_server(*NODE)) for _ in range(size))
        for number, node in enumerate(nodes):
            first, end = (-(-SLOTS * at // size) for at in (number, number + 1))
            node.do("CLUSTER", "ADDSLOTS", *range(first, end))
            node.do("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.do("CLUSTER", "MEET", nodes[0].host, nodes[0].port)
        cluster = Cluster(nodes)
        cluster.until_ok()
        yield cluster
