"""The demo: an agent's program calls real tools through a broker (``tox run -e demo``)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import anyio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from enclave_broker_core import Event, Principal, Session, open_broker

HERE = Path(__file__).parent


async def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    agent = Principal(id="demo-agent", roles=frozenset({"reader"}))
    async with (
        open_broker(HERE / "broker.toml") as broker,
        broker.session(principal=agent, timeout=60, max_tool_calls=1000) as session,
        anyio.create_task_group() as tasks,
    ):
        console.print(Text("The events, as they come", style="bold"))
        tasks.start_soon(show_events, session, console)
        outcome = await session.execute((HERE / "agent.py").read_text())
        await show_history(session, console)
    console.print(Text("\nThe answer", style="bold"))
    console.print_json(data=outcome.result if outcome.ok else str(outcome.error))
    return 0 if outcome.ok else 1


async def show_events(session: Session, console: Console) -> None:
    """One line for each event, up to the final one."""
    started = time.monotonic()
    names: dict[str, str] = {}
    async for event in session.events():
        took = f"{time.monotonic() - started:6.2f} s  "
        console.print(Text(took, style="dim"), described(event, names), sep="")


def described(event: Event, names: dict[str, str]) -> Text:
    """An event in words; ``names`` keeps which call is of which tool."""
    payload = event.payload
    if event.type == "stdout":
        return Text(f"prints    {payload['chunk'].rstrip()}", style="cyan")
    if event.type == "tool_call":
        names[payload["callId"]] = payload["toolName"]
        return Text(f"calls     {payload['toolName']} {payload['args'] or ''}")
    if event.type == "tool_result_applied":
        name = names[payload["callId"]]
        if payload["ok"]:
            return Text(f"result    {name} in {payload['durationMs']} ms", style="green")
        return Text(f"error     {name}: {payload['code']}, {payload['message']}", style="red")
    if event.type == "final":
        return Text(f"final     ok: {payload['ok']}, {payload['stats']}", style="bold")
    return Text(event.type)


async def show_history(session: Session, console: Console) -> None:
    """What the broker keeps of every call, also of the refused ones."""
    table = Table("call", "tool", "outcome", "code", "ms", box=None, pad_edge=False)
    for call in await session.history():
        took = f"{(call.ended_at - call.started_at) * 1000:.1f}"
        style = "" if call.outcome == "ok" else "red"
        table.add_row(
            call.call_id, call.tool, call.outcome, call.error_code or "", took, style=style
        )
    console.print(Text("\nThe history", style="bold"))
    console.print(table)


sys.exit(anyio.run(main))
