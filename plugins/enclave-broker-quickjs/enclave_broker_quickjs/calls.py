"""The tool calls of one run, from what the sandbox says to what it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import BrokerError, RunError
from enclave_broker_core.once import Once

from .quickjs_worker import frames


@dataclass(slots=True, eq=False)
class Call:
    """One call of the run; ``outcome`` is how its promise is settled.

    ``place`` is how many of the run's calls were over before it.
    """

    number: int
    name: str
    arguments: dict[str, Any]
    outcome: list[Any] | None = None
    place: int = 0


class Calls:
    """``pending`` are those that the sandbox has no answer to. ``stop`` ends the run."""

    def __init__(self, host: RuntimeHost, stop: Callable[[Exception], None]) -> None:
        self._host = host
        self._stop = stop
        self._changed = Once()
        self.pending: dict[int, Call] = {}
        self.to_begin: list[Call] = []
        self.made = 0
        self._over = 0

    def said(self, message: bytes) -> None:
        """Take a call, to be begun when the code waits."""
        try:
            number, name, arguments = from_json(message)
        except ValueError:
            # Half a character, which JavaScript can have in a string and JSON can't.
            raise RunError("the arguments of a tool call are no valid Unicode") from None
        self.made += 1
        self.add(number, name, arguments)

    def add(self, number: int, name: str, arguments: dict[str, Any]) -> None:
        call = Call(number, name, arguments)
        self.pending[number] = call
        self.to_begin.append(call)

    async def perform(self, call: Call) -> None:
        """Do the call and keep its outcome. It raises nothing."""
        try:
            if self._host.durable:
                key = str(call.number)
                result = await self._host.call(call.name, call.arguments, key=key)
            else:
                result = await self._host.call(call.name, call.arguments)
            call.outcome = [call.number, True, result]
        except BrokerError as failure:
            call.outcome = [call.number, False, _shown(failure)]
        except Exception as bug:
            # What is not a BrokerError is the host's own affair: it ends the run and its
            # text is not for the agent.
            self._stop(bug)
        finally:
            self._over += 1
            call.place = self._over
            self._changed.set()

    async def one_settled(self) -> None:
        """Return when one of the pending calls has an outcome."""
        while all(call.outcome is None for call in self.pending.values()):
            self._changed = Once()
            await self._changed.wait()

    def answers(self) -> bytes:
        """The outcomes that there are, as they came, in a message to the sandbox."""
        settled = [call for call in self.pending.values() if call.outcome is not None]
        settled.sort(key=lambda call: call.place)
        for call in settled:
            del self.pending[call.number]
        count = frames.COUNT.pack(len(settled))
        return count + b"a" + to_json([call.outcome for call in settled])


def _shown(failure: BrokerError) -> dict[str, Any]:
    shown: dict[str, Any] = {"code": failure.code, "message": failure.message}
    if failure.retry_after is not None:
        shown["retryAfter"] = failure.retry_after
    return shown
