"""When the parts of a broker opened and closed, and what a broker left behind."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.opening import open_part
from enclave_broker_core.places import written
from enclave_broker_core.plan import Part

from .faults import OPEN, Faults

# Threads that an event loop keeps for its next job: anyio's, trio's and asyncio's own.
KEPT = ("AnyIO worker thread", "Trio thread", "trio.to_thread", "asyncio_")


class Lives:
    """Opens the parts of a configuration, and notes it: each by its place, ``tools[0]``.

    ``happened`` holds ``("opened", place)`` when a part has opened and ``("closed", place)``
    when it has closed, in order. ``parts`` is place → the part that was opened there last.
    """

    def __init__(
        self, faults: Mapping[str, Faults], watch: Callable[[str, Any], Any] | None = None
    ) -> None:
        """``watch`` is given each place and its part, and returns what is used instead."""
        self.happened: list[tuple[str, str]] = []
        self.parts: dict[str, Any] = {}
        self._faults = faults
        self._watch = watch

    @property
    def opened(self) -> list[str]:
        return [place for what, place in self.happened if what == "opened"]

    @property
    def closed(self) -> list[str]:
        return [place for what, place in self.happened if what == "closed"]

    @asynccontextmanager
    async def open(self, part: Part, context: OpenContext) -> AsyncIterator[Any]:
        """``open_part``, for ``open_setup``."""
        place = written(part.place)
        faults = self._faults.get(place)
        opening = part if faults is None else _failing(part, faults)
        opened = False
        try:
            async with open_part(opening, context) as entered:
                opened = True
                self.parts[place] = entered
                self.happened.append(("opened", place))
                used = entered if self._watch is None else self._watch(place, entered)
                yield used if faults is None else faults.around(used)
        finally:
            if opened:
                self.happened.append(("closed", place))

    def require_closed(self) -> None:
        """AssertionError when a part is still open, or has closed out of its turn.

        Each closes before those that were opened before it, but for the store: it closes
        when the sessions have ended, and no other part needs it then. After a reload, when
        two of each may be open for a time, only that all have closed is looked at.
        """
        left = Counter(self.opened) - Counter(self.closed)
        assert not left, f"not closed: {', '.join(sorted(left))}"
        opened = [place for place in self.opened if place != "store"]
        if len(set(opened)) == len(opened):
            closed = [place for place in self.closed if place != "store"]
            assert closed == opened[::-1], f"closed out of turn: {', '.join(closed)}"


def _failing(part: Part, faults: Faults) -> Part:
    """The same part, whose opening may fail as well."""

    @asynccontextmanager
    async def opened(config: BaseModel, context: OpenContext) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            opening = part.component.open(config, context)
            yield await faults.strike(OPEN, stack.enter_async_context, opening)

    return replace(part, component=replace(part.component, open=opened))


@contextmanager
def no_thread_left() -> Iterator[None]:
    """AssertionError when there are threads at the end that were not there at the beginning."""
    before = set(threading.enumerate())
    yield
    left = [one.name for one in threading.enumerate() if one not in before]
    left = [name for name in left if not name.startswith(KEPT)]
    assert left == [], f"threads are left behind: {', '.join(left)}"
