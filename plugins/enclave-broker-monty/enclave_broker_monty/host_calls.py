"""The host calls of one run: owned by the run, so that none outlives it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from pydantic_monty import NOT_HANDLED, ExternalModule
from pydantic_monty import ExternalSettledResult as Outcome

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import BrokerError

from .output import Output
from .prelude import as_exception
from .signatures import Signature

Work = Callable[[], Awaitable[Any]]
HostFunction = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(slots=True, eq=False)
class HostCall:
    """One call: ``number`` counts the run's calls in the order in which they were made."""

    number: int
    work: Work
    scope: anyio.CancelScope | None = None
    outcome: Outcome | None = None


class HostCalls:
    """Makes the functions that sandboxed code can call, and owns what they do.

    pydantic-monty starts the coroutines of a run and forgets them when the run ends or is
    cancelled. Each therefore runs in a cancel scope of its own that is kept here, and
    ``close`` cancels them and waits for their end. ``stop`` ends the run with an error.
    """

    def __init__(
        self, host: RuntimeHost, output: Output, stop: Callable[[Exception], None]
    ) -> None:
        self._host = host
        self._output = output
        self._stop = stop
        self._announced = 0
        self._begun = 0
        self._moves = 0
        self._waiting: dict[int, HostCall] = {}
        self._blocking = 0
        self._changed: anyio.Event | None = None
        self._held: anyio.Event | None = None
        self._closed = False

    # What the sandbox gets. These functions are called on a thread of pydantic-monty;
    # the coroutines that they return run on the loop.

    def lookup(self) -> dict[str, HostFunction]:
        """The names that sandboxed code finds without an import."""

        def call_tool(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            return self.perform(self.announce_tool(args, kwargs))

        return {"call_tool": call_tool}

    def module(self, signatures: Mapping[str, Signature], stubs: str | None) -> ExternalModule:
        """The module ``tools``."""

        def bind(signature: Signature) -> HostFunction:
            def tool(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
                return self.perform(self.announce_function(signature, args, kwargs))

            return tool

        functions = {name: bind(signature) for name, signature in signatures.items()}
        return ExternalModule(functions, stubs=stubs)

    def os(
        self,
        *,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        is_async: bool,
        **_: Any,
    ) -> Any:
        """Sleeps are host calls like others; the sandbox has no operating system beside."""
        if name == "asyncio.sleep":
            return self.perform(self.announce_sleep(args))
        if name == "time.sleep":
            return self._block(float(args[0]))
        return NOT_HANDLED

    # Making calls

    def announce_tool(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HostCall:
        """A call of ``call_tool(name, args=None)``; TypeError when it isn't one."""
        match args, kwargs:
            case ((str(name),), {}) if not kwargs:
                arguments: Any = {}
            case ((str(name), arguments), {}) if not kwargs:
                pass
            case ((str(name),), {"args": arguments}) if len(kwargs) == 1:
                pass
            case ((), {"name": str(name), **more}) if more.keys() <= {"args"}:
                arguments = more.get("args")
            case _:
                raise TypeError("call_tool() takes a tool's name and one dict of arguments")
        arguments = {} if arguments is None else arguments
        if type(arguments) is not dict or not all(type(key) is str for key in arguments):
            raise TypeError("call_tool() takes the arguments as one dict with strings as keys")
        return self._announce(lambda: self._host.call(name, arguments))

    def announce_function(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HostCall:
        """A call of a function of the module ``tools``; TypeError as Python raises it."""
        arguments = signature.bind(args, kwargs)
        return self._announce(lambda: self._host.call(signature.spec.name, arguments))

    def announce_sleep(self, args: tuple[Any, ...]) -> HostCall:
        async def sleep() -> Any:
            await anyio.sleep(max(0.0, float(args[0])))
            return args[1] if len(args) > 1 else None

        return self._announce(sleep)

    def _announce(self, work: Work) -> HostCall:
        # Only ever on one thread at a time: the sandbox makes one call after the other.
        self._announced += 1
        return HostCall(self._announced, work)

    async def perform(self, call: HostCall) -> Any:
        """Do the call's work and keep its outcome; raises what sandboxed code shall see."""
        if self._closed:
            raise RuntimeError("the run is over")
        self._waiting[call.number] = call
        self._begun += 1
        self._moved()
        error: Exception | None = None
        result = None
        try:
            with anyio.CancelScope() as call.scope:
                await self._output.flush()
                result = await call.work()
            if call.scope.cancelled_caught:
                error = RuntimeError("the run is over")
        except BrokerError as failure:
            error = as_exception(failure)
        except Exception as bug:
            # What is not a BrokerError is the host's own affair: it ends the run and its
            # text is not for the agent.
            self._stop(bug)
            error = RuntimeError("INTERNAL_ERROR: the call failed inside the host")
        finally:
            call.outcome = {"return_value": result} if error is None else {"exception": error}
            del self._waiting[call.number]
            self._moved()
        if self._held is not None:
            await self._held.wait()
        if error is not None:
            raise error
        return result

    async def perform_quietly(self, call: HostCall) -> None:
        """``perform`` as a task of its own: the call keeps the outcome, an error too."""
        with contextlib.suppress(Exception):
            await self.perform(call)

    async def _block(self, seconds: float) -> None:
        self._blocking += 1
        try:
            await self.perform(self.announce_sleep((seconds,)))
        finally:
            self._blocking -= 1

    # Waiting

    @property
    def waiting(self) -> tuple[HostCall, ...]:
        """The calls that have no outcome yet, in the order in which they were made."""
        return tuple(self._waiting[number] for number in sorted(self._waiting))

    @property
    def moves(self) -> int:
        """A number that grows whenever a call begins or ends."""
        return self._moves

    def only_waits(self, since: int) -> bool:
        """Whether the run waits for tools and no call has begun or ended after ``since``.

        A call that was announced and has not begun is still on its way to the loop: a run
        that was parked now would lose it.
        """
        on_their_way = self._announced - self._begun
        return bool(self._waiting) and self._moves == since and not (on_their_way or self._blocking)

    async def change(self) -> None:
        """Return when the next call begins or ends."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _moved(self) -> None:
        self._moves += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def hold(self) -> None:
        """Keep what ends from the sandbox until ``let_go``; the calls have their outcomes.

        For a run that is stopped: told of a result, its code would go on until it is gone.
        """
        self._held = anyio.Event()

    def let_go(self) -> None:
        if self._held is not None:
            self._held.set()
            self._held = None

    async def close(self) -> None:
        """Cancel every call that still runs and return when all are gone."""
        self._closed = True
        self.let_go()
        for call in self.waiting:
            if call.scope is not None:
                call.scope.cancel()
        if self._waiting:
            with anyio.CancelScope(shield=True):
                while self._waiting:
                    await self.change()
