"""The protocol's own conformance suite, over a broker that is served, and over its client."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_served import served
from npm_programs import NpmPrograms

from enclave_broker_core import Broker, ToolContext

pytestmark = pytest.mark.anyio
PATIENCE = 60.0

PASSED = {
    "server-initialize",
    "logging-set-level",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-with-logging",
    "tools-call-error",
    "tools-call-with-progress",
    "json-schema-2020-12",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
}
NO_RESOURCES = "a broker has tools, and no resources"
NO_PROMPTS = "a broker has tools, and no prompts"
NO_QUESTIONS = "a tool of the broker's asks the client nothing: its rules are asked before it runs"
NOT_OURS = {
    "server-sse-polling": "an answer that broke off is not resumed: the SDK keeps events of its own"
    " for that, and a call's result is in the log of its session",
    "completion-complete": "there is nothing to complete but arguments of prompts and resources",
    "tools-call-sampling": NO_QUESTIONS,
    "tools-call-elicitation": NO_QUESTIONS,
    "elicitation-sep1034-defaults": NO_QUESTIONS,
    "elicitation-sep1330-enums": NO_QUESTIONS,
    "resources-list": NO_RESOURCES,
    "resources-read-text": NO_RESOURCES,
    "resources-read-binary": NO_RESOURCES,
    "resources-templates-read": NO_RESOURCES,
    "resources-subscribe": NO_RESOURCES,
    "resources-unsubscribe": NO_RESOURCES,
    "prompts-list": NO_PROMPTS,
    "prompts-get-simple": NO_PROMPTS,
    "prompts-get-with-args": NO_PROMPTS,
    "prompts-get-embedded-resource": NO_PROMPTS,
    "prompts-get-with-image": NO_PROMPTS,
}

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}
TEXT_RESOURCE = {"uri": "test://text", "mimeType": "text/plain", "text": "It is embedded."}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}


def giving(value: Any) -> Callable[[], Awaitable[Any]]:
    async def give() -> Any:
        """Give what it always gives."""
        return value

    return give


def add_tools(broker: Broker) -> None:
    """What the suite's scenarios call."""
    contents: dict[str, Any] = {
        "test_simple_text": "This is a simple text response for testing.",
        "test_image_content": [IMAGE],
        "test_audio_content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}],
        "test_embedded_resource": [{"type": "resource", "resource": TEXT_RESOURCE}],
        "test_multiple_content_types": [
            {"type": "text", "text": "Text, an image and a resource:"},
            IMAGE,
            {"type": "resource", "resource": TEXT_RESOURCE},
        ],
    }

    for name, value in contents.items():
        broker.tool(name)(giving(value))

    @broker.tool("json_schema_2020_12_tool", schema=SCHEMA, description="Has it.")
    async def of_schema(**given: Any) -> Any:
        return given

    @broker.tool("test_error_handling")
    async def error() -> None:
        """Fail."""
        raise ValueError("This tool intentionally returns an error for testing")

    @broker.tool("test_tool_with_progress")
    async def progress(context: ToolContext) -> str:
        """Say how far it is."""
        for done in (1, 50, 100):
            await context.progress("processing", bytes_received=done, total_bytes=100)
        return "done"

    @broker.tool("test_tool_with_logging")
    async def logging(context: ToolContext) -> str:
        """Say what it does."""
        for said in ("started", "processing data", "completed"):
            await context.log("info", said)
        return "done"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What a program of the suite says; its exit code counts scenarios that are not ours, too."""
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(command, check=False, env=environment)
    return (done.stdout + done.stderr).decode()


def outcomes(folder: Path) -> dict[str, list[str]]:
    """Each scenario that was run, with what its checks found wrong."""
    found: dict[str, list[str]] = {}
    for path in folder.rglob("checks.json"):
        name = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.name)
        checks = json.loads(path.read_text())
        assert checks, f"{name} checked nothing"
        found[name.removeprefix("server-")] = [
            f"{check['id']}: {check.get('errorMessage')}"
            for check in checks
            if check["status"] not in ("SUCCESS", "INFO", "SKIPPED")
        ]
    return found


async def test_a_served_broker(npm: NpmPrograms, tmp_path: Path) -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, served(broker, authenticators=()) as server:
        said = await run(
            [
                *npm.command("conformance"),
                *("server", "--url", server.mcp, "--suite", "all", "-o", str(tmp_path)),
            ]
        )
    found = outcomes(tmp_path)
    assert set(found) == PASSED | set(NOT_OURS), said
    wrong = {name: problems for name, problems in found.items() if problems}
    assert [f"{name}: {wrong[name]}" for name in PASSED & set(wrong)] == []
    assert set(wrong) == set(NOT_OURS), "these pass by now"


@pytest.mark.parametrize("scenario", ["initialize", "tools_call", "sse-retry"])
async def test_the_provider_as_a_client(scenario: str, npm: NpmPrograms, tmp_path: Path) -> None:
    client = f"{sys.executable} {Path(__file__).with_name('conformance_client.py')}"
    said = await run(
        [
            *npm.command("conformance"),
            *("client", "--command", client, "--scenario", scenario, "-o", str(tmp_path)),
        ]
    )
    assert outcomes(tmp_path) == {scenario: []}, said
