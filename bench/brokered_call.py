"""One brokered call, against its floor: validation and the handler, with nothing around.

The calls pass 2 middleware, 10 access rules, 3 windows and validation, and are kept in the
history with both events, in memory. To hold: at most 8 floors without a deadline, 14 with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel

from enclave_broker_core import AccessController, Broker, RateLimiter, Session, ToolCall
from enclave_broker_core.contracts import CallNext

TITLE = "brokered call: 2 middleware, 10 rules, 3 windows, validation, history, both events"
BARS = {"no deadline": 8.0, "with a deadline": 14.0}
TIMES = 200
PLENTY = {"max_calls": 1_000_000, "window": 60}

Case = Callable[[int], Awaitable[None]]


class Arguments(BaseModel):
    id: int


async def handler(args: Arguments) -> dict[str, Any]:
    return {"id": args.id, "name": "Alice"}


async def outer(call: ToolCall, call_next: CallNext) -> Any:
    return await call_next(call)


async def inner(call: ToolCall, call_next: CallNext) -> Any:
    return await call_next(call)


def broker(timeout: float | None, handler: Callable[..., Any] = handler, **parts: Any) -> Broker:
    """The broker of this row, with one tool; ``parts`` are further parts of it."""
    rules: list[Mapping[str, Any]] = [{"pattern": f"service{n}:*", "allow": True} for n in range(9)]
    limiter = RateLimiter(global_=PLENTY, per_session=PLENTY, per_tool={"users:*": PLENTY})
    access = AccessController([*rules, {"pattern": "users:*", "allow": True}], default="deny")
    given: dict[str, Any] = {"middleware": [outer, inner], "access": access, "limiter": limiter}
    made = Broker(**{**given, **parts})
    options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    made.tool("users:get", model=Arguments, **options)(handler)
    return made


def calls(session: Session) -> Case:
    async def case(n: int) -> None:
        for _ in range(n):
            await session.call("users:get", {"id": 1})

    return case


async def floor(n: int) -> None:
    for _ in range(n):
        await handler(Arguments.model_validate({"id": 1}))


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    async with (
        broker(None) as plain,
        broker(5.0) as timed,
        plain.session() as without,
        timed.session() as within,
    ):
        yield {"floor": floor, "no deadline": calls(without), "with a deadline": calls(within)}
