"""A durable runtime whose programs are lists of steps, for both event loops."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import BrokerError, RunError


def steps(*steps: Any) -> str:
    """A program of these steps."""
    return json.dumps(steps)


class StepSession:
    """The steps, each a list that begins with what to do:

    ``print`` a text; ``calls``: make these calls at once and print each result as it comes;
    ``keep`` a value for later runs; ``kept``: all that was kept; ``raise`` an error;
    ``compute``: wait for what another task sets. The value of a run is the list of what came
    of its calls and its ``kept`` steps; ``flat`` makes one list of those lists, ``double``
    makes it twice what was kept last.
    """

    def __init__(self, runtime: StepRuntime, host: RuntimeHost, state: bytes | None) -> None:
        self._runtime = runtime
        self._host = host
        self.durable = host.durable
        told = {"kept": [], "run": None} if state is None else json.loads(state)
        self._kept: list[Any] = told["kept"]
        self._run: dict[str, Any] | None = told["run"]

    async def run(self, code: str, *, last: bool = False) -> Any:
        return await self._go({"steps": json.loads(code), "at": 0, "got": []}, resumed=False)

    async def resume(self, *, last: bool = False) -> Any:
        run, self._run = self._run, None
        if run is None:
            raise RunError("there is no run to go on with")
        return await self._go(run, resumed=True)

    async def dump(self) -> bytes:
        return json.dumps({"kept": self._kept, "run": None}).encode()

    async def checkpoint(self, state: bytes, keys: list[str]) -> None:
        await self._host.checkpoint(state, keys)

    def keys(self, run: dict[str, Any], calls: list[Any]) -> list[str]:
        return [f"{run['at']}_{number}" for number in range(len(calls))]

    async def _go(self, run: dict[str, Any], *, resumed: bool) -> Any:
        for at in range(run["at"], len(run["steps"])):
            what, *given = run["steps"][at]
            run["at"] = at
            if what == "print":
                await self._host.stdout(given[0])
            elif what == "calls":
                run["got"].append(await self._calls(run, given[0], resumed))
            elif what == "keep":
                self._kept.append(given[0])
            elif what == "kept":
                run["got"].append(list(self._kept))
            elif what == "flat":
                run["got"] = [found for results in run["got"] for found in results]
            elif what == "double":
                run["got"] = self._kept[-1] * 2
            elif what == "raise":
                raise RunError(given[0] if given else str(run["got"][-1]))
            elif what == "compute":
                await self._runtime.computed.wait()
            resumed = False
        return run["got"]

    async def _calls(self, run: dict[str, Any], calls: list[Any], resumed: bool) -> list[Any]:
        keys = self.keys(run, calls)
        if self.durable and not resumed:
            state = {"kept": self._kept, "run": run}
            await self.checkpoint(json.dumps(state).encode(), keys)
        results: list[Any] = [None] * len(calls)
        # One after the other, as a sandbox takes them in whose code is in one thread.
        send, receive = anyio.create_memory_object_stream[tuple[int, Any]](len(calls))

        async def call(number: int, name: str, arguments: dict[str, Any]) -> None:
            try:
                found: Any = await self._host.call(name, arguments, key=keys[number])
            except BrokerError as error:
                found = f"{error.code}: {error.message}"
            send.send_nowait((number, found))

        async with anyio.create_task_group() as tasks, send, receive:
            for number, (name, arguments) in enumerate(calls):
                tasks.start_soon(call, number, name, arguments)
            for _ in calls:
                number, found = await receive.receive()
                results[number] = found
                if self._runtime.tells:
                    await self._host.stdout(f"{calls[number][0]} {found}\n")
        return results


class StepRuntime:
    language = "steps"
    durable = True

    def __init__(self, *, tells: bool = True) -> None:
        self.computed = anyio.Event()
        self.tells = tells

    @asynccontextmanager
    async def session(
        self, host: RuntimeHost, state: bytes | None = None
    ) -> AsyncIterator[StepSession]:
        yield StepSession(self, host, state)
