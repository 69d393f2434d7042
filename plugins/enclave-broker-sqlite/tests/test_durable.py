"""A durable run goes on in the next process, from the state that the file has of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import anyio
import killed_run
import pytest
from sqlite_files import Configure

from enclave_broker_core import Broker, Event
from enclave_broker_core.errors import StoreError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Monty runs on one of them."""
    return "asyncio"


def killed_in_a_run(path: str) -> str:
    """The id of a session whose process was killed while its code waited for a tool."""
    program = [sys.executable, killed_run.__file__, path]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        session_id = process.stdout.readline().strip()
        process.kill()
    assert session_id.startswith("s_")
    return session_id


async def until_done(broker: Broker, session_id: str) -> Sequence[Event]:
    """The log, up to what the run came to."""
    while True:
        try:
            session = await broker.get_session(session_id)
            break
        except StoreError:  # it is being taken up, which nothing tells
            await anyio.sleep(0.005)
    found = []
    async for event in session.events():
        found.append(event)
        if event.type in ("partial_result", "final"):
            break
    return found


async def test_a_durable_run_goes_on_after_its_process_was_killed(configure: Configure) -> None:
    path = configure().path
    session_id = killed_in_a_run(path)
    tools = killed_run.Tools(held=False)
    with anyio.fail_after(60):
        async with killed_run.broker(path, tools) as broker:
            log = await until_done(broker, session_id)
    assert tools.calls == ["slow"]
    assert log[-1].payload["data"] == [3, 30]
    kinds = [event.type for event in log]
    assert kinds.count("tool_call") == kinds.count("tool_result_applied") == 2
    assert [e.payload["chunk"] for e in log if e.type == "stdout"] == ["first 3\n", "second 30\n"]
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
