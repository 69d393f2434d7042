"""Clients of many sessions at several servers, of which any may be gone; what they saw is kept."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

# A client that hears nothing for so long, in seconds, asks another server.
PATIENCE = 2.5
STEPS = ("once", "again")
CODE = """
found = []
for n in range({calls}):
    found.append(await call_tool("{tool}", {{"n": n}}))
found
"""


@dataclass
class Seen:
    """What clients saw of one session: its events as lines by seq, and its calls by number.

    A call's answer is what came of it, or nothing when that was never heard. The number is the
    call's argument, and no other call of the session has it.
    """

    session: str
    events: dict[int, str] = field(default_factory=dict)
    calls: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, line: str) -> bool:
        """Whether it is the last event."""
        event = json.loads(line)
        if event["type"] == "heartbeat":
            return False
        before = self.events.setdefault(event["seq"], line)
        if before != line:
            self.wrong.append(f"two events {event['seq']}: {before} and {line}")
        return event["type"] == "final"


class Load:
    """``count`` clients at a time, each with one session after the other, until ``stop``."""

    def __init__(self, urls: Sequence[str], rng: random.Random) -> None:
        self._urls = list(urls)
        self._rng = rng
        self._stopping = anyio.Event()
        self.sessions: list[Seen] = []
        # How often each status answered a session that was to be made; 0 is none.
        self.answers: Counter[int] = Counter()

    def stop(self) -> None:
        """No new sessions; those that there are come to their end."""
        self._stopping.set()

    async def run(self, count: int) -> None:
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(timeout=PATIENCE, limits=limits) as self._http,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(count):
                tasks.start_soon(self._client)

    async def _client(self) -> None:
        while not self._stopping.is_set():
            seen = Seen(f"s_{self._rng.getrandbits(64):016x}")
            self.sessions.append(seen)
            await self._session(seen)

    async def _session(self, seen: Seen) -> None:
        lives = {"sessionId": seen.session, "config": {"maxExecutionMs": 8000}}
        kind = self._rng.choice(["calls", "calls", "code", "durable"])
        if kind != "calls":
            code = CODE.format(calls=self._rng.randint(2, 6), tool=self._rng.choice(STEPS))
            lives |= {"code": code, "durable": kind == "durable"}
        made = await self._post("/sessions", lives, {"Accept": "application/json"})
        self.answers[0 if made is None else made.status_code] += 1
        if made is None or made.status_code != 201:
            # It may have been made all the same, and then it is judged like any other.
            await anyio.sleep(0.05)
            return
        async with anyio.create_task_group() as tasks:
            for _ in range(self._rng.randint(1, 2)):
                tasks.start_soon(self._follow, seen)
            if kind == "calls":
                async with anyio.create_task_group() as calls:
                    for number in range(self._rng.randint(2, 6)):
                        calls.start_soon(self._call, seen, number)
                if self._rng.random() < 0.8:
                    await self._post(f"/sessions/{seen.session}/cancel", {"reason": "done"})

    async def _call(self, seen: Seen, number: int) -> None:
        """One call, which is asked for again elsewhere when nobody answers."""
        seen.calls[number] = None
        body = {"name": self._rng.choice(STEPS), "args": {"n": number}}
        await anyio.sleep(self._rng.random() * 0.2)
        for _ in range(3):
            path = f"/sessions/{seen.session}/tool-calls"
            answer = await self._post(path, body, {"Idempotency-Key": str(number)})
            if answer is not None:
                if answer.status_code == 200:
                    seen.calls[number] = answer.json()
                return

    async def _follow(self, seen: Seen) -> None:
        """All events until the last one, wherever they can be had."""
        last = 0
        while True:
            url = f"{self._rng.choice(self._urls)}/sessions/{seen.session}/stream"
            headers = {"Accept": "application/x-ndjson"}
            try:
                async with self._http.stream(
                    "GET", url, params={"from": last + 1}, headers=headers
                ) as got:
                    if got.status_code == 404:
                        seen.wrong.append("it was there and is not found")
                        return
                    async for line in got.aiter_lines():
                        if '"seq"' not in line:
                            continue
                        if seen.add(line):
                            return
                        last = max(last, json.loads(line)["seq"])
            except httpx.TransportError:
                pass
            await anyio.sleep(0.05)

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        """The answer of one of the servers that are there; None when it was not heard."""
        for url in self._rng.sample(self._urls, len(self._urls)):
            try:
                return await self._http.post(f"{url}{path}", json=body, headers=headers)
            except httpx.ConnectError:
                continue
            except httpx.TransportError:
                return None
        return None
