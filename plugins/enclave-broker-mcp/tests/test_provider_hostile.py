"""Servers that crash, hang, flood and lie: calls fail with clear errors, and nothing else does."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from enclave_broker_mcp.provider import connection, gate, health, keeper, pace, stdio
from enclave_broker_mcp.provider.config import McpConfig
from enclave_broker_mcp.provider.errors import ServerDownError, ServerError
from provider_fixtures import invoke, opened, raw, until

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ArgumentsError, PluginError, ResultTooLargeError, ToolError
from enclave_broker_core.testing.contexts import RecordingContext

pytestmark = pytest.mark.anyio

both = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend() -> str:
    """One loop, but for what is special to each."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a server's good will, or for better times, waits less."""
    monkeypatch.setattr(stdio, "PARTING", 0.1)
    monkeypatch.setattr(health, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(keeper, "LISTING_PAUSE", 0.01)


@both
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"start": "exit"}, "it ended with the code 7"),
        ({"start": "hang"}, "it did not start within 0.5 s"),
        ({"start": "flood"}, "it did not start within 0.5 s"),
        ({"start": "endless line"}, "it did not start within 0.5 s"),
        ({"version": "1999-01-01"}, "it speaks no revision of the protocol that is known here"),
        ({"list": "endless"}, "it lists its tools on more than 20 pages"),
        ({"list": "same"}, "it lists the same page again and again"),
        ({"list": "large"}, "what it lists has more than 10000 bytes"),
        ({"list": "broken"}, "what it lists are no tools as the protocol has them"),
    ],
    ids=str,
)
async def test_a_server_that_does_not_start_is_an_error_that_says_why(
    table: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST_PAGES", 20)
    monkeypatch.setattr(connection, "MOST_LISTED", 10_000)
    with pytest.raises(PluginError) as caught:
        async with opened(raw(table, start_timeout=0.5)):
            pass
    assert caught.value.message == f"raw can't be used: {reason}"


async def test_a_command_that_is_not_there_says_so() -> None:
    config = McpConfig(name="raw", command="no-such-program-here")
    with pytest.raises(PluginError, match="no-such-program-here can't be started: No such file"):
        async with opened(config):
            pass


async def test_one_that_is_not_required_is_tried_again(tmp_path: Any) -> None:
    """Its program is not there at first."""
    script = tmp_path / "server"
    config = raw(required=False)
    missing = config.model_copy(update={"command": str(script)})
    async with opened(missing) as provider:
        assert list(await provider.tools()) == []
        assert provider.health.state == "unhealthy"
        assert "can't be started" in provider.health.reason
        script.symlink_to(str(config.command))
        await until(lambda: provider.health.state == "healthy")
        assert await invoke(provider, "raw:echo", a=1) == {"a": 1}


async def test_what_a_dying_server_wrote_is_logged_without_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    config = raw({"start": "exit"}, env={"PASSWORD": "open-sesame-1"})
    with pytest.raises(PluginError):
        async with opened(config):
            pass
    assert "raw: no such database, password=[secret]" in caplog.messages
    assert "raw wrote at its end: no such database, password=[secret]" in caplog.messages
    assert "open-sesame" not in caplog.text


@both
async def test_a_server_that_crashes_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(raw()) as provider:
        tools = {tool.spec.name: tool for tool in await provider.tools()}
        async with anyio.create_task_group() as tasks:
            waiting: list[Exception] = []

            async def wait() -> None:
                try:
                    await invoke(provider, "raw:hang")
                except ServerDownError as problem:
                    waiting.append(problem)

            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(ServerDownError) as caught:
                await invoke(provider, "raw:die")
        assert caught.value.message == "the connection to raw broke: it ended with the code 3"
        assert (caught.value.code, caught.value.retryable) == ("TOOL_ERROR", True)
        assert [str(problem) for problem in waiting] == [caught.value.message]
        await until(lambda: provider.health.state == "stale")
        assert provider.health.failures == 1
        with pytest.raises(
            ServerDownError, match="raw can't be reached now: it ended with"
        ) as down:
            await invoke(provider, "raw:echo")
        assert down.value.retry_after is not None
        assert down.value.retry_after >= 1.0
        await until(lambda: provider.health.state == "healthy")
        # Those that a session still has go on working.
        echo = tools["raw:echo"]
        assert await echo.invoke(echo.validate(b"{}"), RecordingContext("raw:echo")) == {}
    assert "raw: it ended with the code 3; its tools stay as they were" in caplog.text


async def test_one_that_crashes_again_and_again_is_tried_ever_later() -> None:
    async with opened(raw()) as provider:
        for times in (1, 2, 3):
            with pytest.raises(ServerDownError):
                await invoke(provider, "raw:die")
            await until(lambda: provider.health.state == "stale")
            assert provider.health.failures == times
            await until(lambda: provider.health.state == "healthy")


@both
async def test_one_that_closes_its_output_is_not_waited_for() -> None:
    async with opened(raw()) as provider:
        with pytest.raises(ServerDownError, match="it closed its output"):
            await invoke(provider, "raw:close")


async def test_what_is_no_message_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(raw()) as provider:
        assert await invoke(provider, "raw:garbage") == "done"
        assert await invoke(provider, "raw:garbage") == "done"
    said = [text for text in caplog.messages if "no message" in text]
    assert said == ["raw writes to stdout what is no message; it is dropped"]


async def test_a_flood_of_messages_is_read_to_its_end_and_progress_is_thinned_out() -> None:
    context = RecordingContext("raw:flood")
    async with opened(raw()) as provider:
        began = time.monotonic()
        assert await invoke(provider, "raw:flood", context, times=2000) == "done"
        took = time.monotonic() - began
    assert len(context.log_entries) <= 2 * (2 + took / 0.2)


async def test_the_code_of_a_closed_connection_is_many_a_server_s_own() -> None:
    async with opened(raw()) as provider:
        with pytest.raises(ServerError, match="the server refuses the call: It is full") as caught:
            await invoke(provider, "raw:error", code=0, said="It is full")
        assert not isinstance(caught.value, ServerDownError)
        assert provider.health.state == "healthy"


async def test_what_nobody_asked_for_is_read_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waits = 100.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += seconds

    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(pace, "anyio", SimpleNamespace(sleep=sleep))
    one = pace.Pace(per_second=10.0, at_once=5.0)
    for _ in range(8):
        await one.spend()
    assert waits == pytest.approx([0.1, 0.1, 0.1])
    now += 100.0
    for _ in range(5):
        await one.spend()
    assert len(waits) == 3


@both
@pytest.mark.parametrize("where", [gate, stdio])
async def test_who_talks_too_much_waits_to_be_read(
    where: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = 0

    class Stopping(pace.Pace):
        async def spend(self) -> None:
            nonlocal spent
            spent += 1
            if spent == 100:
                await anyio.sleep_forever()

    monkeypatch.setattr(stdio if where is stdio else connection, "Pace", Stopping)
    async with opened(raw(start_timeout=0.5, required=False)) as provider:
        with anyio.move_on_after(0.3) as scope:
            for _ in range(100) if where is stdio else range(1):
                await invoke(provider, "raw:garbage" if where is stdio else "raw:flood", times=200)
        assert (scope.cancelled_caught, spent) == (True, 100)


@both
@pytest.mark.parametrize("place", ["ahead", "behind"])
async def test_an_answer_that_is_too_large_is_not_kept(place: str) -> None:
    async with opened(raw(max_message_bytes=100_000)) as provider:
        assert len(await invoke(provider, "raw:huge", size=90_000)) == 90_000
        for size in (100_000, 5_000_000):
            with pytest.raises(ResultTooLargeError, match="it has more than 100000 bytes"):
                await invoke(provider, "raw:huge", size=size, id=place)
        assert await invoke(provider, "raw:echo", a=1) == {"a": 1}


async def test_an_answer_that_is_too_deep_is_an_error_of_its_call() -> None:
    async with opened(raw()) as provider:
        with pytest.raises(ServerError, match="it is no answer that can be read"):
            await invoke(provider, "raw:deep", levels=100_000)
        assert await invoke(provider, "raw:echo", a=1) == {"a": 1}


async def test_a_schema_that_takes_years_to_check_by_takes_no_time(tmp_path: Path) -> None:
    """Neither here nor in the SDK, which checks by Python's regular expressions."""
    slow = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    tool = {"name": "echo", "inputSchema": slow, "outputSchema": slow}
    (tmp_path / "tools.json").write_text(json.dumps([tool]))
    async with opened(raw({"tools": str(tmp_path / "tools.json")})) as provider:
        assert await invoke(provider, "raw:echo", a="aa") == {"a": "aa"}
        with pytest.raises(ArgumentsError):
            await invoke(provider, "raw:echo", a="a" * 60 + "!")
        (echo,) = await provider.tools()
        with pytest.raises(ServerError, match="does not fit the tool's own output schema: a: "):
            await echo.invoke({"a": "a" * 60 + "!"}, RecordingContext("raw:echo"))


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"content": "text"},
        {"content": [{"type": "unheard-of"}]},
        {"content": [{"type": "text"}]},
        {"content": [], "isError": "perhaps"},
    ],
    ids=str,
)
async def test_a_result_that_the_protocol_does_not_have_is_an_error(result: Any) -> None:
    async with opened(raw()) as provider:
        with pytest.raises(ServerError, match="answer is none that the protocol has"):
            await invoke(provider, "raw:odd", result=result)


