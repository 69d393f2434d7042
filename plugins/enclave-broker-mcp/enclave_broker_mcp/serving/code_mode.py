"""Code mode: three tools in place of a catalog, to search it, to read of it, and to run code."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from mcp import types

from enclave_broker_core.broker import Broker
from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.errors import BrokerError, ResultTooLargeError, RunError
from enclave_broker_core.events import Event, milliseconds
from enclave_broker_core.export import exported
from enclave_broker_core.json_form import TooLargeError, json_text
from enclave_broker_core.models import ToolSpec
from enclave_broker_core.session import Session

from .arguments import Describe, OwnArguments, RunCode, Search
from .contexts import Context
from .printed import Printed
from .progress import Followed, Progress
from .results import failed, succeeded
from .searching import Index
from .settings import ServingConfig

SEARCH, DESCRIBE, RUN = "search_tools", "describe_tools", "run_code"
LONGEST_SUMMARY = 200

_CALLS: Mapping[str, str] = MappingProxyType(
    {
        "python": 'Call a tool with call_tool("NAME", {"argument": 1}); the value of the last'
        " expression is the result.",
        "javascript": 'Call a tool with await callTool("NAME", {argument: 1}); the last expression,'
        " or what is returned, is the result.",
    }
)


class CodeMode:
    """The three tools."""

    def __init__(self, config: ServingConfig) -> None:
        self._config = config
        self._tools: Mapping[str, types.Tool] = {}
        self._language: str | None = None
        self._index = Index()

    def tools(self, broker: Broker) -> Mapping[str, types.Tool]:
        """Them, as the code's language makes them."""
        language = self._language_of(broker)
        if not self._tools or language != self._language:
            self._language = language
            made = (_search_tool(), _describe_tool(), _run_tool(language))
            self._tools = {tool.name: tool for tool in made}
        return self._tools

    async def call(
        self,
        context: Context,
        broker: Broker,
        session: Session,
        name: str,
        given: Mapping[str, Any],
    ) -> types.CallToolResult:
        """Call one of them."""
        try:
            if name == RUN:
                return await self._run(context, session, RunCode.of(name, given).code)
            tools = await broker.visible_tools(session=session)
            if name == SEARCH:
                return succeeded(self._found(Search.of(name, given), tools))
            described = _described(Describe.of(name, given), tools)
            try:
                json_text(described, session.limits.max_result_bytes)
            except TooLargeError as problem:
                raise ResultTooLargeError(f"{name}: {problem}; ask for fewer tools") from None
            return succeeded(described)
        except BrokerError as error:
            return failed(error)

    def _found(self, asked: Search, tools: Mapping[str, ToolSpec]) -> dict[str, Any]:
        specs, total = self._index.found(asked.query, tools, asked.limit)
        shown = [{"name": spec.name, "description": _summary(spec)} for spec in specs]
        return {"tools": shown, "total": total}

    async def _run(self, context: Context, session: Session, code: str) -> types.CallToolResult:
        progress, printed = Progress(context), Printed(self._config.max_output_chars)

        async def see(event: Event) -> bool:
            payload = event.payload
            if event.type == "stdout":
                printed.add(payload["chunk"])
            elif event.type == "log":
                printed.add_log(payload["level"], payload["message"])
            elif event.type == "tool_call":
                await progress.tell(f"calling {payload['toolName']}")
            elif event.type == "partial_result":
                return bool(payload["path"][0] == "run")
            return False

        def begin() -> Coroutine[Any, Any, RunOutcome]:
            return session.run(code)

        outcome: RunOutcome = await Followed(session, see).run(begin)
        said = {
            **printed.said(),
            "toolCalls": outcome.stats.tool_calls,
            "durationMs": milliseconds(outcome.stats.duration),
        }
        if outcome.error is None:
            return succeeded({"result": outcome.result, **said})
        error = outcome.error
        if not isinstance(error, BrokerError):
            error = RunError("the code could not be run")
        return failed(error, **said)

    def _language_of(self, broker: Broker) -> str:
        languages = broker.languages
        chosen = self._config.runtime or next(iter(languages), "")
        return languages.get(chosen, "code")


def _summary(spec: ToolSpec) -> str:
    first = spec.description.strip().partition("\n")[0]
    return first if len(first) <= LONGEST_SUMMARY else f"{first[: LONGEST_SUMMARY - 1]}…"


def _described(asked: Describe, tools: Mapping[str, ToolSpec]) -> dict[str, Any]:
    by_name = {spec.name: (external, spec) for external, spec in tools.items()}
    shown: list[dict[str, Any]] = []
    unknown: list[str] = []
    for name in asked.names:
        known = by_name.get(name)
        if known is None and name in tools:
            known = name, tools[name]
        if known is None:
            unknown.append(name[:128])
            continue
        external, spec = known
        [form] = exported("mcp", {external: spec})
        form.pop("title", None)
        shown.append({**form, "name": spec.name})
    return {"tools": shown, "unknown": unknown}


def _search_tool() -> types.Tool:
    return _tool(
        SEARCH,
        "Search the catalog of tools that code may call, by words of what is wanted.",
        Search,
        read_only=True,
    )


def _describe_tool() -> types.Tool:
    return _tool(
        DESCRIBE,
        "Show what tools do, and the schemas of their arguments and results.",
        Describe,
        read_only=True,
    )


def _run_tool(language: str) -> types.Tool:
    how = _CALLS.get(language, "")
    said = (
        f"Run {language} in a sandbox; nothing but the catalog's tools is in its reach. {how}"
        " What it defines is still there in the next run. Look tools up before you call them."
    )
    return _tool(RUN, said, RunCode, read_only=False)


def _tool(name: str, said: str, model: type[OwnArguments], *, read_only: bool) -> types.Tool:
    schema = model.model_json_schema()
    return types.Tool(
        name=name,
        description=" ".join(said.split()),
        input_schema=schema,
        annotations=types.ToolAnnotations(read_only_hint=read_only, idempotent_hint=read_only),
    )
