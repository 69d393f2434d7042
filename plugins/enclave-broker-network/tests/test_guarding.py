"""Whom a request may reach: scheme, host, port, and the address that is connected to."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream
from enclave_broker_network.errors import RefusedError, UnreachableError, UntrustedError
from enclave_broker_network.messages import OutboundRequest
from enclave_broker_network.outbound import open_outbound
from enclave_broker_network.rules import NetworkRules
from pydantic import ValidationError
from raw_http import RawServer, answer, raw_server
from reaching import reaching

from enclave_broker_core import ConfigError

pytestmark = pytest.mark.anyio


class Names:
    """A resolver that knows some names, and gives the next answer each time it is asked."""

    def __init__(self, **known: Sequence[Sequence[str]]) -> None:
        self._known = {name.replace("_", "."): list(answers) for name, answers in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self._known.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def get(url: str) -> OutboundRequest:
    return OutboundRequest("GET", url)


@pytest.mark.parametrize(
    ("rules", "url", "reason"),
    [
        ({}, "https://a.example/", "host is not among"),
        ({"hosts": ["b.example"]}, "https://a.example/", "host is not among"),
        ({"hosts": ["*.a.example"]}, "https://a.example/", "host is not among"),
        ({"hosts": ["a.example"]}, "http://a.example/", "http is not among"),
        ({"hosts": ["a.example"]}, "https://a.example:8443/", "port 8443 is not among"),
        ({"hosts": ["a.example"]}, "ftp://a.example/", "does not begin with"),
        ({"hosts": ["*"]}, "https://127.0.0.1/", "loopback"),
        ({"hosts": ["*"]}, "https://[::1]/", "loopback"),
        ({"hosts": ["*"]}, "https://[::ffff:10.0.0.1]/", "private"),
        ({"hosts": ["*"]}, "https://169.254.169.254/latest/", "metadata"),
        ({"hosts": ["*"], "allow_private": ["link-local"]}, "https://169.254.169.254/", "metadata"),
        ({"hosts": ["*"]}, "https://localhost/", "loopback"),
        ({"hosts": ["*"]}, "https://inner.example/", "private"),
        ({"hosts": ["*"]}, "https://both.example/", "private"),
        ({"hosts": ["*"]}, "https://0x7f.1/", "odd spelling"),
        ({"hosts": ["*"]}, "https://odd.example/", "no address"),
    ],
)
async def test_what_the_rules_do_not_list_is_refused(
    rules: dict[str, Any], url: str, reason: str
) -> None:
    names = Names(
        a_example=[["93.184.216.34"]],
        localhost=[["127.0.0.1"]],
        inner_example=[["10.0.0.7"]],
        both_example=[["93.184.216.34", "10.0.0.7"]],
        odd_example=[["127.1"]],
    )
    async with open_outbound(NetworkRules(**rules), resolver=names) as outbound:
        with pytest.raises(RefusedError, match=reason) as caught:
            await outbound.send(get(f"{url}path?key=hunter22"))
    assert "hunter22" not in f"{caught.value.to_wire()}"
    assert "10.0.0.7" not in caught.value.message


async def test_what_the_operator_wrote_is_reached_and_nothing_else_of_that_host() -> None:
    async with (
        raw_server(answer()) as server,
        raw_server(answer()) as other,
        reaching(server) as outbound,
    ):
        await outbound.send(get(server.url))
        with pytest.raises(RefusedError):
            await outbound.send(get(other.url))
    assert (server.connections, other.connections) == (1, 0)


async def test_listed_hosts_are_reached_on_listed_ports() -> None:
    names = Names(api_a_example=[["127.0.0.1"]])
    async with (
        raw_server(answer()) as server,
        reaching(resolver=names, hosts=["*.A.example"], ports=[server.port]) as outbound,
    ):
        url = f"http://api.a.example:{server.port}/"
        await outbound.send(get(url))
    assert server.got[0].header("host") == f"api.a.example:{server.port}"


async def test_a_name_that_changes_its_answer_is_judged_by_what_is_connected_to() -> None:
    names = Names(a_example=[["127.0.0.1"], ["10.0.0.7"]])
    async with raw_server(answer()) as server:
        origin = RawServer(server.port)
        async with reaching(resolver=names, hosts=["a.example"], ports=[server.port]) as outbound:
            url = f"http://a.example:{origin.port}/"
            await outbound.send(get(url))
            assert (names.asked, server.connections) == (["a.example"], 1)
            # The connection that was judged is used again, and the name not asked for.
            await outbound.send(get(url))
            assert (names.asked, server.connections) == (["a.example"], 1)
        async with reaching(resolver=names, hosts=["a.example"], ports=[server.port]) as outbound:
            with pytest.raises(RefusedError, match="private"):
                await outbound.send(get(url))
    assert (names.asked, server.connections) == (["a.example"] * 2, 1)


async def test_the_system_looks_a_name_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[object] = []
    really = socket.getaddrinfo

    def look_up(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host in (b"twice.example", "twice.example"):
            looked_up.append(host)
            # Whoever looks it up again is led elsewhere.
            host = "127.0.0.1" if len(looked_up) == 1 else "127.0.0.2"
        return really(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with (
        raw_server(answer(body=b"here")) as server,
        reaching(hosts=["twice.example"], ports=[server.port]) as outbound,
    ):
        response = await outbound.send(get(f"http://twice.example:{server.port}/"))
    assert response.body == b"here"
    assert len(looked_up) == 1


async def test_the_next_address_is_tried_when_one_can_not_be_reached() -> None:
    names = Names(a_example=[["127.0.0.2", "::1", "127.0.0.1"]])
    async with (
        raw_server(answer(body=b"third")) as server,
        reaching(resolver=names, hosts=["a.example"], ports=[server.port]) as outbound,
    ):
        response = await outbound.send(get(f"http://a.example:{server.port}/"))
    assert response.body == b"third"


async def test_a_name_without_an_address_can_not_be_reached() -> None:
    async with reaching(resolver=Names(), hosts=["*"]) as outbound:
        with pytest.raises(UnreachableError, match=r"a\.example can't be looked up"):
            await outbound.send(get("https://a.example/?key=hunter22"))
    async with reaching(resolver=Names(a_example=[[]]), hosts=["*"]) as outbound:
        with pytest.raises(UnreachableError, match="no address"):
            await outbound.send(get("https://a.example/"))


async def test_a_refusal_leaves_no_connection_behind() -> None:
    names = Names(a_example=[["10.0.0.7"]])
    async with reaching(resolver=names, hosts=["*"], max_connections=1) as outbound:
        for _ in range(3):
            with pytest.raises(RefusedError, match="private"):
                await outbound.send(get("https://a.example/"))


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS as a.example, and the file with whom to trust."""
    issuer = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("a.example").configure_cert(context)
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    issuer.cert_pem.write_to_path(path)
    return context, path


