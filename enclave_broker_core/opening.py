"""Opens the parts that a configuration plans; what fails is told with its place in the file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from .config_files import Document
from .contracts import OpenContext
from .errors import BrokerError, ConfigError, PluginError
from .parts import open_component
from .plan import Part
from .redaction import Redactor
from .secrets import Secrets
from .tracing import Headers, no_headers

OpenPart = Callable[[Part, OpenContext], AbstractAsyncContextManager[Any]]
"""Opens a part of a plan: what it yields is the part."""


def open_part(part: Part, context: OpenContext) -> AbstractAsyncContextManager[Any]:
    """A part of a plan, as its plugin opens it."""
    return open_component(part.component, part.config, context)


@dataclass(frozen=True)
class Opening:
    """Opens the parts of one document, ``how`` one is opened."""

    document: Document
    redactor: Redactor
    how: OpenPart

    @asynccontextmanager
    async def open(
        self,
        part: Part,
        secrets: Secrets | None = None,
        trace_headers: Callable[[], Headers] = no_headers,
    ) -> AsyncIterator[Any]:
        """A part, open; its failure says where it stands, whose it is, and no secret."""
        base = str(self.document.base_dir)
        context = OpenContext(part.name, base, trace_headers=trace_headers)
        if secrets is not None:
            context = replace(context, secret=secrets.get)
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(self.how(part, context))
            except BrokerError as problem:
                kind = ConfigError if isinstance(problem, ConfigError) else PluginError
                # Without its cause, whose message and traceback may hold a secret.
                raise kind(self.failure(part, problem.message)) from None
            yield opened

    def failure(self, part: Part, said: str) -> str:
        """What is said of a part, with where it stands and whose it is; and no secret."""
        place = self.document.locate(part.place)
        return self.redactor.text(f"{place}: {part.whose}: {said}")
