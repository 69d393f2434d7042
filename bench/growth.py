"""What a call costs as the catalog and the number of open sessions grow.

The call is that of ``brokered_call``, in one session, with ever more tools and ever more
other sessions beside it. In ``in turn`` each call is in another session than the one before,
which shows what is looked up anew for each session, and what the processor's caches do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from brokered_call import Arguments, Case, broker, calls
from interleaved import Measured, measure

from enclave_broker_core import Broker, Session
from enclave_broker_core.models import SessionSettings

TITLE = "brokered call with more tools and with more open sessions"
TOOLS = (10, 100, 1_000, 10_000)
SESSIONS = (100, 10_000)
BARS = {
    **{f"{count:,} tools": 1.1 for count in TOOLS[1:]},
    **{f"{count:,} sessions": 1.1 for count in SESSIONS},
    **{f"{count:,} sessions, in turn": 1.1 for count in SESSIONS},
}
TURNS = 40
TIMES = 200


def with_tools(count: int) -> Broker:
    made = broker(None, sessions=SessionSettings(max_concurrent=None))
    for n in range(count - 1):
        made.tool(f"service{n % 9}:get{n}", model=Arguments)(_tool(n))
    return made


def _tool(n: int) -> Any:
    async def tool(args: Arguments) -> dict[str, Any]:
        return {"id": n}

    return tool


def in_turn(sessions: Sequence[Session]) -> Case:
    them = itertools.cycle(sessions)

    async def case(n: int) -> None:
        for session in itertools.islice(them, n):
            await session.call("users:get", {"id": 1})

    return case


async def measured(repetitions: int, short: bool) -> Measured:
    # One case is made after the other: the smallest, the baseline, has the fewest beside it.
    cases: dict[str, Case] = {}
    async with AsyncExitStack() as stack:
        for count in TOOLS[:2] if short else TOOLS:
            made = await stack.enter_async_context(with_tools(count))
            session = await stack.enter_async_context(made.session())
            name = f"{count:,} tools" if cases else f"{count} tools, one session"
            cases[name] = calls(session)
        for count in SESSIONS[:1] if short else SESSIONS:
            made = await stack.enter_async_context(with_tools(TOOLS[0]))
            sessions = [await made.create_session() for _ in range(count)]
            for session in sessions:
                await session.call("users:get", {"id": 1})
            cases[f"{count:,} sessions"] = calls(sessions[-1])
            cases[f"{count:,} sessions, in turn"] = in_turn(sessions)
        turns, times = (1, 3) if short else (TURNS, TIMES)
        return await measure(cases, repetitions=repetitions, turns=turns, calls=times)
