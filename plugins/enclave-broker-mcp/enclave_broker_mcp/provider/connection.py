"""One connection to a server: lists its tools and calls them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

import anyio
import mcp_types as types
from mcp.client._transport import TransportStreams
from mcp.client.session import ClientRequestContext
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.errors import ResultTooLargeError, ToolError
from enclave_broker_core.redaction import Redactor

from .catalog import Compiled
from .codes import BUSY, FAILED, TOO_LARGE, UNREACHABLE
from .config import McpConfig
from .definitions import Definition
from .ending import Ending
from .errors import BusyServerError, ServerDownError, ServerError
from .gate import Incoming, Ledger, Outgoing
from .pace import Pace
from .progress import Progress
from .results import result_of
from .session import ToolSession, make_session, negotiate
from .texts import LONGEST_MESSAGE, line, visible

MOST_PAGES = 200
# Bytes of all pages of a list together, as JSON: each could be as large as a message may be.
MOST_LISTED = 16 * 1024 * 1024
MOST_ROUNDS = 10
MOST_QUESTIONS = 16
# How long, in seconds, until changes are listened for again.
LISTEN_AGAIN = 10.0
# The most, in seconds, that a server is believed of when it will answer.
LATEST = 86400.0

_LOOK_AGAIN = frozenset(
    {
        *(types.INVALID_PARAMS, types.METHOD_NOT_FOUND, types.HEADER_MISMATCH),
        *(UNREACHABLE, FAILED),
    }
)

# How it begins what it says of a connection, or of one answer, that broke.
_OF_THE_SDK = ("Connection closed", "SSE stream ")

CallAnswer = types.CallToolResult | types.InputRequiredResult


class Connection:
    """An open connection. ``ended`` is set when it is of no use any more, and ``ending`` says
    why; ``changed`` when the server says that it has other tools.
    """

    def __init__(self, config: McpConfig, redactor: Redactor, ending: Ending) -> None:
        self.ending = ending
        self.ended = anyio.Event()
        self.changed = anyio.Event()
        self.listening = anyio.Event()
        self._config = config
        self._redactor = redactor
        self._session: ToolSession
        self._names: set[str] = set()

    def tools_changed(self) -> None:
        self.changed.set()

    def end(self, reason: str) -> None:
        self.ending.because(reason or "it closed the connection")
        self.ended.set()

    async def list_tools(self) -> tuple[list[Definition], bool]:
        """All tools, or as many as are taken, and whether there are more. ServerError."""
        found: list[Definition] = []
        cursors: set[str] = set()
        size = 0
        params: types.PaginatedRequestParams | None = None
        for _ in range(MOST_PAGES):
            try:
                page = await self._session.list_tools(params=params)
            except MCPError as problem:
                self._failed(problem, "it does not list its tools")
            except ValidationError:
                raise ServerError("what it lists are no tools as the protocol has them") from None
            found += [Definition.of(tool) for tool in page.tools]
            self._names.update(one.name for one in found)
            if len(self._names) > 4 * self._config.max_tools:
                # The session keeps something of each name that it has seen.
                self.end("it lists ever new names")
            cursor = page.next_cursor
            if len(found) > self._config.max_tools:
                return found[: self._config.max_tools], True
            if cursor is None:
                return found, False
            if cursor in cursors:
                raise ServerError("it lists the same page again and again")
            size += len(page.model_dump_json())
            if size > MOST_LISTED:
                raise ServerError(f"what it lists has more than {MOST_LISTED} bytes")
            cursors.add(cursor)
            params = types.PaginatedRequestParams(cursor=cursor)
        raise ServerError(f"it lists its tools on more than {MOST_PAGES} pages")

    async def call(self, tool: Compiled, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """The result of a call. ToolError, ResultTooLargeError."""
        progress = Progress(context)
        outcome: types.CallToolResult | Exception
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(progress.run)
            try:
                outcome = await self._answer(tool.definition.name, dict(arguments), progress)
            except Exception as problem:
                outcome = problem  # the task group would make a group of it
            tasks.cancel_scope.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return result_of(
            outcome,
            check=tool.output_check,
            as_json=self._config.text_results == "json",
            redactor=self._redactor,
        )

    async def _answer(
        self, name: str, arguments: dict[str, Any], progress: Progress
    ) -> types.CallToolResult:
        more: dict[str, Any] = {}
        for _ in range(MOST_ROUNDS):
            try:
                answer: CallAnswer = await self._session.call_tool(
                    name,
                    arguments,
                    progress_callback=progress.take,
                    allow_input_required=True,
                    **more,
                )
            except MCPError as problem:
                self._failed(problem, "the server refuses the call")
            except ValidationError:
                raise ServerError("the server's answer is none that the protocol has") from None
            if isinstance(answer, types.CallToolResult):
                return answer
            more = await self._input_for(answer)
        raise ServerError(f"the server asked more than {MOST_ROUNDS} times for input")

    async def _input_for(self, asked: types.InputRequiredResult) -> dict[str, Any]:
        """What a server gets that wants something before it answers a call."""
        requests = asked.input_requests or {}
        if not requests:
            # It only wants to be asked again.
            await anyio.sleep(0.2)
        if len(requests) > MOST_QUESTIONS:
            raise ServerError(f"the server asked more than {MOST_QUESTIONS} things at once")
        answers = {}
        for key, request in requests.items():
            meta = request.params.meta if request.params else None
            context = ClientRequestContext(session=self._session, request_id=key, meta=meta)
            said = await self._session.dispatch_input_request(context, request)
            if isinstance(said, types.ErrorData):
                raise ToolError(f"the server wants {request.method}, which is refused here")
            answers[key] = said
        return {"input_responses": answers or None, "request_state": asked.request_state}

    def _failed(self, problem: MCPError, what: str) -> NoReturn:
        """The error for what the protocol has as an error."""
        if problem.code == TOO_LARGE:
            raise ResultTooLargeError(f"the server's answer is too large: {problem.message}")
        said = visible(self._redactor.text(problem.message), LONGEST_MESSAGE)
        if problem.code in _LOOK_AGAIN:
            self.tools_changed()  # perhaps: the tool, or the server, is not as it was
        if problem.code == UNREACHABLE or self._is_closed(problem):
            said = self.ending.reason or said
            raise ServerDownError(
                f"the connection to {self._config.name} broke: {said}", retry_after=1.0
            )
        if problem.code == BUSY:
            raise BusyServerError(said, retry_after=_later(problem.data))
        raise ServerError(f"{what}: {said}" if said else what)

    def _is_closed(self, problem: MCPError) -> bool:
        """Many servers have the code for errors of their own."""
        own = self.ended.is_set() or problem.message.startswith(_OF_THE_SDK)
        return problem.code == types.CONNECTION_CLOSED and own

    async def listen(self) -> None:
        """Have ``changed`` set by a server of the newest revision, which has to be asked for that.

        ``listening`` is set when it has been asked, whatever it answered.
        """
        while self._tells_of_changes():
            try:
                async with listen(self._session, tools_list_changed=True) as events:
                    self.listening.set()
                    async for _ in events:
                        self.tools_changed()
            except (MCPError, SubscriptionLost, TimeoutError):
                self.listening.set()
            await anyio.sleep(LISTEN_AGAIN)
            self.tools_changed()  # meanwhile nobody listened
        self.listening.set()

    def _tells_of_changes(self) -> bool:
        found = self._session.discover_result
        tools = None if found is None else found.capabilities.tools
        return tools is not None and tools.list_changed is True


def _later(data: Any) -> float | None:
    """When a server answers again; the code may be the server's own, and so may be the number."""
    said = data.get("retryAfter") if isinstance(data, dict) else None
    return min(max(0.0, said), LATEST) if isinstance(said, float) else None


Transport = AbstractAsyncContextManager[TransportStreams]


@asynccontextmanager
async def connect(
    transport: Transport, config: McpConfig, base_dir: str, redactor: Redactor, ending: Ending
) -> AsyncIterator[Connection]:
    """A connection for a block. ServerError when the two do not understand each other."""
    async with AsyncExitStack() as stack:
        reading, writing = await stack.enter_async_context(transport)
        connection = Connection(config, redactor, ending)
        ledger = Ledger()
        incoming = Incoming(reading, ledger, Pace(), connection.end)
        outgoing = Outgoing(writing, ledger)
        session = make_session(incoming, outgoing, config, base_dir, connection.tools_changed)
        connection._session = await stack.enter_async_context(session)
        try:
            await negotiate(connection._session, config)
        except MCPError as problem:
            said = line(redactor.text(problem.message), LONGEST_MESSAGE)
            raise ServerError(ending.reason or f"it can't be spoken to: {said}") from None
        yield connection
