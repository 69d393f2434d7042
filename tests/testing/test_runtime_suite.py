"""The suite for runtimes lets a good runtime pass and finds each of the known faults."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import toy_runtimes as toys

from enclave_broker_core.contracts import Runtime
from enclave_broker_core.testing.runtimes import RuntimeSuite


class ToySuite(RuntimeSuite):
    session: Any = toys.ToySession
    runtime: Any = toys.ToyRuntime

    two = "1 + 1"
    echo = """await call_tool("test:echo", {"value": {"list": [1, 2.5, None, True, "é"]}})"""
    meet = """await gather(*[call_tool("test:meet", {"count": 3}) for _ in range(3)])"""
    print_call_print = """
print("before")
await call_tool("test:echo", {"value": 1})
print("after")
"""
    define = "double = lambda x: x * 2\nkept = 21"
    use = "double(kept)"
    is_defined = '"double" in globals()'
    define_and_raise = define + '\nraise ValueError("on purpose")'
    bad_syntax = "def = 3"
    catch = """
try:
    caught = await call_tool("test:fail", {"message": "no luck"})
except RuntimeError as error:
    caught = str(error).split(": ", 1)
caught
"""
    not_caught = """await call_tool("test:fail", {"message": "no luck"})"""
    print_and_never = """
print("before")
await call_tool("test:never")
"""
    never = """await call_tool("test:never")"""
    never_beside_failure = """
await gather(call_tool("test:never"), call_tool("test:fail", {"message": "no luck"}))
"""
    loop_for_ever = """
await call_tool("test:echo", {"value": 1})
await work("loop")
"""
    allocate_for_ever = 'await work("memory")'
    recurse_for_ever = 'await work("recursion")'
    large_result = '"x" * 10_000'
    large_output = """
for _ in range(1000):
    print("x" * 9)
await call_tool("test:echo", {"value": 1})
"""
    no_json = 'float("nan")'

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        opened: AbstractAsyncContextManager[Runtime] = toys.open_toy(self.session, self.runtime)
        return opened


class TestToy(ToySuite):
    """Without a fault all tests pass, apart from those of dumps, which are skipped."""


async def failures(session: Any, runtime: Any = toys.ToyRuntime) -> set[str]:
    """The names of the suite's tests that this runtime does not pass, but for ``test_``."""
    suite = ToySuite()
    suite.session = session
    suite.runtime = runtime
    failed = set()
    for name in dir(suite):
        if name.startswith("test_"):
            try:
                await getattr(suite, name)()
            except pytest.skip.Exception:
                continue
            except (Exception, pytest.fail.Exception, BaseExceptionGroup):
                failed.add(name.removeprefix("test_"))
    return failed


@pytest.mark.anyio
class TestFaults:
    async def test_none(self) -> None:
        assert await failures(toys.ToySession) == set()

    async def test_state_is_forgotten(self) -> None:
        assert await failures(toys.ForgetsState) == {
            "what_a_run_defined_is_there_in_the_next",
            "the_last_run_finds_what_was_defined_and_has_its_result",
            "what_a_run_defined_before_its_error_is_there_in_the_next",
            "more_sessions_than_workers_can_be_open",
            "sessions_share_nothing",
            "a_cancelled_endless_loop_gives_its_worker_back",
            "computing_is_bounded_by_the_run_timeout",
            "memory_is_bounded",
        }

    async def test_state_is_shared(self) -> None:
        assert await failures(toys.ToySession, toys.SharesState) == {"sessions_share_nothing"}

    async def test_calls_outlive_their_run(self) -> None:
        assert await failures(toys.LeaksCalls) == {
            "a_cancelled_run_leaves_no_call",
            "a_failed_run_leaves_no_call",
        }

    async def test_tool_errors_are_swallowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ToySuite, "patience", 1.0)  # one test hangs and is given up
        assert await failures(toys.SwallowsToolErrors) == {
            "the_code_reads_the_code_of_a_tool_error",
            "a_tool_error_that_is_not_caught_ends_the_run",
            "a_failed_run_leaves_no_call",
        }

    async def test_output_is_late(self) -> None:
        assert await failures(toys.PrintsLate) == {
            "what_is_printed_comes_in_order_with_the_calls",
            "what_is_printed_is_passed_on_while_the_code_runs",
            "the_output_is_bounded_and_ends_the_run",
        }

    async def test_calls_wait_for_each_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ToySuite, "patience", 1.0)  # they hang and are given up
        assert await failures(toys.CallsOneByOne) == {
            "calls_run_at_once",
            "a_failed_run_leaves_no_call",
        }
