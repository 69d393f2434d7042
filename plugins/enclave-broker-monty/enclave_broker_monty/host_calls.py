"""The host calls of one run: owned by the run, so that none outlives it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import anyio
from pydantic_core import from_json
from pydantic_monty import ExternalModule
from pydantic_monty import ExternalSettledResult as Outcome

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.functions import arguments_text

from .checkpoints import Awaited
from .helpers import Helpers
from .output import Output
from .prelude import as_exception
from .signatures import Signature

Work = Callable[[], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class HostCall:
    """One call of the run; it has its ``outcome`` when it is over.

    ``awaited`` is how a checkpoint has it; ``place`` is how many were over before it.
    """

    work: Work
    awaited: Awaited | None = None
    scope: anyio.CancelScope | None = None
    outcome: Outcome | None = None
    place: int = 0


class HostCalls:
    """Makes the calls of sandboxed code, and owns what they do.

    Each runs in a cancel scope of its own that is kept here, and ``close`` cancels them and
    waits for their end. ``stop`` ends the run with an error.
    """

    def __init__(
        self,
        host: RuntimeHost,
        output: Output,
        helpers: Helpers,
        stop: Callable[[Exception], None],
    ) -> None:
        self._host = host
        self._output = output
        self._helpers = helpers
        self._stop = stop
        self._under_way: set[HostCall] = set()
        self._changed: anyio.Event | None = None
        self._over = 0
        self._closed = False

    # What sandboxed code finds. The worker's thread answers a call of these from outside;
    # the functions themselves are never called.

    def lookup(self) -> dict[str, Callable[..., NoReturn]]:
        """The names that sandboxed code finds without an import."""
        return {"call_tool": _answered_from_outside}

    def module(self, signatures: Mapping[str, Signature], stubs: str | None) -> ExternalModule:
        """The module ``tools``."""
        return ExternalModule(dict.fromkeys(signatures, _answered_from_outside), stubs=stubs)

    # Making calls: announced in the worker's thread, done on the loop. Each has its number.

    def announce_tool(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HostCall:
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
        return self._announced(number, name, arguments)

    def announce_function(
        self, number: int, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HostCall:
        """A call of a function of the module ``tools``; TypeError as Python raises it."""
        return self._announced(number, signature.spec.name, signature.bind(args, kwargs))

    def _announced(self, number: int, name: str, arguments: dict[str, Any]) -> HostCall:
        if not self._host.durable:
            return HostCall(lambda: self._host.call(name, arguments))
        # As it will be when another process makes the call; BrokerError when it can't be.
        text = arguments_text(name, arguments, self._host.limits.max_argument_bytes)
        return self.restored(Awaited(number, tool=name, arguments=from_json(text)))

    def announce_sleep(self, number: int, seconds: float, *, blocking: bool = False) -> HostCall:
        """What ``asyncio.sleep`` hands on when it is over, the sandbox itself knows."""
        if self._host.durable:
            return self.restored(Awaited(number, ends=time.time() + seconds, blocking=blocking))
        return HostCall(lambda: _sleep(seconds))

    def restored(self, awaited: Awaited) -> HostCall:
        """A call as a checkpoint has it."""
        name, key = awaited.tool, str(awaited.number)
        if name is not None:
            return HostCall(lambda: self._host.call(name, awaited.arguments, key=key), awaited)
        return HostCall(lambda: _sleep(awaited.ends - time.time()), awaited)

    def begin(self, call: HostCall) -> None:
        """Do a call beside what goes on."""
        self._helpers.start(self.perform(call))

    async def perform(self, call: HostCall) -> None:
        """Do the call's work, and keep its outcome, as sandboxed code shall see it."""
        error: Exception | None = RuntimeError("the run is over")
        result = None
        if self._closed:
            call.outcome = {"exception": RuntimeError("the run is over")}
            return
        self._under_way.add(call)
        try:
            with anyio.CancelScope() as call.scope:
                await self._output.flush()
                result = await call.work()
                error = None
        except BrokerError as failure:
            error = as_exception(failure)
        except Exception as bug:
            # What is not a BrokerError is the host's own affair: it ends the run and its
            # text is not for the agent.
            self._stop(bug)
            error = RuntimeError("INTERNAL_ERROR: the call failed inside the host")
        finally:
            call.outcome = {"return_value": result} if error is None else {"exception": error}
            self._over += 1
            call.place = self._over
            self._under_way.discard(call)
            if self._changed is not None:
                self._changed.set()
                self._changed = None

    async def one_of(self, calls: list[HostCall]) -> None:
        """Return when one of the calls has an outcome."""
        while all(call.outcome is None for call in calls):
            await self._change()

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    async def close(self) -> None:
        """Cancel every call that still runs and return when all are gone."""
        self._closed = True
        for call in self._under_way:
            if call.scope is not None:
                call.scope.cancel()
        if self._under_way:
            with anyio.CancelScope(shield=True):
                while self._under_way:
                    await self._change()


async def _sleep(seconds: float) -> None:
    await anyio.sleep(max(0.0, seconds))


def _answered_from_outside(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError("a call of sandboxed code is answered from outside")
