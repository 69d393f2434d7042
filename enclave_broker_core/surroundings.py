"""What a session has from its broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from anyio.abc import TaskGroup

from .composition import Composition
from .contracts import CallNext, Runtime
from .durable_runs import Durability
from .errors import RunError
from .frame import Append, Asking
from .models import SessionRecord, ToolSpec
from .record import Observe
from .redaction import Redactor
from .registry import Catalog
from .session_store import SessionStore
from .traced import Traced
from .unsettled import UnsettledEnds

Visible = Callable[[Asking, Catalog], Awaitable[Mapping[str, ToolSpec]]]


@dataclass
class Surroundings:
    """Shared by all sessions of a broker; ``chain`` and ``catalog`` are swapped whole.

    ``visible`` finds the tools that a session may use, by external name. ``tasks`` owns
    what sessions do in the background. Without ``durability`` no session is durable.
    """

    store: SessionStore
    tasks: TaskGroup
    chain: CallNext
    catalog: Catalog
    visible: Visible
    redactor: Redactor
    runtimes: Mapping[str, Runtime]
    default_runtime: str | None = None
    observe: Observe | None = None
    tracer: Traced | None = None
    durability: Durability | None = None
    unsettled: UnsettledEnds = field(init=False)

    def __post_init__(self) -> None:
        self.unsettled = UnsettledEnds(self.store)

    def take(self, opened: Composition) -> None:
        """Use other parts from now on; nothing waits in between."""
        self.chain = opened.chain
        self.visible = opened.access.visible
        self.runtimes = opened.runtimes
        self.default_runtime = next(iter(opened.runtimes), None)
        self.observe = opened.sinks.observe if opened.sinks.active else None
        self.tracer = opened.tracer

    @property
    def append(self) -> Append:
        """The store's; timed for a tracer."""
        append = self.store.append
        return append if self.tracer is None else self.tracer.appending(append)

    def follow(self, record: SessionRecord) -> None:
        """Tell the tracer, if there is one, that a session is this process's."""
        if self.tracer is not None:
            self.tracer.session_began(record)

    def runtime(self, name: str | None) -> Runtime:
        """The runtime of this name, or the default; RunError when there is none."""
        wanted = name or self.default_runtime
        if wanted is None:
            raise RunError(
                "this broker runs no code: it has no runtime (the distribution"
                " enclave-broker-monty has one for Python)"
            )
        if wanted not in self.runtimes:
            has = ", ".join(sorted(self.runtimes)) or "none"
            raise RunError(f"this broker has no runtime named {wanted!r}; it has: {has}")
        return self.runtimes[wanted]


def surroundings(
    store: SessionStore,
    tasks: TaskGroup,
    opened: Composition,
    catalog: Catalog,
    redactor: Redactor,
) -> Surroundings:
    """The surroundings that a broker's parts make."""
    made = Surroundings(store, tasks, opened.chain, catalog, opened.access.visible, redactor, {})
    made.take(opened)
    return made
