"""The conformance suite for runtimes, in whatever language their sandbox has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from enclave_broker_core.contracts import Runtime, RuntimeSession
from enclave_broker_core.errors import (
    BrokerError,
    DeadlineExceededError,
    ResultTooLargeError,
    RunError,
)
from enclave_broker_core.models import SessionLimits
from enclave_broker_core.testing.hosts import RecordingHost
from enclave_broker_core.testing.suite import Suite


class RuntimeSuite(Suite):
    """Checks a Runtime against its contract and against hostile code.

    A subclass defines ``open_runtime`` and the snippets below in its language: what each
    has to do stands beside it. The tools are those of RecordingHost. A runtime with few
    workers shows more, as the suite opens more sessions than it can have.
    """

    pytestmark = pytest.mark.anyio

    patience: ClassVar[float] = 60.0
    """Seconds after which a test gives up on a runtime that hangs; none waits for them."""

    two: ClassVar[str]
    """Its value is 2."""
    echo: ClassVar[str]
    """Calls test:echo with {"list": [1, 2.5, None, True, "é"]}; its value is the result."""
    meet: ClassVar[str]
    """Calls test:meet with count 3 three times at once; its value is the list of results."""
    print_call_print: ClassVar[str]
    """Prints a line "before", calls test:echo with the value 1, prints a line "after"."""
    print_and_never: ClassVar[str]
    """Prints a line "before" and then does what ``never`` does."""
    define: ClassVar[str]
    """Defines a function of one argument that doubles it, and keeps 21 in a variable."""
    use: ClassVar[str]
    """Calls that function with that variable; its value is 42."""
    is_defined: ClassVar[str]
    """Its value is true when that function is defined, otherwise false."""
    define_and_raise: ClassVar[str]
    """Does what ``define`` does and then raises an error with the text "on purpose"."""
    bad_syntax: ClassVar[str]
    """Is no program."""
    catch: ClassVar[str]
    """Calls test:fail with the message "no luck", catches; its value is [code, message]."""
    not_caught: ClassVar[str]
    """Calls test:fail with the message "no luck" and does not catch."""
    never: ClassVar[str]
    """Calls test:never and waits for it."""
    never_beside_failure: ClassVar[str]
    """Calls test:never and test:fail at once and lets the error end the run."""
    loop_for_ever: ClassVar[str]
    """Calls test:echo with the value 1 and then computes without end."""
    allocate_for_ever: ClassVar[str]
    """Takes more and more memory."""
    recurse_for_ever: ClassVar[str]
    """A function that calls itself without end."""
    large_result: ClassVar[str]
    """Its value is a string of 10,000 characters."""
    large_output: ClassVar[str]
    """Prints 10,000 characters, then calls test:echo with the value 1."""
    no_json: ClassVar[str]
    """Its value is one that JSON can't hold."""

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        """The runtime under test, open for one test."""
        raise NotImplementedError

    @asynccontextmanager
    async def _open(
        self, limits: SessionLimits | None = None
    ) -> AsyncIterator[tuple[RuntimeSession, RecordingHost]]:
        host = RecordingHost(limits)
        with anyio.fail_after(self.patience):
            async with self.open_runtime() as runtime, runtime.session(host) as session:
                yield session, host

    async def _cancelled_run(self, session: RuntimeSession, host: RecordingHost, code: str) -> None:
        """Run code until it has made one more call, cancel it and wait until it is gone."""
        before = len(host.calls)
        async with anyio.create_task_group() as group:
            group.start_soon(session.run, code)
            await host.called(before + 1)
            group.cancel_scope.cancel()

    # What code can do

    async def test_the_value_of_the_last_expression_is_the_result(self) -> None:
        async with self._open() as (session, _):
            assert await session.run(self.two) == 2

    async def test_a_call_reaches_the_host_and_its_result_the_code(self) -> None:
        value = {"list": [1, 2.5, None, True, "é"]}
        async with self._open() as (session, host):
            assert await session.run(self.echo) == value
            assert host.calls == [("test:echo", {"value": value})]

    async def test_calls_run_at_once(self) -> None:
        async with self._open() as (session, host):
            await session.run(self.meet)
            assert host.most_running == 3

    async def test_what_is_printed_comes_in_order_with_the_calls(self) -> None:
        async with self._open() as (session, host):
            await session.run(self.print_call_print)
            call = host.log.index(("call", "test:echo", {"value": 1}))
            before = "".join(entry[1] for entry in host.log[:call])
            after = "".join(entry[1] for entry in host.log[call + 1 :])
            assert (before, after) == ("before\n", "after\n")

    async def test_what_is_printed_is_passed_on_while_the_code_runs(self) -> None:
        async with self._open() as (session, host):
            await self._cancelled_run(session, host, self.print_and_never)
            assert host.printed == "before\n"
            assert host.log[-1] == ("call", "test:never", {})

    async def test_the_code_reads_the_code_of_a_tool_error(self) -> None:
        async with self._open() as (session, _):
            assert await session.run(self.catch) == ["TOOL_ERROR", "no luck"]

    # State

    async def test_what_a_run_defined_is_there_in_the_next(self) -> None:
        async with self._open() as (session, _):
            await session.run(self.define)
            assert await session.run(self.use) == 42

    async def test_the_last_run_finds_what_was_defined_and_has_its_result(self) -> None:
        async with self._open() as (session, _):
            await session.run(self.define)
            assert await session.run(self.use, last=True) == 42

    async def test_an_error_of_the_last_run_is_told_as_any_other(self) -> None:
        async with self._open() as (session, _):
            with pytest.raises(RunError, match="on purpose"):
                await session.run(self.define_and_raise, last=True)

    async def test_what_a_run_defined_before_its_error_is_there_in_the_next(self) -> None:
        async with self._open() as (session, _):
            with pytest.raises(RunError):
                await session.run(self.define_and_raise)
            assert await session.run(self.use) == 42

    async def test_sessions_share_nothing(self) -> None:
        host = RecordingHost()
        with anyio.fail_after(self.patience):
            async with self.open_runtime() as runtime, runtime.session(host) as one:
                await one.run(self.define)
                async with runtime.session(host) as other:
                    assert await other.run(self.is_defined) is False
                    assert await one.run(self.is_defined) is True

    async def test_more_sessions_than_workers_can_be_open(self) -> None:
        async with self._many(20) as sessions:
            for session in sessions:
                await session.run(self.define)
            values = [await session.run(self.use) for session in sessions]
        assert values == [42] * 20

    @asynccontextmanager
    async def _many(self, count: int) -> AsyncIterator[list[RuntimeSession]]:
        with anyio.fail_after(self.patience):
            async with self.open_runtime() as runtime, AsyncExitStack() as stack:
                yield [
                    await stack.enter_async_context(runtime.session(RecordingHost()))
                    for _ in range(count)
                ]

    async def test_a_dump_is_taken_up_by_another_runtime(self) -> None:
        async with self._open() as (session, _):
            await session.run(self.define)
            state = await session.dump()
        if state is None:
            pytest.skip("this runtime can't dump the state of a session")
        with anyio.fail_after(self.patience):
            host = RecordingHost()
            async with self.open_runtime() as other, other.session(host, state) as session:
                assert await session.run(self.use) == 42

    async def test_the_state_of_a_fresh_session_can_be_dumped(self) -> None:
        async with self._open() as (session, _):
            state = await session.dump()
        if state is None:
            pytest.skip("this runtime can't dump the state of a session")
        with anyio.fail_after(self.patience):
            host = RecordingHost()
            async with self.open_runtime() as other, other.session(host, state) as session:
                assert await session.run(self.is_defined) is False

    async def test_what_is_no_dump_is_refused(self) -> None:
        async with self._open() as (session, _):
            state = await session.dump()
        if state is None:
            pytest.skip("this runtime can't dump the state of a session")
        with anyio.fail_after(self.patience):
            async with self.open_runtime() as runtime:
                with pytest.raises(BrokerError):
                    async with runtime.session(RecordingHost(), b"no state") as session:
                        await session.run(self.two)

    # Errors

    async def test_an_error_of_the_code_is_a_run_error_with_its_text(self) -> None:
        async with self._open() as (session, _):
            with pytest.raises(RunError, match="on purpose"):
                await session.run(self.define_and_raise)

    async def test_bad_syntax_is_a_run_error(self) -> None:
        async with self._open() as (session, _):
            with pytest.raises(RunError):
                await session.run(self.bad_syntax)
            assert await session.run(self.two) == 2

    async def test_a_tool_error_that_is_not_caught_ends_the_run(self) -> None:
        async with self._open() as (session, _):
            with pytest.raises(RunError, match="no luck") as caught:
                await session.run(self.not_caught)
            assert "TOOL_ERROR" in caught.value.message

    async def test_a_value_that_json_cannot_hold_is_a_run_error(self) -> None:
        async with self._open() as (session, _):
            with pytest.raises(RunError):
                await session.run(self.no_json)

    # Cancellation: the call is gone when the run is

    async def test_a_cancelled_run_leaves_no_call(self) -> None:
        async with self._open() as (session, host):
            await self._cancelled_run(session, host, self.never)
            assert (host.running, host.cancelled) == (0, 1)
            assert await session.run(self.two) == 2

    async def test_a_failed_run_leaves_no_call(self) -> None:
        async with self._open() as (session, host):
            with pytest.raises(RunError, match="no luck"):
                await session.run(self.never_beside_failure)
            assert host.running == 0

    async def test_a_cancelled_endless_loop_gives_its_worker_back(self) -> None:
        async with self._open() as (session, host):
            await session.run(self.define)
            for _ in range(4):
                await self._cancelled_run(session, host, self.loop_for_ever)
            assert await session.run(self.use) == 42

    # Limits

    async def test_computing_is_bounded_by_the_run_timeout(self) -> None:
        async with self._open(SessionLimits(run_timeout=0.3)) as (session, _):
            await session.run(self.define)
            with pytest.raises(DeadlineExceededError):
                await session.run(self.loop_for_ever)
            assert await session.run(self.use) == 42

    async def test_memory_is_bounded(self) -> None:
        async with self._open(SessionLimits(max_memory_bytes=16 * 1024 * 1024)) as (session, _):
            await session.run(self.define)
            with pytest.raises(RunError):
                await session.run(self.allocate_for_ever)
            assert await session.run(self.use) == 42

    async def test_recursion_is_bounded(self) -> None:
        async with self._open() as (session, _):
            with pytest.raises(RunError):
                await session.run(self.recurse_for_ever)
            assert await session.run(self.two) == 2

    async def test_the_result_is_bounded(self) -> None:
        async with self._open(SessionLimits(max_result_bytes=1000)) as (session, _):
            with pytest.raises(ResultTooLargeError):
                await session.run(self.large_result)
            assert await session.run(self.two) == 2

    async def test_the_output_is_bounded_and_ends_the_run(self) -> None:
        async with self._open(SessionLimits(max_output_bytes=1000)) as (session, host):
            with pytest.raises(ResultTooLargeError):
                await session.run(self.large_output)
            assert host.calls == []
            assert len(host.printed) <= 1000
            assert await session.run(self.two) == 2
