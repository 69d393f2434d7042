"""A web page in headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect

VARIABLE = "ENCLAVE_TEST_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = f"there is no Chromium: install it (apt-get install chromium) or set {VARIABLE}"
ADDRESS = re.compile(r"DevTools listening on ws://([0-9.:]+)/")
PATIENCE = 30.0


def chromium() -> str | None:
    """Where it is, if it is installed."""
    named = os.environ.get(VARIABLE)
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser(profile: Path) -> Iterator[str]:
    """Chromium with a profile of its own; the address of its DevTools."""
    program = chromium()
    assert program is not None, MISSING
    options = [
        "--headless",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
    ]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # its own sandbox does not work for root
    with subprocess.Popen(
        [program, *options, "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                found = ADDRESS.search(line)
                if found:
                    break
            else:
                raise AssertionError("Chromium did not start:\n" + "".join(said))
            # It goes on to write; nobody waits until a pipe has room.
            process.stderr.close()
            yield f"http://{found[1]}"
        finally:
            process.terminate()


class Page:
    """A tab. ``errors`` are exceptions that no script has caught, and the console's errors."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.errors: list[Any] = []

    async def send(self, method: str, **params: Any) -> Any:
        """A command's result."""
        number = next(self._ids)
        command = {"id": number, "method": method, "params": params}
        await self._connection.send(json.dumps(command))
        with anyio.fail_after(PATIENCE):
            while True:
                message = json.loads(await self._connection.recv())
                if message.get("id") == number:
                    assert "error" not in message, message["error"]
                    return message["result"]
                self._note(message)

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def run(self, script: str) -> Any:
        """The value of an expression, or of what it promises."""
        done = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true, which is tried again and again."""
        with anyio.fail_after(PATIENCE):
            while not await self.run(f"Boolean({condition})"):
                await self.run("new Promise((done) => setTimeout(done, 10))")

    async def type(self, selector: str, text: str) -> None:
        """Replace what is in a field."""
        await self.run(f"document.querySelector({json.dumps(selector)}).select()")
        await self.send("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])


@asynccontextmanager
async def page_in(address: str) -> AsyncIterator[Page]:
    """A new tab of a browser."""
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as http:
        tab = (await http.put("/json/new?about:blank")).json()
        try:
            async with connect(tab["webSocketDebuggerUrl"], max_size=None) as connection:
                page = Page(connection)
                for domain in ("Page", "Runtime", "Log"):
                    await page.send(f"{domain}.enable")
                yield page
        finally:
            await http.get(f"/json/close/{tab['id']}")
