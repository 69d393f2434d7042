"""A small ToolContext that records, for tests of tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anyio.lowlevel import checkpoint
from pydantic import JsonValue

from enclave_broker_core.errors import SecretError, UnknownToolError
from enclave_broker_core.events import Level, Phase
from enclave_broker_core.models import Principal


@dataclass(frozen=True)
class SampleSession:
    """A session as a tool sees it."""

    id: str = "s_sample"
    principal: Principal | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)


class RecordingContext:
    """Gives a tool the secrets that it is made with, and notes what the tool tells.

    ``log_entries`` holds ``("progress", phase)``, ``("partial", item)``, ``("log", level,
    message)`` in order. It can call no other tool.
    """

    def __init__(
        self,
        tool: str,
        *,
        call_id: str = "c_sample",
        session: SampleSession | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.tool = tool
        self.call_id = call_id
        self.session = SampleSession() if session is None else session
        self.log_entries: list[tuple[Any, ...]] = []
        self._secrets = {} if secrets is None else dict(secrets)

    def secret(self, name: str) -> str:
        if name not in self._secrets:
            raise SecretError(f"{self.tool} asked for the secret {name!r}")
        return self._secrets[name]

    def remaining(self) -> float | None:
        return None

    async def progress(
        self, phase: Phase, *, bytes_received: int | None = None, total_bytes: int | None = None
    ) -> None:
        await self._note("progress", phase)

    async def partial(self, item: Any) -> None:
        await self._note("partial", item)

    async def log(
        self, level: Level, message: str, data: dict[str, JsonValue] | None = None
    ) -> None:
        await self._note("log", level, message)

    async def call(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        await checkpoint()
        raise UnknownToolError(f"there is no tool named {name!r}")

    async def _note(self, *entry: Any) -> None:
        await checkpoint()  # as the real one, that writes to a store
        self.log_entries.append(entry)
