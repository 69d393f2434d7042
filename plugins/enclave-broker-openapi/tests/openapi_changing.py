"""A service whose document changes, and what watches it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import anyio
from openapi_documents import paths
from pydantic_core import to_json

from enclave_broker_core.testing.providers import Published

PATIENCE = 20.0
QUICK = 0.02
# Plain HTTP on this machine: what no source may use unless it is told so.
LOCAL = {"schemes": ["http"], "allow_private": ["loopback"]}


class Service:
    """Its document at ``/openapi.json``, another beside it, and operations that echo or wait."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.status = 200
        self.validator = "etag"
        self.asked: list[dict[str, str]] = []
        self.given: list[int] = []
        self.waiting = 0
        self.go_on = False
        self.offer("one")

    def offer(self, *names: str, **more: Any) -> None:
        """Have operations of these names."""
        document = paths(**{name: {} for name in names}) | more
        document["servers"] = [{"url": "/api"}]
        self.documents["/openapi.json"] = to_json(document)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path: str = scope["path"]
        if path not in self.documents:
            await self._operation(path, send)
            return
        self.asked.append({"path": path, **headers})
        content = self.documents[path]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        status, extra = self.status, list[tuple[bytes, bytes]]()
        if self.validator == "etag":
            extra = [(b"etag", tag.encode())]
            known = headers.get("if-none-match") == tag
        else:
            extra = [(b"last-modified", tag.encode())] if self.validator == "date" else []
            known = bool(extra) and headers.get("if-modified-since") == tag
        if status == 200 and known:
            status, content = 304, b""
        self.given.append(status)
        await send({"type": "http.response.start", "status": status, "headers": extra})
        await send({"type": "http.response.body", "body": content if status == 200 else b""})

    async def _operation(self, path: str, send: Any) -> None:
        self.waiting += 1
        while path.endswith("wait") and not self.go_on:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        self.waiting -= 1
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": to_json(path)})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def names(provider: Any) -> list[str]:
    return [tool.spec.name for tool in await provider.tools()]


class Watched:
    """A provider whose ``watch`` runs for the length of a block."""

    def __init__(self, provider: Any, publish: Any) -> None:
        self._provider, self._publish = provider, publish

    async def __aenter__(self) -> None:
        self._tasks = anyio.create_task_group()
        tasks = await self._tasks.__aenter__()
        tasks.start_soon(self._provider.watch, self._publish)

    async def __aexit__(self, *error: Any) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)


async def next_set(published: Published, before: int) -> list[str]:
    with anyio.fail_after(PATIENCE):
        return [tool.spec.name for tool in await published.changed(before)]
