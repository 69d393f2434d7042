"""The configuration and the tools of brokers that are processes."""

from __future__ import annotations

CONFIG = """
plugins = ["memory", "monty", "redis", "server"]
[store]
use = "redis"
url = "{url}"
prefix = "{prefix}"
lease = {lease}
grace = 600.0
[access]
default = "allow"
[sessions]
durable_key = "a key of thirty-two bytes or more"
cleanup_interval = 0.5
[runtime]
use = "monty"
workers = 1
[[tools]]
use = "python"
module = "tools.py"
[server]
drain_timeout = 0.2
{more}
"""

# What ran is appended to a file, in one write: a process may be killed anywhere before or after.
TOOLS = """
import os
from pathlib import Path

import anyio
from enclave_broker_core import ToolContext, tool

RAN = Path({ran!r})


def note(ctx: ToolContext, name: str, n: int) -> None:
    line = f"{{name}} {{ctx.session_id}} {{n}}\\n".encode()
    file = os.open(RAN, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


@tool("once")
async def once(ctx: ToolContext, n: int = 0) -> int:
    note(ctx, "once", n)
    await anyio.sleep(0.01)
    return n


@tool("again", idempotent=True)
async def again(ctx: ToolContext, n: int = 0) -> int:
    note(ctx, "again", n)
    await anyio.sleep(0.01)
    return n


@tool("wait")
async def wait(ctx: ToolContext) -> None:
    note(ctx, "wait", 0)
    while True:
        await ctx.progress("processing")
        await anyio.sleep(0.02)


@tool("pid")
async def pid() -> int:
    return os.getpid()
"""


def configuration(url: str, prefix: str, lease: float, more: str = "") -> str:
    return CONFIG.format(url=url, prefix=prefix, lease=lease, more=more)


def tools(ran: str) -> str:
    return TOOLS.format(ran=ran)
