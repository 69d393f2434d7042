"""The conformance suite for middleware."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import JsonValue
from pydantic_core import to_json

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import Middleware
from enclave_broker_core.errors import (
    AccessDeniedError,
    ArgumentsError,
    BrokerError,
    ToolError,
    ToolTimeoutError,
)
from enclave_broker_core.models import Principal, ToolSpec

from . import hostile
from .checks import PatientSuite, cancel_at_each_wait
from .samples import at_once

ADA = Principal(id="ada", tenant="north")

CALLERS = (
    ("s_1", ADA),
    ("s_2", Principal(id="bob", tenant="north")),
    ("s_3", Principal(id="ada", tenant="south")),
    ("s_4", None),
    ("s_5", Principal.anonymous()),
)


@dataclass
class SampleFrame:
    """What a ToolCall knows of its session, of its tool and of its time."""

    session_id: str = "s_1"
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    tool: ToolSpec | None = None
    seconds: float = 60.0
    depth: int = 0

    def spec(self, name: str) -> ToolSpec | None:
        return self.tool if self.tool is not None and self.tool.name == name else None

    def time_left(self) -> float:
        return self.seconds


class Below:
    """What stands below the middleware: notes the calls that reach it, and answers them.

    ``answer`` is a coroutine function of the call. ``calls`` are those that came,
    ``running`` counts those under way, ``cancelled`` those that were cancelled; ``began``
    is set by the first.
    """

    def __init__(self, answer: Callable[[ToolCall], Awaitable[Any]]) -> None:
        self._answer = answer
        self.calls: list[ToolCall] = []
        self.running = 0
        self.cancelled = 0
        self.began = anyio.Event()

    async def __call__(self, call: ToolCall) -> Any:
        self.calls.append(call)
        self.running += 1
        self.began.set()
        try:
            await checkpoint()
            return await self._answer(call)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


async def echo(call: ToolCall) -> Any:
    """The arguments, as a tool would answer: made anew."""
    return dict(call.args)


async def never(call: ToolCall) -> Any:
    await anyio.sleep_forever()


@pytest.mark.anyio
class MiddlewareSuite(PatientSuite):
    """Every sentence of the Middleware contract as a test.

    Subclass it as ``class TestMyMiddleware(MiddlewareSuite)`` and override
    ``open_middleware``, which gives each test one that has seen no call yet. ``tool`` is the
    tool that is called, ``arguments`` what with, and each call has a number besides, under
    ``number_key``, that makes it another than those before. ``flags`` are fields of the tool's
    ToolSpec, for a middleware that treats some tools otherwise. ``most_calls`` is how often one
    call that fails may be passed on: more than once for one that tries again, which
    should then not wait in between. What changes calls or results overrides ``passed_on`` or
    ``answered``::

        class TestMyMiddleware(MiddlewareSuite):
            most_calls = 3

            @asynccontextmanager
            async def open_middleware(self):
                yield Retry(attempts=3, delay=0)
    """

    tool: ClassVar[str] = "test:echo"
    arguments: ClassVar[Mapping[str, JsonValue]] = {"list": [1, 2.5, None, True, "é"]}
    number_key: ClassVar[str] = "number"
    flags: ClassVar[Mapping[str, Any]] = {}
    most_calls: ClassVar[int] = 1

    def open_middleware(self) -> AbstractAsyncContextManager[Middleware]:
        raise NotImplementedError("the subclass says how its middleware is opened")

    def passed_on(self, call: ToolCall) -> ToolCall:
        """What has to come out below of a call: that very call, unless overridden."""
        return call

    def answered(self, result: JsonValue) -> JsonValue:
        """What the caller has to get for a result from below: the same, unless overridden."""
        return result

    def call(
        self, number: int = 1, session_id: str = "s_1", principal: Principal | None = ADA
    ) -> ToolCall:
        """A call that was never seen before when its number was not."""
        text = to_json({**self.arguments, self.number_key: number})
        frame = SampleFrame(session_id, {"plan": "free", "tags": ["a"]}, self._spec)
        return ToolCall(f"c_{session_id}_{number}", self.tool, text, principal, frame, ["granted"])

    @cached_property
    def _spec(self) -> ToolSpec:
        """One for all calls, as in a catalog."""
        return ToolSpec(name=self.tool, input_schema={"type": "object"}, **self.flags)

    def _open(self) -> AbstractAsyncContextManager[Middleware]:
        return self.patiently(self.open_middleware())

    async def test_it_is_called_as_a_coroutine_function(self) -> None:
        async with self._open() as middleware:
            method = middleware if inspect.isroutine(middleware) else middleware.__call__
            assert inspect.iscoroutinefunction(inspect.unwrap(method))

    async def test_a_call_is_passed_on_once_and_as_it_is(self) -> None:
        async with self._open() as middleware:
            for number in range(3):
                below, call = Below(echo), self.call(number)
                expected = self.passed_on(call)
                await middleware(call, below)
                assert below.calls == [expected]
                # A changed call has to be granted again, and one that only looks so too.
                assert expected is not call or below.calls[0] is call

    async def test_the_result_is_what_came_from_below(self) -> None:
        results: list[Any] = [
            *[None, False, True, 0, 1, -0.5, "", "text", "é☃"],
            *[[], {}, [None], [[]]],
            {"": {"list": [1, {"deep": None}]}},
            {"ok": False, "error": "no error"},
            {"result": None},
        ]
        async with self._open() as middleware:
            for number, result in enumerate(results):

                async def answer(call: ToolCall, result: JsonValue = result) -> JsonValue:
                    return copy.deepcopy(result)

                found = await middleware(self.call(number), Below(answer))
                expected = self.answered(copy.deepcopy(result))
                assert (type(found), found) == (type(expected), expected)

    async def test_an_error_from_below_is_raised_as_it_is(self) -> None:
        errors: list[Exception] = [
            ToolError("no luck"),
            AccessDeniedError("not you"),
            ArgumentsError("wrong", fields=[("id", "is missing")]),
            BrokerError("broken"),
            ValueError("not foreseen"),
        ]
        async with self._open() as middleware:
            for number, error in enumerate(errors):
                before = (error.args, copy.deepcopy(vars(error)))

                async def answer(call: ToolCall, error: Exception = error) -> Any:
                    raise error

                with pytest.raises(type(error)) as caught:
                    await middleware(self.call(number), Below(answer))
                assert caught.value is error
                assert (error.args, vars(error)) == before

    async def test_a_call_that_fails_is_passed_on_at_most_so_often(self) -> None:
        async def late(call: ToolCall) -> Any:
            raise ToolTimeoutError("too late")

        async with self._open() as middleware:
            below = Below(late)
            with pytest.raises(ToolTimeoutError):
                await middleware(self.call(), below)
            assert 1 <= len(below.calls) <= self.most_calls

    async def test_nothing_runs_below_when_it_has_answered(self) -> None:
        async with self._open() as middleware:
            below = Below(echo)
            await middleware(self.call(), below)
            assert (below.running, len(below.calls)) == (0, 1)
            await anyio.wait_all_tasks_blocked()
            assert (below.running, len(below.calls)) == (0, 1)

    async def test_what_it_is_given_stays_as_it_is(self) -> None:
        given: list[Any] = []

        async def answer(call: ToolCall) -> Any:
            given.append({"value": {"list": [1]}, "number": 1})
            return given[-1]

        async with self._open() as middleware:
            call = self.call()
            metadata = copy.deepcopy(dict(call.metadata))
            await middleware(call, Below(answer))
            assert call.metadata == metadata
            assert call.grant == ["granted"]
            assert given[0] == {"value": {"list": [1]}, "number": 1}

    async def test_a_cancelled_call_is_gone_below(self) -> None:
        answers: list[Any] = []
        async with self._open() as middleware:
            below = Below(never)

            async def ask() -> None:
                try:
                    answers.append(await middleware(self.call(), below))
                except Exception as problem:
                    answers.append(problem)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await below.began.wait()
                tasks.cancel_scope.cancel()
            assert answers == []
            assert (below.running, below.cancelled) == (0, len(below.calls))
            assert await self._echoes(middleware, 2)

    async def test_a_call_can_be_cancelled_wherever_it_waits(self) -> None:
        numbers = iter(range(100))
        async with self._open() as middleware:
            await cancel_at_each_wait(lambda: middleware(self.call(next(numbers)), Below(echo)))
            assert await self._echoes(middleware, 100)

    async def _echoes(self, middleware: Middleware, number: int) -> bool:
        call = self.call(number)
        expected = self.answered(dict(self.passed_on(call).args))
        found: bool = await middleware(call, Below(echo)) == expected
        return found

    async def test_calls_at_once_do_not_mix(self) -> None:
        async with self._open() as middleware:
            calls = [self.call(number, f"s_{number % 3}") for number in range(12)]
            below = Below(echo)
            answers = await at_once([partial(middleware, call, below) for call in calls])
            assert answers == [self.answered(dict(self.passed_on(call).args)) for call in calls]
            assert len(below.calls) == len(calls)

    async def test_a_call_that_waits_holds_up_no_other(self) -> None:
        async with self._open() as middleware, anyio.create_task_group() as tasks:
            below = Below(never)
            tasks.start_soon(middleware, self.call(1), below)
            await below.began.wait()
            assert await self._echoes(middleware, 2)
            tasks.cancel_scope.cancel()

    async def test_callers_do_not_get_what_is_another_s(self) -> None:
        """The same tool and arguments, other callers: each gets the answer for himself."""

        async def answer(call: ToolCall) -> Any:
            caller = call.principal
            return None if caller is None else [caller.id, caller.tenant]

        async with self._open() as middleware:
            below = Below(answer)
            for _ in range(2):
                for session_id, caller in CALLERS:
                    found = await middleware(self.call(1, session_id, caller), below)
                    own = await answer(self.call(1, session_id, caller))
                    assert found == self.answered(own)
            passed = {
                (call.session_id, call.principal and call.principal.id) for call in below.calls
            }
            assert passed <= {(session, caller and caller.id) for session, caller in CALLERS}

    async def test_an_error_of_one_call_is_no_other_s(self) -> None:
        async def fail(call: ToolCall) -> Any:
            raise ToolError("no luck")

        async with self._open() as middleware:
            with pytest.raises(ToolError):
                await middleware(self.call(1), Below(fail))
            assert await self._echoes(middleware, 2)

    async def test_odd_calls_are_answered_or_a_broker_error(self) -> None:
        async with self._open() as middleware:
            for number, name in enumerate(hostile.NAMES):
                call = self.call(number)._replace(name=name)
                await self._answered_at_all(middleware, call)
            text = to_json({**hostile.arguments(), **self.arguments})
            for principal in (None, Principal(id="\0\u202e", attributes=hostile.arguments())):
                call = self.call(99, "s_odd", principal)._replace(arguments_json=text)
                await self._answered_at_all(middleware, call)
            assert await self._echoes(middleware, 100)

    async def _answered_at_all(self, middleware: Middleware, call: ToolCall) -> None:
        try:
            to_json(await middleware(call, Below(echo)))
        except BrokerError:
            return
