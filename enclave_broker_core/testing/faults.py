"""Faults for parts that work: calls that fail, hang, dawdle, or lose their answers, on demand."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from .gates import Bell, Gate
from .raising import anew

T = TypeVar("T")

OPEN, CALL = "open", "__call__"

Go = Callable[[], Awaitable[Any]]
Fault = Callable[[Go], Awaitable[Any]]
"""Stands in for one call of a part: ``go`` makes the call itself, if that is wanted."""


def fails(error: BaseException) -> Fault:
    """Raise the error, and do nothing."""

    async def fault(go: Go) -> Any:
        await checkpoint()
        raise anew(error)

    return fault


def loses_answer(error: BaseException) -> Fault:
    """Do what is asked for, and raise the error all the same: nobody knows whether it is done."""

    async def fault(go: Go) -> Any:
        await go()
        raise anew(error)

    return fault


def hangs(gate: Gate, *, after: bool = False, shielded: bool = False) -> Fault:
    """Wait until the gate is open, then do what is asked for; or do it first and wait ``after``.

    ``shielded`` waits on when it is cancelled, as a store's ``append`` does while it writes.
    """

    async def fault(go: Go) -> Any:
        with anyio.CancelScope(shield=shielded):
            if after:
                answer = await go()
                await gate.wait()
                return answer
            await gate.wait()
            return await go()

    return fault


def dawdles(turns: int, *, shielded: bool = False) -> Fault:
    """Give way to all other tasks so many times, and do then what is asked for.

    ``shielded`` hears of no cancellation meanwhile, as a store's ``append`` while it writes.
    """

    async def fault(go: Go) -> Any:
        with anyio.CancelScope(shield=shielded):
            for _ in range(turns):
                await checkpoint()
            return await go()

    return fault


def answers(value: Any) -> Fault:
    """Answer so, whatever is asked, and do nothing: what no contract allows, for example."""

    async def fault(go: Go) -> Any:
        await checkpoint()
        return value

    return fault


def cancels(scope: anyio.CancelScope) -> Fault:
    """Cancel a scope, that of whoever asks or another, and do what is asked for."""

    async def fault(go: Go) -> Any:
        scope.cancel()
        return await go()

    return fault


@dataclass
class _Planned:
    method: str
    fault: Fault
    at: Collection[int] | None
    where: Callable[..., bool] | None
    seen: int = 0

    def strikes(self, method: str, args: Any, keywords: Any) -> bool:
        if method != self.method or (self.where and not self.where(*args, **keywords)):
            return False
        self.seen += 1
        return self.at is None or self.seen in self.at


@dataclass
class Faults:
    """Wraps parts of any kind, and has chosen calls of them go wrong.

    ``calls`` holds the names of the coroutine methods that were called, in order, and
    ``struck`` of those that a fault was put in the place of. Without a fault a wrapped part
    is what it was; what is no coroutine method is always the part's own.
    """

    calls: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    _planned: list[_Planned] = field(default_factory=list, repr=False)
    _methods: set[str] = field(default_factory=set, repr=False)
    _bell: Bell = field(default_factory=Bell, repr=False)

    def on(
        self,
        method: str,
        fault: Fault,
        *,
        at: int | Collection[int] | None = None,
        where: Callable[..., bool] | None = None,
    ) -> None:
        """Put the fault in the place of calls of ``method``; ``"__call__"`` is a middleware's.

        ``where`` gets a call's arguments and says whether it is meant; ``at`` which of these,
        from now on and the first is 1: one number, several, or all when it is None. What was
        said first comes first. A harness also knows ``"open"``. ValueError for a call that
        never comes, and for a method that the part does not have, here or when it is wrapped.
        """
        numbers = (at,) if isinstance(at, int) else at
        if numbers is not None and min(numbers, default=0) < 1:
            raise ValueError(f"at={at!r}: the first call is 1")
        self._planned.append(_Planned(method, fault, numbers, where))
        if self._methods:
            self._require_known()

    def clear(self) -> None:
        """Have nothing go wrong from now on."""
        self._planned.clear()

    async def called(self, method: str, count: int = 1) -> None:
        """Return when ``method`` has been called so often."""
        await self._bell.until(lambda: self.calls.count(method) >= count)

    def around(self, part: T) -> T:
        """The part, with these faults: an object of another class with the same attributes."""
        if part is None:
            return part
        methods = _coroutine_methods(part)
        self._methods |= {OPEN, *methods}
        self._require_known()
        wrapped: T = _wrapped(part, methods, self)
        return wrapped

    def _require_known(self) -> None:
        unknown = {planned.method for planned in self._planned} - self._methods
        if unknown:
            raise ValueError(
                f"no coroutine method {', '.join(sorted(unknown))}; there are:"
                f" {', '.join(sorted(self._methods))}"
            )

    async def strike(
        self, method: str, go: Callable[..., Awaitable[Any]], *args: Any, **keywords: Any
    ) -> Any:
        """One call of a part: itself, or the first fault that is meant for it."""
        self.calls.append(method)
        self._bell.ring()
        hit = [one for one in self._planned if one.strikes(method, args, keywords)]
        if not hit:
            return await go(*args, **keywords)
        self.struck.append(method)
        return await hit[0].fault(lambda: go(*args, **keywords))


def _coroutine_methods(part: Any) -> set[str]:
    found = {
        name
        for name in dir(part)
        if not name.startswith("_")
        and not isinstance(inspect.getattr_static(part, name), property)
        and inspect.iscoroutinefunction(getattr(part, name))
    }
    call = part if inspect.isroutine(part) else getattr(part, "__call__", None)  # noqa: B004
    return found | {CALL} if inspect.iscoroutinefunction(call) else found


def _wrapped(part: Any, methods: set[str], faults: Faults) -> Any:
    """An object of a class of its own: who looks for methods looks for them in the class."""
    namespace: dict[str, Any] = {"__repr__": lambda self: f"<{part!r} with faults>"}
    for name in {name for name in dir(part) if not name.startswith("_")} | methods:
        namespace[name] = _striking(part, name, faults) if name in methods else _own(part, name)
    return type(type(part).__name__, (), namespace)()


def _striking(part: Any, name: str, faults: Faults) -> Any:
    async def method(self: Any, *args: Any, **keywords: Any) -> Any:
        go = part if name == CALL else getattr(part, name)
        return await faults.strike(name, go, *args, **keywords)

    method.__name__ = name
    return method


def _own(part: Any, name: str) -> Any:
    return property(lambda self: getattr(part, name))
