"""A small RuntimeHost that records, for tests of runtimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
from pydantic import JsonValue

from enclave_broker_core.errors import (
    RateLimitedError,
    ResultTooLargeError,
    ToolError,
    UnknownToolError,
)
from enclave_broker_core.events import Level
from enclave_broker_core.json_form import json_text, parse
from enclave_broker_core.models import SessionLimits, ToolSpec


def _schema(**properties: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} if kind else {} for name, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


class RecordingHost:
    """Offers a few tools to a sandbox and notes, in order, what the sandbox does.

    ``log`` holds ``("call", tool, arguments)``, ``("stdout", text)`` and, with the level
    first, what was logged. The tools:
    ``test:echo(value)`` gives its argument back, ``test:add(a, b)`` the sum,
    ``test:fail(message)`` raises ToolError, ``test:limited()`` RateLimitedError with a
    ``retry_after`` of 2.5 s, ``test:wait()`` waits for ``release``, ``test:meet(count)``
    until ``count`` calls of it run at once, ``test:never()`` for ever.
    When ``durable``, ``("checkpoint", keys)`` is in the log too, with the states in
    ``states``; ``keys`` are those of the calls, in order. ``answers`` holds what the calls
    of these keys give at once instead of being made: in a resumed run, they have been.
    ``running`` and ``most_running`` count calls; ``called`` waits for calls.
    """

    def __init__(self, limits: SessionLimits | None = None, *, durable: bool = False) -> None:
        self.session_id = "s_recording"
        self.durable = durable
        self.limits = SessionLimits() if limits is None else limits
        self.log: list[tuple[Any, ...]] = []
        self.states: list[bytes] = []
        self.keys: list[str | None] = []
        self.answers: dict[str, JsonValue] = {}
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self.release = anyio.Event()
        self._printed = 0
        self._met = anyio.Event()
        self._began = anyio.Event()
        self._tools = {
            name.replace(":", "_"): ToolSpec(name=name, description=text, input_schema=schema)
            for name, text, schema in [
                ("test:echo", "Give the value back.", _schema(value="")),
                ("test:add", "The sum of two numbers.", _schema(a="number", b="number")),
                ("test:fail", "Fail with the message.", _schema(message="string")),
                ("test:limited", "Be out of calls.", _schema()),
                ("test:wait", "Wait until released.", _schema()),
                ("test:meet", "Wait for others.", _schema(count="integer")),
                ("test:never", "Wait for ever.", _schema()),
            ]
        }

    def tools(self) -> Mapping[str, ToolSpec]:
        return self._tools

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The calls that began, in order: tool and arguments."""
        return [(entry[1], entry[2]) for entry in self.log if entry[0] == "call"]

    @property
    def printed(self) -> str:
        """All that was printed."""
        return "".join(entry[1] for entry in self.log if entry[0] == "stdout")

    def _note(self) -> None:
        began, self._began = self._began, anyio.Event()
        began.set()

    async def called(self, count: int = 1) -> None:
        """Return when ``count`` calls have begun."""
        while len(self.calls) < count:
            await self._began.wait()

    async def kept(self, count: int = 1) -> None:
        """Return when there are ``count`` checkpoints."""
        while len(self.states) < count:
            await self._began.wait()

    async def stdout(self, chunk: str) -> None:
        await self._count(chunk)
        self.log.append(("stdout", chunk))

    async def log_line(self, level: Level, message: str) -> None:
        await self._count(message)
        self.log.append((level, message))

    async def _count(self, text: str) -> None:
        # A checkpoint: a runtime that does not wait for this call shows itself.
        await anyio.lowlevel.checkpoint()
        self._printed += len(text.encode())
        if self._printed > self.limits.max_output_bytes:
            raise ResultTooLargeError(f"more than {self.limits.max_output_bytes} bytes printed")

    async def checkpoint(self, state: bytes, calls: Sequence[str]) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append(("checkpoint", tuple(calls)))
        self.states.append(state)
        self._note()

    async def call(
        self, name: str, arguments: Mapping[str, Any], *, key: str | None = None
    ) -> JsonValue:
        if key in self.answers:
            return self.answers[key]
        self.keys.append(key)
        spec = self._tools.get(name)
        tool = name if spec is None else spec.name
        args = parse(json_text(dict(arguments), self.limits.max_argument_bytes))
        self.log.append(("call", tool, args))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self._note()
        try:
            return await self._answer(tool, args)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _answer(self, tool: str, args: dict[str, Any]) -> JsonValue:
        match tool:
            case "test:echo":
                value: JsonValue = args["value"]
                return value
            case "test:add":
                total: JsonValue = args["a"] + args["b"]
                return total
            case "test:fail":
                raise ToolError(args["message"])
            case "test:limited":
                raise RateLimitedError("slow down", scope="session", limit=1, retry_after=2.5)
            case "test:wait":
                await self.release.wait()
                return "released"
            case "test:meet":
                if self.running >= args["count"]:
                    self._met.set()
                await self._met.wait()
                return self.running
            case "test:never":
                await anyio.sleep_forever()
        raise UnknownToolError(f"no tool {tool!r}")
