"""Tools that a session's client runs itself: it is told of each call, and answers it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from pydantic import JsonValue

from .contracts import Tool, ToolContext
from .errors import (
    AlreadyAnsweredError,
    ArgumentsError,
    CallNotFoundError,
    ConfigError,
    ToolError,
)
from .models import ClientTool, ToolSpec
from .registry import Catalog
from .schema_bounds import PATTERN_BYTES, require_bounded
from .schema_tools import SchemaTool, schema_check
from .threads import Threads

MOST_TOOLS = 64
LONGEST_ERROR = 4096
# Of how many answered calls it is known that they were.
REMEMBERED = 1000


class _Answer:
    """What the client said of one call."""

    __slots__ = ("error", "given", "result")

    def __init__(self) -> None:
        self.given = anyio.Event()
        self.result: Any = None
        self.error: str | None = None


class ClientTools:
    """Those of one session. Their calls pass the whole pipeline, and so do the answers."""

    def __init__(self, declared: Sequence[ClientTool]) -> None:
        """ArgumentsError for a schema that is not usable, and for one name twice."""
        self._answers: dict[str, _Answer] = {}
        self._done: OrderedDict[str, None] = OrderedDict()
        self._merged: tuple[Catalog, Catalog] | None = None
        self.tools: Mapping[str, Tool] = self._made(declared)

    def within(self, base: Catalog) -> Catalog:
        """The broker's catalog together with these."""
        if self._merged is None or self._merged[0] is not base:
            self._merged = base, base.with_tools(self.tools)
        return self._merged[1]

    def _made(self, declared: Sequence[ClientTool]) -> dict[str, Tool]:
        if len(declared) > MOST_TOOLS:
            raise ArgumentsError(f"a client may have up to {MOST_TOOLS} tools of its own")
        made: dict[str, Tool] = {}
        for one in declared:
            if one.name in made:
                raise ArgumentsError(f"the client has two tools named {one.name!r}")
            for schema in (one.input_schema, one.output_schema):
                require_bounded(one.name, schema or {})
            spec = ToolSpec(
                name=one.name,
                description=one.description,
                input_schema=one.input_schema,
                output_schema=one.output_schema,
                timeout=one.timeout,
                source="client",
            )
            try:
                made[one.name] = SchemaTool(
                    spec, self._handler(spec), Threads(), pattern_bytes=PATTERN_BYTES
                )
            except ConfigError as problem:
                raise ArgumentsError(problem.message) from None
        return made

    def _handler(self, spec: ToolSpec) -> Any:
        check = None
        if spec.output_schema is not None:
            check = schema_check(spec.name, spec.output_schema, pattern_bytes=PATTERN_BYTES)

        async def ask(arguments: dict[str, JsonValue], context: ToolContext) -> Any:
            answer = self._answers.setdefault(context.call_id, _Answer())
            await context.progress("sending")
            await answer.given.wait()
            if answer.error is not None:
                raise ToolError(answer.error)
            fields = [] if check is None else check(answer.result)
            if fields:
                said = "; ".join(f"{field}: {why}" if field else why for field, why in fields)
                raise ToolError(f"the client's answer does not fit the tool's schema: {said}")
            return answer.result

        return ask

    def answer(
        self,
        call_id: str,
        *,
        result: JsonValue = None,
        error: str | None = None,
        begun: bool = False,
    ) -> None:
        """Take the client's answer to a call.

        ``begun`` says that a call of one of these tools is on its way under this id: it may
        be answered before it has come as far as the client. CallNotFoundError when none
        waits for it, AlreadyAnsweredError when it has been answered.
        """
        answer = self._answers.get(call_id)
        if call_id in self._done or (answer is not None and answer.given.is_set()):
            raise AlreadyAnsweredError(f"the call {call_id[:80]!r} has been answered")
        if answer is None:
            if not begun:
                raise CallNotFoundError(f"no call {call_id[:80]!r} waits for an answer")
            answer = self._answers[call_id] = _Answer()
        answer.result = result
        answer.error = None if error is None else error[:LONGEST_ERROR] or "the client failed"
        answer.given.set()

    def finished(self, call_id: str) -> None:
        """The call is over, whatever became of it."""
        answer = self._answers.pop(call_id, None)
        if answer is not None and answer.given.is_set():
            self._done[call_id] = None
            if len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
