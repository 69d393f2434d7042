"""A whole life of the runtime, in an interpreter of its own: open, run, close, exit."""

from __future__ import annotations

import asyncio
import sys

from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.hosts import RecordingHost

CODE = """
from tools import test_echo
for i in range(10):
    await test_echo(value=i)
print("done")
"""


async def main() -> None:
    config = MontyConfig(workers=2, type_check=True)
    async with (
        open_monty(config, OpenContext("runtime")) as runtime,
        runtime.session(RecordingHost()) as session,
    ):
        await session.run(CODE)


# A thread of pydantic-monty that wants the interpreter's lock has to wait longer for it:
# this makes the abort at exit, which the runtime's closing prevents, frequent without it.
sys.setswitchinterval(0.5)
asyncio.run(main())
