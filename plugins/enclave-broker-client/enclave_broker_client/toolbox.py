"""The tools that a session's client runs itself: declared, told of their calls, and run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.events import Event
from enclave_broker_core.failures import message_of
from enclave_broker_core.functions import FunctionTool
from enclave_broker_core.json_form import NotJsonError, TooLargeError, json_text
from enclave_broker_core.models import ClientTool
from enclave_broker_core.threads import Threads

from .asking import LARGEST_BODY

Handler = Callable[..., Any]

LONGEST_ERROR = 2000
# Calls that the client has been told of and that have not come to it: a server's own bounds
# are far below.
MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class LocalTool:
    """A function as a client's tool. ``timeout``, in seconds, is how long it may take."""

    handler: Handler
    description: str | None = None
    timeout: float | None = None


ClientTools = Mapping[str, Handler | LocalTool]


@dataclass(frozen=True, slots=True)
class LocalCall:
    """A call that the server waits for."""

    id: str
    name: str
    arguments_json: bytes


class Toolbox:
    """The tools of one session, and which of their calls are to be answered.

    A call is not taken when the session says that it is made, for it may still be refused,
    but when the server's pipeline has let it through to the client.
    """

    def __init__(self, tools: ClientTools, *, threads: bool) -> None:
        """ConfigError for a function that can't be a tool, or for a name that it can't have.

        Without ``threads`` no handler can be a coroutine function.
        """
        self._tools: dict[str, FunctionTool] = {}
        self._handlers: dict[str, Handler] = {}
        self._threads = Threads()
        self._told: dict[str, LocalCall] = {}
        self.declared: list[dict[str, Any]] = []
        for name, given in tools.items():
            local = given if isinstance(given, LocalTool) else LocalTool(given)
            self._add(name, local, threads)

    def _add(self, name: str, local: LocalTool, threads: bool) -> None:
        if not threads and inspect.iscoroutinefunction(local.handler):
            raise ConfigError(f"tool {name!r}: a coroutine function needs the asynchronous client")
        if inspect.isasyncgenfunction(local.handler):
            raise ConfigError(f"tool {name!r}: a client's tool gives one result, not a stream")
        options: dict[str, Any] = {} if local.timeout is None else {"timeout": local.timeout}
        try:
            ClientTool(name=name, **options)
        except ValidationError as problem:
            raise ConfigError(f"tool {name!r}: {problem.errors()[0]['msg']}") from None
        made = FunctionTool(name, local.handler, self._threads, description=local.description)
        spec = made.spec
        declared: dict[str, Any] = {
            "name": name,
            "description": spec.description,
            "inputSchema": spec.input_schema,
        }
        if spec.output_schema is not None:
            declared["outputSchema"] = spec.output_schema
        if local.timeout is not None:
            declared["timeoutMs"] = max(1, round(local.timeout * 1000))
        self._tools[name] = made
        self._handlers[name] = local.handler
        self.declared.append(declared)

    def __bool__(self) -> bool:
        return bool(self._tools)

    def see(self, event: Event) -> LocalCall | None:
        """Watch an event go by; the call that it hands to the client."""
        if event.type not in ("tool_call", "tool_progress", "tool_result_applied"):
            return None
        payload = event.payload
        call_id: str = payload["callId"]
        if event.type == "tool_call":
            if payload["toolName"] in self._tools and len(self._told) < MOST_WAITING:
                arguments = to_json(payload["args"])
                self._told[call_id] = LocalCall(call_id, payload["toolName"], arguments)
            return None
        if event.type == "tool_progress" and payload["phase"] != "sending":
            return None
        call = self._told.pop(call_id, None)
        return call if event.type == "tool_progress" else None

    async def answer(self, call: LocalCall) -> bytes:
        """Run the handler of a call; its answer as the server takes it."""
        try:
            keywords = self._keywords(call)
            handler = self._handlers[call.name]
            if inspect.iscoroutinefunction(handler):
                return result(await handler(**keywords))
            return result(await self._threads.run(handler, keywords))
        except Exception as problem:
            return failure(problem)

    def answer_here(self, call: LocalCall) -> bytes:
        """The same in this thread."""
        try:
            return result(self._handlers[call.name](**self._keywords(call)))
        except Exception as problem:
            return failure(problem)

    def _keywords(self, call: LocalCall) -> dict[str, Any]:
        arguments = self._tools[call.name].validate(call.arguments_json)
        keywords: dict[str, Any] = arguments.__dict__
        return keywords


def result(value: Any) -> bytes:
    """NotJsonError, TooLargeError."""
    return b'"result":' + json_text(value, LARGEST_BODY)


def failure(problem: Exception | str) -> bytes:
    """What the caller of the tool gets to see: the message, and no traceback."""
    if isinstance(problem, NotJsonError | TooLargeError):
        said = f"the result can't be passed on: {problem}"
    else:
        said = problem if isinstance(problem, str) else message_of(problem)
    said = said[:LONGEST_ERROR].encode("utf-8", "replace").decode()
    return b'"error":' + to_json({"message": said})
