"""The servers for the other tests do what those take for granted."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis_servers.cluster import Cluster, own_cluster
from redis_servers.encrypted import own_tls_server
from redis_servers.endpoint import Endpoint, until
from redis_servers.secured import own_guarded
from redis_servers.server import Server, ServerFailed, own_server
from redis_servers.watched import Watched, own_watched
from tcp_proxy import ProxyThread

KILLED = """
import signal, sys
sys.path[:0] = sys.argv[1:]
from redis_servers.server import own_server
with own_server() as server:
    print(server.url, flush=True)
    signal.pause()
"""


def refused(url: str) -> bool:
    try:
        Endpoint(url).do("PING")
    except redis.ConnectionError:
        return True
    return False


def test_the_server_for_everybody_answers(server: Endpoint, prefix: str) -> None:
    assert server.do("PING") is True
    assert server.do("SET", f"{prefix}key", "here") is True
    assert server.do("GET", f"{prefix}key") == "here"


def test_a_network_between_fails_alone(fragile: Server, network: ProxyThread) -> None:
    there = Endpoint(f"redis://{fragile.host}:{network.port}")
    assert there.do("PING") is True
    network.half_open()
    with there.client(socket_timeout=0.05) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    assert fragile.do("PING") is True
    network.resume()
    assert there.do("PING") is True


def test_a_server_stops_and_starts_with_an_empty_memory() -> None:
    with own_server() as server:
        url = server.url
        server.do("SET", "key", "gone")
        server.stop()
        assert refused(url)
        server.start()
        assert server.url == url
        assert server.do("GET", "key") is None
        server.kill()
        assert refused(url)
        server.start()
        assert server.do("PING") is True
        place = server.place
    assert refused(url)
    assert not place.exists()


def test_a_server_that_is_halted_answers_later() -> None:
    with own_server() as server, server.client(socket_timeout=0.05) as client:
        assert client.set("key", "kept")
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("key")
        server.resume()
        assert server.do("GET", "key") == "kept"
        server.pause()
    # And it has ended all the same.
    assert refused(server.url)


def test_a_server_that_can_not_start_says_why() -> None:
    with pytest.raises(ServerFailed, match="no-such-directive"), own_server("no-such-directive"):
        pass


def test_two_servers_at_once_are_two() -> None:
    with own_server() as one, own_server() as other:
        one.do("SET", "key", "one")
        assert other.do("GET", "key") is None


def test_no_server_outlives_a_test_run_that_is_killed() -> None:
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        url = run.stdout.readline().strip()
        assert Endpoint(url).do("PING") is True
        run.send_signal(signal.SIGKILL)
    until(lambda: refused(url), "the server's end")


def test_a_cluster_has_a_key_on_each_of_its_nodes(cluster: Cluster, prefix: str) -> None:
    cluster.until_ok()
    keys = [f"{prefix}{number}" for number in range(64)]
    found: dict[int, str] = {}
    for key in keys:
        found.setdefault(cluster.owner(key).port, key)
    assert set(found) == {node.port for node in cluster.nodes}
    for port, key in found.items():
        cluster.owner(key).do("SET", key, port)
        for node in cluster.nodes:
            assert node.do("ROLE")[0] == "master"
            if node.port == port:
                assert node.do("GET", key) == str(port)
            else:
                with pytest.raises(redis.exceptions.MovedError):
                    node.do("GET", key)


def test_a_node_that_is_killed_comes_back_to_its_cluster() -> None:
    with own_cluster() as cluster:
        node = cluster.owner("key")
        node.do("SET", "key", "gone")
        node.kill()
        node.start()
        cluster.until_ok()
        assert node.do("GET", "key") is None


def test_a_replica_takes_over_when_it_is_told(watched: Watched) -> None:
    first = watched.primary
    first.do("SET", "key", "kept")
    assert first.do("WAIT", 1, 5000) == 1
    second = watched.fail_over()
    assert second is watched.primary is not first
    assert watched.replica is first
    assert second.do("GET", "key") == "kept"


def test_a_replica_takes_over_from_a_primary_that_is_killed() -> None:
    with own_watched(sentinels=3) as watched:
        first, second = watched.primary, watched.replica
        first.kill()
        watched.until_primary(second)
        assert watched.primary is second
        assert second.do("SET", "key", "here") is True


def test_a_user_may_only_what_the_rules_say() -> None:
    with own_guarded("~mine:* +get +set") as guarded:
        assert guarded.user.do("SET", "mine:key", "1") is True
        for command in (("GET", "other"), ("FLUSHALL",), ("DEL", "mine:key")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                guarded.user.do(*command)
        guarded.allow("+del")
        assert guarded.user.do("DEL", "mine:key") == 1
        with pytest.raises(redis.AuthenticationError):
            Endpoint(f"redis://{guarded.admin.host}:{guarded.admin.port}").do("GET", "mine:key")


def test_a_server_with_tls_has_no_word_for_others() -> None:
    with own_tls_server() as server:
        assert server.do("PING") is True
        plain = Endpoint(server.url.replace("rediss:", "redis:"))
        with plain.client(socket_timeout=5) as client, pytest.raises(redis.ConnectionError):
            client.ping()
        # And clients who don't know its authority have none for it.
        with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
            Endpoint(server.url).do("PING")
