"""The audit log: a line for each call, each start and each end; what can't be written is told."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from enclave_broker_core import (
    AccessController,
    AuditLog,
    Broker,
    BrokerError,
    ConfigError,
    Decision,
    Observation,
    OpenContext,
    PluginError,
    Principal,
    SessionFinished,
    SessionStarted,
    ToolCall,
    Verdict,
)
from enclave_broker_core.audit import AUDIT, AuditConfig, open_audit
from enclave_broker_core.contracts import AccessRequest, CallNext

pytestmark = pytest.mark.anyio

WHO = Principal(id="ann", tenant="x", roles=frozenset({"user"}))


def audited(audit: Any, **options: Any) -> Broker:
    rules = [{"pattern": "admin:*", "allow": False}]
    broker = Broker(access=AccessController(rules, default="allow"), audit=audit, **options)

    @broker.tool("add")
    async def add(a: int, b: int) -> int:
        return a + b

    broker.tool("admin:stop")(lambda: None)
    return broker


async def fails(session: Any, name: str, args: dict[str, Any] | None = None) -> str:
    with pytest.raises(BrokerError) as caught:
        await session.call(name, args)
    return caught.value.code


async def test_lines() -> None:
    stream = io.BytesIO()
    async with audited(AuditLog(stream)) as broker:
        async with broker.session(principal=WHO) as session:
            assert await session.call("add", {"a": 1, "b": 2}) == 3
            await fails(session, "admin:stop")
            await fails(session, "no such tool")
            await fails(session, "add", {"a": "a hidden value"})
        async with broker.session() as anonymous:
            await anonymous.cancel("why")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("at"))
        if line["event"] == "call":
            assert isinstance(line.pop("durationMs"), int)
            assert line.pop("call").startswith("c_")
    nothing = hashlib.sha256(b"{}").hexdigest()
    who = {"session": session.id, "principal": "ann", "tenant": "x"}
    call = {"event": "call", **who}
    assert lines == [
        {"event": "session_started", **who},
        {
            **call,
            "tool": "add",
            "decision": "allow",
            "rule": "default",
            "outcome": "ok",
            "argumentsSha256": hashlib.sha256(b'{"a":1,"b":2}').hexdigest(),
        },
        {
            **call,
            "tool": "admin:stop",
            "decision": "deny",
            "rule": "rules[0] admin:*",
            "outcome": "refused",
            "code": "ACCESS_DENIED",
            "argumentsSha256": nothing,
        },
        {
            **call,
            "tool": "no such tool",
            "outcome": "refused",
            "code": "UNKNOWN_TOOL",
            "argumentsSha256": nothing,
        },
        {
            **call,
            "tool": "add",
            "decision": "allow",
            "rule": "default",
            "outcome": "refused",
            "code": "VALIDATION_ERROR",
            "argumentsSha256": hashlib.sha256(b'{"a":"a hidden value"}').hexdigest(),
        },
        {"event": "session_ended", **who, "state": "completed", "toolCalls": 4},
        {"event": "session_started", "session": anonymous.id},
        {
            "event": "session_ended",
            "session": anonymous.id,
            "state": "cancelled",
            "code": "SESSION_CANCELLED",
            "toolCalls": 0,
        },
    ]
    assert b"hidden" not in stream.getvalue()


async def test_the_rule_that_let_a_call_in_may_be_one_on_its_arguments() -> None:
    class Small:
        judges_arguments = True

        async def decide(self, request: AccessRequest) -> Decision:
            return Decision(Verdict.ALLOW, "small numbers")

    stream = io.BytesIO()
    broker = Broker(access=Small(), audit=AuditLog(stream))
    broker.tool("add")(lambda a, b: a + b)
    async with broker, broker.session() as session:
        assert await session.call("add", {"a": 1, "b": 2}) == 3
    called = json.loads(stream.getvalue().splitlines()[1])
    assert (called["decision"], called["rule"]) == ("allow", "small numbers")


async def test_a_call_that_middleware_answers_is_in_it_too() -> None:
    async def answers(call: ToolCall, call_next: CallNext) -> str:
        return "cached"

    stream = io.BytesIO()
    broker = audited(AuditLog(stream), middleware=[answers])
    async with broker, broker.session() as session:
        assert await session.call("add") == "cached"
    assert b'"tool":"add"' in stream.getvalue()


async def test_a_line_is_written_before_the_caller_has_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("what was there\n")
    config = AuditConfig(path=Path("audit.jsonl"), sync=True)
    part = open_audit(config, OpenContext("audit", str(tmp_path)))
    async with audited(part) as broker, broker.session() as session:
        await session.call("add", {"a": 1, "b": 2})
        lines = path.read_text().splitlines()
        assert lines[0] == "what was there"
        assert [json.loads(line)["event"] for line in lines[1:]] == ["session_started", "call"]


async def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    context = OpenContext("audit", str(tmp_path))
    async with open_audit(AuditConfig(path=Path("new.jsonl")), context):
        mode = stat.S_IMODE((tmp_path / "new.jsonl").stat().st_mode)
    assert mode == 0o600


async def test_a_file_that_can_not_be_opened_stops_the_start(tmp_path: Path) -> None:
    config = AuditConfig(path=tmp_path / "none" / "audit.jsonl")
    with pytest.raises(ConfigError, match="can't be opened: No such file or directory"):
        async with audited(open_audit(config, OpenContext("audit"))):
            pass


def test_a_file_needs_a_path() -> None:
    with pytest.raises(ValueError, match='to = "file" needs a path'):
        AuditConfig()
    assert AUDIT.config_model is AuditConfig


async def test_to_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    part = open_audit(AuditConfig(to="stdout"), OpenContext("audit"))
    async with audited(part) as broker, broker.session() as session:
        await session.call("add", {"a": 1, "b": 2})
    out = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["event"] for line in out] == [
        "session_started",
        "call",
        "session_ended",
    ]


class Full:
    """An audit log whose disk is full for one kind of observation."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    async def observe(self, observation: Observation) -> None:
        if isinstance(observation, self.kind):
            raise OSError("no space left")


async def test_a_call_that_can_not_be_audited_fails() -> None:
    full = Full(object)
    async with audited(full) as broker:
        with pytest.raises(PluginError, match="the audit log can't be written: no space left"):
            await broker.create_session()
        assert broker.stats().open_sessions == 0
        full.kind = ()
        async with broker.session() as session:
            full.kind = object
            assert await fails(session, "add", {"a": 1, "b": 2}) == "PLUGIN_ERROR"
            full.kind = ()
            assert await session.call("add", {"a": 1, "b": 2}) == 3


async def test_an_end_that_can_not_be_audited_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with audited(Full(SessionFinished)) as broker:
        session = await broker.create_session(timeout=0.02)
        await session.ended.wait()
        async with broker.session() as other:
            assert await other.call("add", {"a": 1, "b": 2}) == 3
        assert other.state.value == "completed"
    assert caplog.text.count("the audit log can't be written") >= 2


async def test_a_session_that_can_not_be_audited_is_not_given() -> None:
    async with audited(Full(SessionStarted)) as broker:
        with pytest.raises(PluginError):
            await broker.create_session(session_id="s_x")
        assert (await broker.get_session("s_x")).state.value == "cancelled"


async def test_a_closed_stream_is_the_calls_error(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "a", os.O_CREAT | os.O_WRONLY)
    stream = os.fdopen(descriptor, "ab")
    async with audited(AuditLog(stream)) as broker, broker.session() as session:
        stream.close()
        assert await fails(session, "add", {"a": 1, "b": 2}) == "PLUGIN_ERROR"
