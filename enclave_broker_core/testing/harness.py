"""A whole broker from a configuration, as ``enclave-broker`` builds it, and what happened in it."""

from __future__ import annotations

import contextvars
import logging
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enclave_broker_core.audit import audit_line
from enclave_broker_core.broker import Broker
from enclave_broker_core.build import Setup, open_setup
from enclave_broker_core.calls import CallRecord
from enclave_broker_core.config_files import Source, read
from enclave_broker_core.contracts import EventSink
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.events import Event
from enclave_broker_core.models import Decision
from enclave_broker_core.observations import CallFinished, Observation
from enclave_broker_core.session_handle import SessionHandle

from .checks import listening, nothing_left_running
from .faults import Faults
from .lives import Lives, no_thread_left

MOST_EVENTS = 100_000


@dataclass(frozen=True)
class CallOutcome:
    """What became of one call: its ``result``, or the ``error`` that was raised.

    ``observation`` is what sinks and the audit log were told, None when they were not;
    ``events`` are those of the session's log that are about the call.
    """

    result: Any
    error: BrokerError | None
    observation: CallFinished | None
    events: Sequence[Event] = ()

    @property
    def code(self) -> str:
        """ "ok", or the error's code."""
        return "ok" if self.error is None else self.error.code

    @property
    def record(self) -> CallRecord | None:
        """The call as the session's history has it."""
        return None if self.observation is None else self.observation.call

    @property
    def decision(self) -> Decision | None:
        """What was decided on access, with the rule that did."""
        return None if self.observation is None else self.observation.decision

    def unwrap(self) -> Any:
        """The result, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass
class _Seen:
    """The observations of a broker, and in whose call each was made."""

    all: list[Observation] = field(default_factory=list)
    own: contextvars.ContextVar[list[CallFinished] | None] = field(
        default_factory=lambda: contextvars.ContextVar("own", default=None)
    )

    def take(self, observation: Observation) -> None:
        self.all.append(observation)
        own = self.own.get()
        if own is not None and isinstance(observation, CallFinished):
            own.append(observation)


class _Witness:
    """The audit log, with somebody who looks on: it is told before a call has its answer."""

    def __init__(self, audit: EventSink, seen: _Seen) -> None:
        self._audit = audit
        self._seen = seen

    async def observe(self, observation: Observation) -> None:
        self._seen.take(observation)
        await self._audit.observe(observation)


class BrokerHarness:
    """An open broker, and what happened in it; ``open_harness`` makes it.

    ``setup`` is what a server gets, ``lives`` when the parts opened and closed, ``folder``
    where its files are. What it noted can be read after the end too.
    """

    def __init__(
        self, setup: Setup, lives: Lives, folder: Path, seen: _Seen, log: list[logging.LogRecord]
    ) -> None:
        self.setup = setup
        self.lives = lives
        self.folder = folder
        self.log = log
        self._seen = seen

    @property
    def broker(self) -> Broker:
        return self.setup.broker

    @property
    def observations(self) -> Sequence[Observation]:
        """All that sinks and the audit log were told of, in order."""
        return tuple(self._seen.all)

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The entries of the audit log, in order."""
        return [audit_line(observation) for observation in self._seen.all]

    def logged(self, level: int = logging.WARNING, logger: str = "") -> list[str]:
        """The messages that were logged at that level or above, by loggers of that name."""
        return [
            record.getMessage()
            for record in self.log
            if record.levelno >= level
            and f"{record.name}.".startswith(f"{logger}." if logger else "")
        ]

    def part(self, place: str) -> Any:
        """The part that was opened for a place of the configuration, such as ``tools[0]``."""
        return self.lives.parts[place]

    async def call(
        self,
        tool: str,
        args: Mapping[str, Any] | None = None,
        *,
        session: SessionHandle | None = None,
        **options: Any,
    ) -> CallOutcome:
        """Make a call, in a session of its own unless one is given.

        The options are those of a new session. What opening one raises is raised.
        """
        if session is not None:
            return await self._call(session, tool, args)
        async with self.broker.session(**options) as own:
            return await self._call(own, tool, args)

    async def _call(
        self, session: SessionHandle, tool: str, args: Mapping[str, Any] | None
    ) -> CallOutcome:
        own: list[CallFinished] = []
        token = self._seen.own.set(own)
        result, error = None, None
        try:
            result = await session.call(tool, args)
        except BrokerError as problem:
            error = problem
        finally:
            self._seen.own.reset(token)
        if not own:
            return CallOutcome(result, error, None)
        # The calls that its tool made have ended before it.
        observation = own[-1]
        events = [
            event
            for event in await self.events(session.id)
            if _is_about(event, observation.call.call_id)
        ]
        return CallOutcome(result, error, observation, events)

    async def events(self, session_id: str) -> list[Event]:
        """The events of a session's log so far."""
        store = self.part("store")
        return list(await store.read(session_id, limit=MOST_EVENTS))

    async def reload(self) -> None:
        """Read the configuration again, as ``Setup.reload`` does."""
        await self.setup.reload()