async def test_tls_verifies_the_name_though_an_address_is_connected_to(
    authority: tuple[ssl.SSLContext, Path],
) -> None:
    context, trusted = authority
    names = Names(a_example=[["127.0.0.1"]], b_example=[["127.0.0.1"]])
    async with raw_server(answer(body=b"safe"), tls=context) as server:
        rules = {"hosts": ["*"], "ports": [server.port]}
        async with reaching(resolver=names, ca_file=str(trusted), **rules) as outbound:
            response = await outbound.send(get(f"https://a.example:{server.port}/"))
            assert response.body == b"safe"
            for host in ("b.example", "127.0.0.1"):
                with pytest.raises(UntrustedError, match=r"certificate of (b\.example|127)"):
                    await outbound.send(get(f"https://{host}:{server.port}/"))
        async with reaching(resolver=names, **rules) as outbound:
            with pytest.raises(UntrustedError, match="certificate"):
                await outbound.send(get(f"https://a.example:{server.port}/"))
    assert [one.target for one in server.got] == ["/"]


async def test_what_speaks_no_tls_can_not_be_reached() -> None:
    async def greet(stream: SocketStream) -> None:
        async with stream:
            await stream.send(b"220 mail.example\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, greet)
        async with reaching(hosts=["*"], ports=[port]) as outbound:
            with pytest.raises(UnreachableError, match="TLS with 127"):
                await outbound.send(get(f"https://127.0.0.1:{port}/"))
        tasks.cancel_scope.cancel()


async def test_a_file_of_certificates_is_read_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=path.name):
            async with reaching(ca_file=str(path)):
                pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"schemes": ["ftp"]},
        {"hosts": ["[a"]},
        {"ports": [0]},
        {"allow_private": ["everything"]},
        {"max_bytes": 0},
        {"timeouts": {"connect": -1}},
        {"unknown": 1},
    ],
)
def test_wrong_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NetworkRules(**wrong)