async def test_an_error_of_the_protocol_is_an_error_with_what_the_server_says() -> None:
    async with opened(raw()) as provider:
        with pytest.raises(ToolError) as caught:
            await invoke(provider, "raw:error", code=99, said="No\u202e \x1b[31msuch " + "x" * 9000)
    said = caught.value.message
    assert said.startswith("the server refuses the call: No [31msuch xxx")
    assert len(said) < 2100
    assert not caught.value.retryable


@both
async def test_one_that_asks_and_reads_no_answer_is_given_up() -> None:
    async with opened(raw()) as provider:
        with pytest.raises(ServerDownError, match="it has asked more than 32 things"):
            await invoke(provider, "raw:pings", times=100_000)
        await until(lambda: provider.health.state == "healthy")


@both
async def test_a_call_that_is_never_answered_is_cancelled_and_the_server_hears_of_it() -> None:
    async with opened(raw()) as provider:
        with anyio.move_on_after(0.2):
            await invoke(provider, "raw:hang")
        seen = (await invoke(provider, "raw:seen"))["seen"]
        assert seen[1:] == ["notifications/initialized", "notifications/cancelled"]


async def test_much_on_stderr_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with opened(raw()) as provider:
        await invoke(provider, "raw:log", times=5000, said="a \x1b[1mline\u202e " + "x" * 1000)
    lines = [text for text in caplog.messages if "line" in text and "xxx" in text]
    assert 50 <= len(lines) <= 60
    assert all(len(text) < 520 and "\x1b" not in text and "\u202e" not in text for text in lines)


