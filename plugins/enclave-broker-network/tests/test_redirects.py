"""Redirects go through the same guard, and carry nothing to another origin."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from enclave_broker_network.errors import RefusedError
from enclave_broker_network.messages import OutboundRequest
from raw_http import Received, answer, raw_server
from reaching import reaching

pytestmark = pytest.mark.anyio

SECRETS = (
    ("Authorization", "Bearer hunter22"),
    ("Cookie", "session=hunter22"),
    ("X-Api-Key", "hunter22"),
)
HARMLESS = (("Accept", "text/x"), ("Accept-Language", "de"), ("User-Agent", "me"))


def leading(*locations: str, status: int = 302) -> Callable[[Received], bytes]:
    """Each request is led to the next place; the last one is answered."""
    left = list(locations)

    def handle(received: Received) -> bytes:
        if left:
            body = b"" if received.method == "HEAD" else b"moved"
            return answer(status, [("Location", left.pop(0))], body)
        return answer()

    return handle


@pytest.mark.parametrize(
    ("status", "method", "followed"),
    [
        (301, "GET", "GET"),
        (302, "GET", "GET"),
        (303, "GET", "GET"),
        (307, "GET", "GET"),
        (308, "GET", "GET"),
        (301, "HEAD", "HEAD"),
        (303, "HEAD", "HEAD"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "PUT", "GET"),
        (303, "DELETE", "GET"),
        (303, "QUERY", "GET"),
        (302, "QUERY", "QUERY"),
        (307, "PATCH", "PATCH"),
    ],
)
async def test_method_and_body_change_as_rfc_9110_says(
    status: int, method: str, followed: str
) -> None:
    body = b"body" if method in ("POST", "PUT", "PATCH", "QUERY") else None
    headers = (("Content-Type", "text/x"), ("Content-Language", "de"), *SECRETS)
    async with (
        raw_server(leading("/b?c=1", status=status)) as server,
        reaching(server) as outbound,
    ):
        request = OutboundRequest(method, f"{server.url}/a?secret", headers, body)
        response = await outbound.send(request)
    first, second = server.got
    assert (first.method, first.body) == (method, body or b"")
    kept = body if followed == method else None
    assert (second.method, second.target, second.body) == (followed, "/b?c=1", kept or b"")
    assert response.url == f"{server.url}/b?c=1"
    # To the same origin all goes that is not of a body which is gone.
    assert second.header("content-type") == ("text/x" if followed == method else None)
    assert second.header("content-language") == ("de" if followed == method else None)
    assert second.header("authorization") == "Bearer hunter22"
    assert second.header("x-api-key") == "hunter22"


async def test_another_origin_sees_no_credential() -> None:
    async with (
        raw_server(answer(body=b"there")) as there,
        raw_server(leading(f"{there.url}/x")) as here,
        reaching(here, there) as outbound,
    ):
        request = OutboundRequest("GET", f"{here.url}/?key=hunter22", SECRETS + HARMLESS)
        response = await outbound.send(request)
    assert (response.body, response.url) == (b"there", f"{there.url}/x")
    (got,) = there.got
    assert "hunter22" not in f"{got}"
    assert [item for item in got.headers if item in HARMLESS] == list(HARMLESS)
    assert "hunter22" in f"{here.got}"


async def test_credentials_do_not_come_back_with_the_request() -> None:
    async with raw_server(answer()) as home:

        def back(received: Received) -> bytes:
            return answer(302, [("Location", f"{home.url}/again")])

        async with (
            raw_server(back) as there,
            raw_server(leading(f"{there.url}/")) as here,
            reaching(here, there, home) as outbound,
        ):
            await outbound.send(OutboundRequest("GET", here.url, SECRETS))
    assert "hunter22" not in f"{there.got} {home.got}"
    assert len(home.got) == 1


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_does_not_go_to_another_origin(status: int) -> None:
    async with (
        raw_server(answer()) as there,
        raw_server(leading(f"{there.url}/x", status=status)) as here,
        reaching(here, there) as outbound,
    ):
        with pytest.raises(RefusedError, match="body"):
            await outbound.send(OutboundRequest("POST", here.url, body=b"hunter22"))
        assert there.connections == 0


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", "not among"),
        ("http://10.0.0.7/", "not among"),
        ("http://[::ffff:10.0.0.7]/", "not among"),
        ("//localhost:1/", "not among"),
        ("https://127.0.0.1/", "not among"),
        ("file:///etc/passwd", "does not begin"),
        ("gopher://127.0.0.1/", "does not begin"),
        ("http://2130706433/", "odd spelling"),
        ("/x/%2e%2e/%2e%2e/admin", "segment"),
        ("http://user:hunter22@127.0.0.1/", "password"),
        ("/a\\b", "no URL"),
        ("/a\tb", "no URL"),
    ],
)
async def test_a_redirect_that_leads_out_of_bounds_is_refused(location: str, reason: str) -> None:
    async with raw_server(leading(location)) as server, reaching(server) as outbound:
        with pytest.raises(RefusedError, match=reason) as caught:
            await outbound.send(OutboundRequest("GET", server.url, SECRETS))
    assert len(server.got) == 1
    assert "hunter22" not in caught.value.message


async def test_addresses_are_judged_again_at_each_redirect() -> None:
    async def names(host: str, port: int) -> list[str]:
        return {"a.example": ["127.0.0.1"], "b.example": ["10.0.0.7"]}[host]

    async with raw_server(leading("http://b.example/latest")) as server:
        port = server.port
        rules = {"hosts": ["*.example"], "ports": [port, 80]}
        async with reaching(resolver=names, **rules) as outbound:
            with pytest.raises(RefusedError, match=r"b\.example is refused: .*private"):
                await outbound.send(OutboundRequest("GET", f"http://a.example:{port}/"))


async def test_a_redirect_from_https_to_http_is_not_followed(
    tmp_path: Path,
) -> None:
    issuer = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(context)
    path = str(tmp_path / "ca.pem")
    issuer.cert_pem.write_to_path(path)
    async with (
        raw_server(answer()) as plain,
        raw_server(leading(plain.url), tls=context) as safe,
        reaching(safe, plain, ca_file=path) as outbound,
    ):
        with pytest.raises(RefusedError, match="https to http"):
            await outbound.send(OutboundRequest("GET", safe.url))
        assert plain.connections == 0


@pytest.mark.parametrize("most", [0, 1, 5])
async def test_redirects_are_counted(most: int) -> None:
    async with (
        raw_server(leading(*["/on"] * 20)) as server,
        reaching(server, max_redirects=most) as outbound,
    ):
        with pytest.raises(RefusedError, match=f"more than {most} redirects"):
            await outbound.send(OutboundRequest("GET", server.url))
    assert len(server.got) == most + 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (302, []),
        (304, [("Location", "/b")]),
        (300, [("Location", "/b")]),
        (201, [("Location", "/b")]),
    ],
)
async def test_what_is_no_redirect_is_an_answer(
    status: int, headers: list[tuple[str, str]]
) -> None:
    async with raw_server(answer(status, headers)) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url))
    assert response.status == status
    assert len(server.got) == 1


async def test_two_locations_are_none() -> None:
    said = answer(302, [("Location", "/a"), ("Location", "/b")])
    async with raw_server(said) as server, reaching(server) as outbound:
        with pytest.raises(RefusedError):
            await outbound.send(OutboundRequest("GET", server.url))
    assert len(server.got) == 1
