"""The conformance suite for runtimes whose runs another process can go on with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import ClassVar, cast

import anyio
import pytest

from enclave_broker_core.contracts import DurableRuntimeSession, Runtime
from enclave_broker_core.errors import BrokerError, RunError, StoreError
from enclave_broker_core.testing.hosts import RecordingHost
from enclave_broker_core.testing.suite import Suite


async def _run(session: DurableRuntimeSession, code: str) -> None:
    with suppress(BrokerError):
        await session.run(code)


class _Slow(RecordingHost):
    async def stdout(self, chunk: str) -> None:
        await anyio.sleep(0.02)
        await super().stdout(chunk)


class _Unkept(RecordingHost):
    async def checkpoint(self, state: bytes, calls: Sequence[str]) -> None:
        raise StoreError("the store is out of reach")


class DurableRuntimeSuite(Suite):
    """Checks what a runtime promises by ``durable = True``, beside RuntimeSuite.

    A subclass defines ``open_runtime`` and the snippets below in its language.
    """

    pytestmark = pytest.mark.anyio

    patience: ClassVar[float] = 60.0
    """Seconds after which a test gives up on a runtime that hangs; none waits for them."""

    meet: ClassVar[str]
    """Calls test:meet with count 3 three times at once; its value is the list of results."""
    echo_wait_add: ClassVar[str]
    """Calls test:echo with the value "first" and keeps the result; prints a line "before";
    calls test:wait and test:add with 1 and 2 at once; prints a line "after". Its value is the
    list of the three results."""
    never: ClassVar[str]
    """Calls test:never and waits for it."""
    fail_uncaught: ClassVar[str]
    """Calls test:fail with the message "no luck" and does not catch."""
    define: ClassVar[str]
    """Defines a function of one argument that doubles it, and keeps 21 in a variable."""
    define_waiting: ClassVar[str]
    """Calls test:wait and waits for it, and then does what ``define`` does."""
    use: ClassVar[str]
    """Calls that function with that variable; its value is 42."""

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        """The runtime under test, open for one test."""
        raise NotImplementedError

    @asynccontextmanager
    async def _open(
        self, host: RecordingHost, state: bytes | None = None
    ) -> AsyncIterator[DurableRuntimeSession]:
        with anyio.fail_after(self.patience):
            async with self.open_runtime() as runtime, runtime.session(host, state) as session:
                yield cast(DurableRuntimeSession, session)

    async def _checkpoint_of(self, code: str, *before: str, calls: int = 1) -> RecordingHost:
        """A host that has seen so many calls of a run of ``code``, which was cancelled then."""
        host = RecordingHost(durable=True)
        async with self._open(host) as session:
            for earlier in before:
                await session.run(earlier)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_run, session, code)
                await host.called(calls)
                tasks.cancel_scope.cancel()
        assert host.states != []
        return host

    async def test_it_says_that_it_is_durable(self) -> None:
        async with self.open_runtime() as runtime:
            assert getattr(runtime, "durable", False) is True

    # Checkpoints

    async def test_calls_begin_after_a_checkpoint_that_lists_them(self) -> None:
        host = RecordingHost(durable=True)
        async with self._open(host) as session:
            await session.run(self.meet)
        assert [entry[0] for entry in host.log] == ["checkpoint", "call", "call", "call"]
        assert sorted(host.log[0][1]) == sorted(map(str, host.keys))
        assert len(set(host.keys)) == 3

    async def test_what_was_printed_comes_before_the_checkpoint(self) -> None:
        host = _Slow(durable=True)
        host.release.set()
        async with self._open(host) as session:
            await session.run(self.echo_wait_add)
        kinds = [entry[0] for entry in host.log]
        assert kinds == ["checkpoint", "call", "stdout", "checkpoint", "call", "call", "stdout"]
        assert len(set(host.keys)) == 3

    async def test_a_run_that_is_not_durable_has_no_checkpoints(self) -> None:
        host = RecordingHost()
        host.release.set()
        async with self._open(host) as session:
            assert await session.run(self.echo_wait_add) == ["first", "released", 3]
        assert host.states == []

    async def test_a_checkpoint_that_is_not_kept_ends_the_run_without_a_call(self) -> None:
        host = _Unkept(durable=True)
        async with self._open(host) as session:
            with pytest.raises(StoreError):
                await session.run(self.meet)
        assert host.calls == []

    # Going on

    async def test_another_goes_on_from_a_checkpoint(self) -> None:
        first = await self._checkpoint_of(self.echo_wait_add, calls=3)
        second = RecordingHost(durable=True)
        second.release.set()
        async with self._open(second, first.states[-1]) as session:
            assert await session.resume(last=True) == ["first", "released", 3]
        assert sorted(second.calls) == sorted(first.calls[1:])
        assert sorted(map(str, second.keys)) == sorted(map(str, first.keys[1:]))
        assert (first.printed, second.printed) == ("before\n", "after\n")

    async def test_an_earlier_checkpoint_leads_to_the_same_calls(self) -> None:
        first = await self._checkpoint_of(self.echo_wait_add, calls=3)
        second = RecordingHost(durable=True)
        second.release.set()
        async with self._open(second, first.states[0]) as session:
            assert await session.resume() == ["first", "released", 3]
        assert sorted(map(str, second.keys)) == sorted(map(str, first.keys))
        assert second.printed == "before\nafter\n"

    async def test_a_resumed_run_makes_further_checkpoints(self) -> None:
        first = await self._checkpoint_of(self.echo_wait_add, calls=1)
        second = RecordingHost(durable=True)
        async with (
            self._open(second, first.states[0]) as session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(session.resume)
            await second.called(3)
            tasks.cancel_scope.cancel()
        assert second.states != []
        third = RecordingHost(durable=True)
        third.release.set()
        async with self._open(third, second.states[-1]) as session:
            assert await session.resume() == ["first", "released", 3]
        assert len(third.calls) == 2

    async def test_a_call_whose_outcome_is_known_gets_it(self) -> None:
        first = await self._checkpoint_of(self.echo_wait_add, calls=3)
        second = RecordingHost(durable=True)
        by_tool = dict(zip([name for name, _ in first.calls], first.keys, strict=True))
        second.answers = {str(by_tool["test:wait"]): "known", str(by_tool["test:add"]): 4}
        async with self._open(second, first.states[-1]) as session:
            assert await session.resume() == ["first", "known", 4]
        assert second.calls == []

    async def test_what_a_resumed_run_defined_is_there_in_the_next(self) -> None:
        first = await self._checkpoint_of(self.define_waiting)
        second = RecordingHost(durable=True)
        second.release.set()
        async with self._open(second, first.states[-1]) as session:
            await session.resume()
            assert await session.run(self.use) == 42
            state = await session.dump()
        async with self._open(RecordingHost(durable=True), state) as session:
            assert await session.run(self.use) == 42

    async def test_an_error_in_a_resumed_run_is_told_as_any_other(self) -> None:
        first = await self._checkpoint_of(self.fail_uncaught, self.define)
        async with self._open(RecordingHost(durable=True), first.states[-1]) as session:
            with pytest.raises(RunError, match="no luck"):
                await session.resume()
            assert await session.run(self.use) == 42

    async def test_a_cancelled_resumed_run_leaves_no_call_and_the_state_before_it(self) -> None:
        first = await self._checkpoint_of(self.never, self.define)
        second = RecordingHost(durable=True)
        async with self._open(second, first.states[-1]) as session:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.resume)
                await second.called()
                tasks.cancel_scope.cancel()
            assert (second.running, second.cancelled) == (0, 1)
            assert await session.run(self.use) == 42

    async def test_there_is_nothing_to_go_on_with_in_a_state_between_runs(self) -> None:
        async with self._open(RecordingHost(durable=True)) as session:
            await session.run(self.define)
            state = await session.dump()
        for none in (None, state):
            async with self._open(RecordingHost(durable=True), none) as session:
                with pytest.raises(BrokerError):
                    await session.resume()