async def test_of_ten_thousand_tools_some_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(raw({"list": "many"}, max_tools=1500)) as provider:
        assert len(await provider.tools()) == 1500
    assert "raw: it: has more than 1500 tools; the rest is left out" in caplog.messages


async def test_one_that_lists_ever_new_names_is_connected_anew() -> None:
    """What the session keeps of each name has an end then."""
    async with opened(raw({"list": "fresh"}, max_tools=20, refresh=0.01)) as provider:
        await until(lambda: provider.health.state == "stale")
        assert provider.health.reason == "it lists ever new names"


@both
async def test_nothing_of_a_server_is_left_when_the_provider_closes(tmp_path: Any) -> None:
    context = OpenContext("raw", base_dir=str(tmp_path))
    script = tmp_path / "server.sh"
    # A shell that starts the server and another program, which does not read its input.
    script.write_text('#!/bin/sh\nsleep 300 &\necho $! > pid\n"$@"\n')
    script.chmod(0o755)
    plain = raw()
    config = plain.model_copy(
        update={"command": str(script), "args": (str(plain.command), *plain.args)}
    )
    async with opened(config, context) as provider:
        assert await invoke(provider, "raw:echo", a=1) == {"a": 1}
        pid = int((tmp_path / "pid").read_text())
        assert _runs(pid)
    await until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