def _is_about(event: Event, call_id: str) -> bool:
    payload = event.payload
    if event.type == "partial_result":
        return bool(payload["path"][:1] == [call_id])
    return bool(payload.get("callId") == call_id)


@asynccontextmanager
async def open_harness(
    config: str | Source | None = None,
    *plugins: object,
    files: Mapping[str, str] | None = None,
    faults: Mapping[str, Faults] | None = None,
    folder: Path | None = None,
    environment: bool = False,
) -> AsyncIterator[BrokerHarness]:
    """A broker of a configuration and the plugins under test, open for a block.

    ``config`` is a TOML text, a mapping of the same shape, or a path; ``plugins`` are objects
    or modules that are taken as plugins besides the installed ones. ``files`` is name → text
    of what is put beside it, ``faults`` is place → what goes wrong with the part there:
    ``{"store": faults}``. All is in ``folder``, a temporary one unless given, where relative
    paths begin; those of a ``Path`` begin where that is. Variables like
    ``ENCLAVE_BROKER__STORE__URL`` count only with ``environment``. Without an ``[audit]``
    there is one, in the folder.

    AssertionError after the block when it left something behind: a part that is open, a
    task, or a thread.
    """
    places = dict(faults or {})
    seen, log = _Seen(), list[logging.LogRecord]()
    with tempfile.TemporaryDirectory() as temporary, listening(log.append):
        directory = Path(temporary) if folder is None else folder
        sources = _sources(config, directory, files or {})
        lives = Lives(
            places,
            lambda place, part: _Witness(part, seen) if place == "audit" else part,
        )
        with no_thread_left():
            async with (
                nothing_left_running(),
                open_setup(
                    sources, plugins=plugins, environment=environment, opening=lives.open
                ) as setup,
            ):
                unknown = places.keys() - lives.parts.keys()
                if unknown:
                    raise ValueError(
                        f"no part is at {', '.join(sorted(unknown))}; there are:"
                        f" {', '.join(lives.parts)}"
                    )
                yield BrokerHarness(setup, lives, directory, seen, log)
                abandoned = setup.broker.stats().abandoned_threads
            assert abandoned == 0, f"{abandoned} threads were abandoned and still run"
            lives.require_closed()


def _sources(config: str | Source | None, folder: Path, files: Mapping[str, str]) -> list[Source]:
    """The configuration as a list of files and mappings; the first is a file in the folder."""
    if "broker.toml" in files:
        raise ValueError("broker.toml is the configuration itself: give its text as such")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sources: list[Source] = []
    if isinstance(config, Path):
        sources.append(config)
    else:
        sources.append(folder / "broker.toml")
        (folder / "broker.toml").write_text(config if isinstance(config, str) else "")
        if isinstance(config, Mapping):
            sources.append(config)
    if "audit" not in read(sources, None).data:
        sources.append({"audit": {"path": str(folder / "audit.jsonl")}})
    return sources
