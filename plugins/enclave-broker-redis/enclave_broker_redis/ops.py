"""Scripts, and operations on their way to a server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Generator, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Any

import anyio
from hiredis import pack_command

Argument = str | bytes | int | float


class Script:
    """The Lua script ``lua/<name>.lua``, behind those of ``parts``, which it uses.

    One that is not to be run ``again`` is never sent a second time unless the server has
    said that it did not run. ``constants`` become local numbers of the script.
    """

    def __init__(
        self, name: str, *parts: str, again: bool = True, constants: dict[str, int] | None = None
    ) -> None:
        place = files(__package__) / "lua"
        lines = [f"local {key} = {value}\n" for key, value in (constants or {}).items()]
        lines += [(place / f"{part}.lua").read_text("utf-8") for part in (*parts, name)]
        self.name = name
        self.again = again
        self.source = "".join(lines)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class Op:
    """One command, from when it was asked for to its answer; awaited, the answer.

    Who is cancelled while waiting does not take it back. ``give_up_at`` is there once it has
    met with trouble, by the loop's clock.
    """

    __slots__ = (
        "_future",
        "again",
        "asking",
        "command",
        "done",
        "failed",
        "give_up_at",
        "key",
        "reply",
        "script",
    )

    def __init__(
        self,
        command: tuple[Argument, ...],
        key: Argument,
        again: bool,
        script: Script | None = None,
    ) -> None:
        self.command = command
        self.key = key
        self.again = again
        self.script = script
        self.asking = False
        self.done = self.failed = False
        self.reply: Any = None
        self.give_up_at: float | None = None
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._future.__await__()

    async def finished(self) -> Any:
        """The answer. Who is cancelled meanwhile waits for it all the same, and then is."""
        try:
            return await self._future
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                while not self.done:
                    # Its waiter's cancellation has cancelled it.
                    self._future = asyncio.get_running_loop().create_future()
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([self._future])
            raise

    def answer(self, reply: Any) -> None:
        self.done = True
        self.reply = reply
        if not self._future.done():
            self._future.set_result(reply)

    def fail(self, problem: Exception) -> None:
        self.done = self.failed = True
        if not self._future.done():
            self._future.set_exception(problem)
            # Nobody may be left to be told.
            self._future.exception()

    def packed(self) -> bytes:
        packed: bytes = pack_command(self.command)  # type: ignore[arg-type]
        return packed

    def with_source(self) -> bool:
        """Send the whole script, to a server that does not know it; False if it was sent."""
        if self.script is None or self.command[0] == "EVAL":
            return False
        self.command = ("EVAL", self.script.source, *self.command[2:])
        return True


def call_of(script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Op:
    command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
    return Op(command, keys[0], script.again, script)
