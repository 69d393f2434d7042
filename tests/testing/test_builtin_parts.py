"""The parts of the core keep their contracts."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from enclave_broker_core.access import AccessController, RulesConfig, open_rules
from enclave_broker_core.audit import AuditConfig, AuditLog, open_audit
from enclave_broker_core.contracts import (
    AccessPolicy,
    AccessRequest,
    EventSink,
    Middleware,
    OpenContext,
    SecretSource,
    ToolProvider,
)
from enclave_broker_core.logs import LoggingConfig, LoggingMiddleware, open_logging
from enclave_broker_core.models import Principal
from enclave_broker_core.python_tools import PythonToolsConfig, open_python_tools
from enclave_broker_core.secrets import EnvironmentSecrets
from enclave_broker_core.testing.middleware import MiddlewareSuite
from enclave_broker_core.testing.policies import AccessPolicySuite
from enclave_broker_core.testing.providers import Example, ToolProviderSuite
from enclave_broker_core.testing.secret_sources import SecretSourceSuite
from enclave_broker_core.testing.sinks import EventSinkSuite

ADMIN = Principal(id="ada", roles=frozenset({"admin"}), attributes={"team": ["a", {"b": 1}]})


class TestAccessController(AccessPolicySuite):
    allowed = AccessRequest("admin:reset", ADMIN, "s_1", {"plan": ["free"]})
    refused = AccessRequest("admin:reset", Principal(id="bob", roles=frozenset({"user"})))

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        yield AccessController(
            [{"pattern": "admin:*", "allow": False, "unless": {"role": "admin"}}], default="allow"
        )


class TestAccessControllerThatAsks(AccessPolicySuite):
    """By attributes, and from a configuration."""

    allowed = AccessRequest("files:read:a", ADMIN)
    refused = AccessRequest("files:read:a", Principal(id="ada"))

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        rule = {
            "pattern": "files:*:{a,b}",
            "allow": "ask",
            "unless": {"team": ["a", {"b": 1}]},
        }
        config = RulesConfig.model_validate({"default": "deny", "rules": [rule]})
        async with open_rules(config, OpenContext("access")) as policy:
            yield policy


class TestLoggingMiddleware(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield LoggingMiddleware()


class TestLoggingMiddlewareOfAConfiguration(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        async with open_logging(LoggingConfig(level="debug"), OpenContext("logging")) as opened:
            yield opened


class Full(io.RawIOBase):
    """A disk without room."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError(28, "no space left on device")


class TestAuditLog(EventSinkSuite):
    @asynccontextmanager
    async def open_sink(self) -> AsyncIterator[EventSink]:
        self.stream = io.BytesIO()
        yield AuditLog(self.stream)

    async def noted(self, sink: EventSink) -> Sequence[str]:
        return self.stream.getvalue().decode().splitlines()

    @asynccontextmanager
    async def open_broken_sink(self) -> AsyncIterator[EventSink]:
        yield AuditLog(io.BufferedWriter(Full(), 1))  # type: ignore[arg-type]


class TestAuditLogOfAConfiguration(EventSinkSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def open_sink(self) -> AsyncIterator[EventSink]:
        config = AuditConfig(path=Path("audit.jsonl"), sync=True)
        async with open_audit(config, OpenContext("audit", str(self.folder))) as sink:
            yield sink

    async def noted(self, sink: EventSink) -> Sequence[str]:
        return (self.folder / "audit.jsonl").read_text().splitlines()


class TestEnvironmentSecrets(SecretSourceSuite):
    known: ClassVar = {"API_TOKEN": "tok-93f1a2", "API_KEY": "key-5b77c0"}

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        with pytest.MonkeyPatch.context() as self.environment:
            for name, value in self.known.items():
                self.environment.setenv(name, value)
            yield EnvironmentSecrets()

    async def rotate(self, name: str, value: str) -> None:
        self.environment.setenv(name, value)


TOOLS = '''
from datetime import date
import anyio
from pydantic import BaseModel, Field
from enclave_broker_core import ToolContext, tool

running = []

class Order(BaseModel):
    item: str
    count: int = Field(gt=0)
    due: date | None = None

@tool("users:get")
async def get_user(id: int, ctx: ToolContext) -> dict[str, object]:
    """Look a user up."""
    return {"id": id, "tool": ctx.tool}

@tool("join", secrets=["GLUE"])
def join(words: list[str], ctx: ToolContext) -> str:
    return ctx.secret("GLUE").join(words)

@tool("orders:add", model=Order)
async def add(order: Order) -> Order:
    return order

@tool("rows")
async def rows(count: int, **more: int):
    for row in range(count):
        yield row + sum(more.values())

@tool("wait")
async def wait(seconds: float) -> None:
    running.append(seconds)
    try:
        await anyio.sleep(seconds)
    finally:
        running.pop()

@tool("files:*")
async def files(name: str, args: dict) -> list:
    return [name, args]
'''


BY_SCHEMA = """
from enclave_broker_core import tool

@tool("raw", schema={"properties": {"tags": {"type": "array", "items": {"type": "integer"}}}})
async def raw(arguments: dict) -> list:
    return [len(arguments["tags"])]
"""


class PythonToolsSuite(ToolProviderSuite):
    text = ""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Iterator[None]:
        (tmp_path / "suite_tools.py").write_text(self.text)
        self.folder = tmp_path
        before = set(sys.modules)
        yield
        for name in set(sys.modules) - before:
            if "suite_tools" in name:
                del sys.modules[name]

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        config = PythonToolsConfig(module="suite_tools.py")
        async with open_python_tools(config, OpenContext("mine", str(self.folder))) as provider:
            yield provider


class TestPythonTools(PythonToolsSuite):
    text = TOOLS
    examples = (
        Example(
            "users:get",
            {"id": 1},
            {"id": 1, "tool": "users:get"},
            {"id": "no number at all"},
            "id",
        ),
        Example("join", {"words": ["a", "b"]}, "a--b", {"words": {"a": "list it is not"}}, "words"),
        Example(
            "orders:add",
            {"item": "tea", "count": 2, "due": "2026-02-03"},
            {"item": "tea", "count": 2, "due": "2026-02-03"},
            {"item": "tea", "count": "plenty of it"},
            "count",
        ),
        Example("rows", {"count": 2, "more": 5}, [5, 6], {"count": "plenty of it"}, "count"),
    )
    waiting = ("wait", {"seconds": 600})
    secrets: ClassVar = {"GLUE": "--"}

    def running(self) -> int:
        (module,) = (found for name, found in sys.modules.items() if "suite_tools" in name)
        return len(module.running)


class TestPythonToolsBySchema(PythonToolsSuite):
    text = BY_SCHEMA
    examples = (Example("raw", {"tags": [1, 2]}, [2], {"tags": ["text and no number"]}, "tags"),)
