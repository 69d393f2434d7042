"""What the rows about HTTP share: servers in processes of their own, load, memory.

The broker's is ``enclave-broker serve`` with a configuration in a temporary directory.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory, TemporaryFile

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from interleaved import Figures, Measured
from load import Load, Order

HERE = Path(__file__).parent
NEEDS = ("uvicorn", "uvloop", "enclave-broker-server")
# uvicorn runs there only.
BACKENDS = ("asyncio",)

# Bytes of the line in which a server says where it listens.
LONGEST = 10_000
TOOLS = """
from typing import Any
from enclave_broker_core import tool

@tool("users:get")
async def get_user(id: int) -> dict[str, Any]:
    return {"id": id, "name": "Alice"}
"""
# One line a request is not part of the floor either.
CONFIG = """
[logging]
level = "warning"
[access]
default = "allow"
[[tools]]
use = "python"
module = "tools.py"
[runtime]
use = "monty"
workers = 2
[sessions]
max_concurrent = 2000
[server]
drain_timeout = 0.1
"""
RESULT = '{"id":1,"name":"Alice"}'


@dataclass(frozen=True)
class Server:
    """One that listens."""

    url: str
    pid: int


@asynccontextmanager
async def broker(more: str = "") -> AsyncIterator[Server]:
    """The broker's server; ``more`` is put behind its configuration."""
    files = {"broker.toml": CONFIG + more, "tools.py": TOOLS}
    command = ["-m", "enclave_broker_cli", "serve", "--config", "broker.toml", "--json"]
    async with _started([*command, "--port", "0"], files) as server:
        yield server


@asynccontextmanager
async def bare(**answers: list[str]) -> AsyncIterator[Server]:
    """The floor's server; ``answers`` are those of ``http_bare``, each under its path."""
    paths = {f"/{name}": pieces for name, pieces in answers.items()}
    async with _started([str(HERE / "http_bare.py"), json.dumps(paths)], {}) as server:
        yield server


@asynccontextmanager
async def _started(arguments: list[str], files: Mapping[str, str]) -> AsyncIterator[Server]:
    """A program, beside these files, that says as JSON where it listens. RuntimeError."""
    with TemporaryDirectory() as place, TemporaryFile() as stderr:
        for name, text in files.items():
            await anyio.Path(place, name).write_text(text)
        command = [sys.executable, *arguments]
        async with await anyio.open_process(command, cwd=place, stderr=stderr) as process:
            assert process.stdout is not None
            said = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", LONGEST)
            url = json.loads(said).get("url")
            if url is None:
                await process.wait()
                stderr.seek(0)
                text = stderr.read().decode(errors="replace")
                raise RuntimeError(f"{arguments} does not serve: {said.decode()}{text}")
            try:
                yield Server(url, process.pid)
            finally:
                process.terminate()


async def load(order: Order) -> Load:
    """Have a process of its own put a load on a server."""
    command = [sys.executable, str(HERE / "load.py"), json.dumps(asdict(order))]
    done = await anyio.run_process(command, stderr=None)
    return Load(**json.loads(done.stdout))


async def rate(order: Order) -> float:
    """Answers a second, by wrk where it is installed; ValueError when one is wrong."""
    wrk = shutil.which("wrk")
    # It takes whole seconds only.
    if wrk is None or not order.seconds.is_integer():
        return (await load(order)).rate
    options = ["-t1", f"-c{order.connections}", f"-d{order.seconds:.0f}s"]
    said = [f"s_{token_hex(6)}_", order.body, order.accept, order.wanted, *order.paths]
    command = [wrk, *options, "-s", str(HERE / "load.lua"), order.url, "--", *said]
    done = await anyio.run_process(command)
    answers, microseconds, wrong, cut, text = done.stderr.decode().split(" ", 4)
    problems = [text] if int(wrong) + int(cut) else []
    return Load(int(answers), int(microseconds) / 1e6, problems).rate


async def compared(
    ways: Mapping[int, tuple[Order, Order]], repetitions: int, *, warm: bool
) -> Measured:
    """Number of connections → the floor's order and the broker's, which take turns.

    The ratios are the broker's to the floor's in the turn before. Where it is to be ``warm``,
    a repetition before the first does not count.
    """
    rates: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for repetition in range(repetitions + warm):
        for connections, (floor, ours) in ways.items():
            of = f"{connections} connection" + ("s" if connections > 1 else "")
            found = {f"bare, {of}": await rate(floor), f"broker, {of}": await rate(ours)}
            if repetition < warm:
                continue
            for name, value in found.items():
                rates.setdefault(name, []).append(value)
            fast, slow = found.values()
            ratios.setdefault(f"broker, {of}", []).append(slow / fast)
    return Measured(
        "bare",
        {name: Figures.of(values) for name, values in rates.items()},
        {name: Figures.of(values) for name, values in ratios.items()},
    )


def resident(pid: int) -> float:
    """MiB of memory that a process and all its children have; what several share, once."""
    return sum(_kilobytes(one) for one in _family(pid)) / 1024


def _family(pid: int) -> Iterator[int]:
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in listed.read_text().split():
            yield from _family(int(child))


def _kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
