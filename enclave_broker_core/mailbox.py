"""A session's messages: what is delivered to it, and what it sends out."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal, Self

import anyio
from pydantic import Field, JsonValue, ValidationError

from .errors import ArgumentsError, BrokerError, MailboxFullError, ToolError
from .failures import message_of
from .functions import arguments_error
from .models import Frozen
from .once import Once

_log = logging.getLogger(__name__)

MOST_WAITING = 1000
MOST_IN_HAND = 100

Message = dict[str, Any]
MessageHandler = Callable[[Any], Any]


class ToolCallMessage(Frozen):
    """A delivered ``{type: "tool_call", id, name, args}``."""

    type: Literal["tool_call"] = "tool_call"
    id: str | None = Field(default=None, min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=256)
    args: Mapping[str, JsonValue] = Field(default_factory=dict)


def tool_call_message(message: ToolCallMessage | Mapping[str, Any]) -> ToolCallMessage:
    """A call as it came; ArgumentsError says which part of it is wrong."""
    if isinstance(message, ToolCallMessage):
        return message
    try:
        return ToolCallMessage.model_validate(dict(message))
    except ValidationError as problem:
        raise arguments_error("the call", problem) from None


class Mailbox:
    """Hands delivered messages to their handlers, and keeps those that go out.

    ``default`` takes the tool calls that no handler takes.
    """

    def __init__(self, default: Callable[[ToolCallMessage], Awaitable[Any]]) -> None:
        self._default = default
        self._handlers: dict[str, list[MessageHandler]] = {}
        self._outgoing: deque[Message] = deque()
        self._changed = Once()
        self._closed = False
        self._in_hand = 0

    def on(self, type: str, handler: MessageHandler) -> None:
        self._handlers.setdefault(type, []).append(handler)

    def send(self, message: Mapping[str, Any]) -> None:
        """MailboxFullError when a thousand messages wait and nobody reads them."""
        if self._closed:
            return
        if len(self._outgoing) >= MOST_WAITING:
            raise MailboxFullError(
                f"{MOST_WAITING} messages wait in messages() and nobody reads them"
            )
        self._outgoing.append(dict(message))
        self._notify()

    def messages(self) -> AsyncIterator[Message]:
        """What was sent, in order, until the session ends; it can be left at any message."""
        return _Outgoing(self)

    async def next(self) -> Message | None:
        """The next message that goes out; None when there will be none."""
        while not self._outgoing:
            if self._closed:
                return None
            await self._changed.wait()
        return self._outgoing.popleft()

    def close(self) -> None:
        self._closed = True
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, Once()
        changed.set()

    def accept(self, message: Mapping[str, Any]) -> Callable[[], Coroutine[Any, Any, None]]:
        """Check a message that came in; what is returned does what it asks for.

        MailboxFullError when a hundred others are still in hand.
        """
        kind = message.get("type")
        if not isinstance(kind, str):
            raise ArgumentsError("a message needs a 'type'", fields=[("type", "is missing")])
        incoming: Any = dict(message)
        if kind == "tool_call":
            incoming = tool_call_message(incoming)
        handlers = tuple(self._handlers.get(kind, ()))
        if not handlers and kind != "tool_call":
            known = ", ".join(sorted({"tool_call", *self._handlers}))
            raise ArgumentsError(
                f"nothing handles messages of type {kind[:64]!r}; handled are: {known}",
                fields=[("type", "is not handled")],
            )

        if self._in_hand >= MOST_IN_HAND:
            raise MailboxFullError(f"{MOST_IN_HAND} delivered messages are still in hand")
        self._in_hand += 1

        async def act() -> None:
            try:
                if not handlers:
                    await self._answer(incoming)
                for handler in handlers:
                    await self._handle(handler, incoming)
            except MailboxFullError:
                _log.error("an answer was lost: nobody reads the messages of this session")
            finally:
                self._in_hand -= 1

        return act

    async def _handle(self, handler: MessageHandler, incoming: Any) -> None:
        try:
            answer = handler(incoming)
            if inspect.isawaitable(answer):
                await answer
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as problem:
            _log.exception("a handler of messages failed")
            if isinstance(incoming, ToolCallMessage):
                error = problem if isinstance(problem, BrokerError) else None
                self._refuse(incoming, error or ToolError(message_of(problem)))

    async def _answer(self, call: ToolCallMessage) -> None:
        try:
            data = await self._default(call)
        except BrokerError as error:
            self._refuse(call, error)
        else:
            self.send({"type": "tool_result", "id": call.id, "data": data})

    def _refuse(self, call: ToolCallMessage, error: BrokerError) -> None:
        self.send({"type": "tool_error", "id": call.id, "error": error.to_wire()})


class _Outgoing:
    """The messages of one mailbox, as an iterator that holds nothing open."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = await self._mailbox.next()
        if message is None:
            raise StopAsyncIteration
        return message
