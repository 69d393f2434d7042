"""Between a store and its server: answers that are lost, and a line that is dead."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter, open_unix_connection, start_unix_server
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

SIZE = 65536


class LossyProxy:
    """``lose`` is how many answers are still to be lost, each with its connection.

    ``dead`` lines take what is sent, and nothing comes back.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.lose = 0
        self.dead = False
        self._server = server

    def url(self) -> str:
        return f"postgresql://tests@/postgres?host={self.folder}"

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        ends = [writer]
        try:
            answers, questions = await open_unix_connection(self._server)
            ends.append(questions)
            async with anyio.create_task_group() as both:
                both.start_soon(self._pass_on, reader, questions, False, both.cancel_scope)
                both.start_soon(self._pass_on, answers, writer, True, both.cancel_scope)
        finally:
            with anyio.CancelScope(shield=True):
                for end in ends:
                    end.close()
                    with suppress(OSError):
                        await end.wait_closed()

    async def _pass_on(
        self, source: StreamReader, sink: StreamWriter, answers: bool, over: anyio.CancelScope
    ) -> None:
        with suppress(OSError):
            while data := await source.read(SIZE):
                if answers and self.lose:
                    self.lose -= 1
                    break
                if not (answers and self.dead):
                    sink.write(data)
                    await sink.drain()
        over.cancel()


@asynccontextmanager
async def lossy_proxy(folder: Path, server: Path) -> AsyncIterator[LossyProxy]:
    """A proxy on a socket in ``folder`` before the server whose socket is in another."""
    name = ".s.PGSQL.5432"
    proxy = LossyProxy(folder, str(server / name))
    async with anyio.create_task_group() as tasks:

        def connected(reader: StreamReader, writer: StreamWriter) -> None:
            tasks.start_soon(proxy.serve, reader, writer)

        async with await start_unix_server(connected, folder / name):
            yield proxy
            tasks.cancel_scope.cancel()
