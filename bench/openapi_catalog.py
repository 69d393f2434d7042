"""A document of 1,000 operations into a catalog whose tools can be listed, beside FastMCP.

Each does it once in a process of its own, from the document's file to the list of all tools;
what it imports for that is imported before. FastMCP makes its tools from the parsed document,
so the time includes parsing for both.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from interleaved import Figures, Measured

ROOT = Path(__file__).parents[1]
TITLE = "a document of 1,000 operations into a catalog"
UNIT = "milliseconds"
NEEDS = ("fastmcp",)
BACKENDS = ("asyncio",)
AT_LEAST = {"FastMCP": 3.0}
OPERATIONS, SHORT = 1000, 20


async def ours(path: Path) -> int:
    from enclave_broker_core import open_broker

    auth = {"type": "bearer", "token": "a token"}
    table = {"use": "openapi", "name": "api", "spec": str(path), "refresh": 0, "auth": auth}
    async with open_broker({"tools": [table]}) as broker, broker.session() as session:
        return len(await session.visible_tools())


async def loaded() -> None:
    """A broker without tools, so that the plugins are imported."""
    from enclave_broker_core import open_broker

    async with open_broker():
        pass


async def imported() -> None:
    import_module("fastmcp")
    import_module("httpx2")


async def theirs(path: Path) -> int:
    # By name: the type checker has to pass where the peer is not installed.
    fastmcp: Any = import_module("fastmcp")
    httpx: Any = import_module("httpx2")  # what it wants for this
    async with httpx.AsyncClient(base_url="https://api.example.com") as client:
        document = json.loads(await anyio.Path(path).read_bytes())
        server = fastmcp.FastMCP.from_openapi(document, client)
        return len(await server.list_tools())


WAYS: Mapping[str, Callable[[Path], Awaitable[int]]] = {"ours": ours, "FastMCP": theirs}
WARM: Mapping[str, Callable[[], Awaitable[None]]] = {"ours": loaded, "FastMCP": imported}


async def once(way: str, path: Path) -> None:
    """Print how many milliseconds it took, how many MiB the process has had at most."""
    await WARM[way]()
    started = time.perf_counter()
    tools = await WAYS[way](path)
    took = (time.perf_counter() - started) * 1e3
    # In KiB, but in bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps([tools, took, most]))


async def processes(repetitions: int, short: bool) -> dict[str, list[tuple[float, float]]]:
    """Each way's milliseconds and MiB, once for each repetition, in turns."""
    sys.path.append(str(ROOT / "plugins/enclave-broker-openapi/tests"))
    large_document = import_module("openapi_large").large_document
    count = SHORT if short else OPERATIONS
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "openapi.json"
        path.write_text(json.dumps(large_document(count)))
        for _ in range(repetitions):
            for way, figures in found.items():
                command = [sys.executable, __file__, way, str(path)]
                done = await anyio.run_process(command, stderr=None)
                tools, took, most = json.loads(done.stdout.splitlines()[-1])
                assert tools == count
                figures.append((took, most))
    return found


def compared(found: dict[str, list[tuple[float, float]]], column: int) -> Measured:
    """One of the two figures, as a table."""
    columns = {way: [pair[column] for pair in pairs] for way, pairs in found.items()}
    pairs = zip(columns["FastMCP"], columns["ours"], strict=True)
    return Measured(
        "ours",
        {way: Figures.of(values) for way, values in columns.items()},
        {"FastMCP": Figures.of([theirs / ours for theirs, ours in pairs])},
    )


async def measured(repetitions: int, short: bool) -> Measured:
    return compared(await processes(repetitions, short), 0)


if __name__ == "__main__":
    asyncio.run(once(sys.argv[1], Path(sys.argv[2])))
