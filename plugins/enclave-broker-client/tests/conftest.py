"""One server for each module of tests, in a thread of its own: clients have no say in its loop.

Every line of a stream that a client reads in these tests is held against the wire protocol.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cut_proxy import Proxy, proxy_to
from enclave_broker_client import following
from server_thread import Server, served
from wire_schema import problems

from enclave_broker_core.events import Event


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal("asyncio") as portal:
        yield portal


@pytest.fixture(scope="module")
def server(portal: BlockingPortal) -> Iterator[Server]:
    """A broker with a sandbox and a few tools, for everybody."""
    with portal.wrap_async_context_manager(served(portal)) as server:
        yield server


@pytest.fixture
def proxy(portal: BlockingPortal, server: Server) -> Iterator[Proxy]:
    """Between a client and the server."""
    with portal.wrap_async_context_manager(proxy_to(server.url)) as proxy:
        yield proxy


@pytest.fixture
def raw_lines(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that clients have read, which were all what the protocol says."""
    lines: list[bytes] = []
    event_of = following.event_of

    def checked(line: bytes, session_id: str) -> Event:
        assert problems(line) == []
        lines.append(line)
        return event_of(line, session_id)

    monkeypatch.setattr(following, "event_of", checked)
    return lines


@pytest.fixture(autouse=True)
def every_line_is_checked(request: pytest.FixtureRequest) -> None:
    if "bad_server" not in request.fixturenames:
        request.getfixturevalue("raw_lines")
