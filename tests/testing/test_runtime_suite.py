"""The suite for runtimes lets a good runtime pass and finds each of the known faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import toy_runtimes as toys
from bad_runtimes import KNOWN_BAD
from jumping import jumping

from enclave_broker_core.contracts import Runtime
from enclave_broker_core.testing.runtimes import RuntimeSuite

Failures = Callable[[object], Awaitable[set[str]]]


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


@jumping
@pytest.mark.anyio
@pytest.mark.parametrize(("bad", "found_by"), KNOWN_BAD[RuntimeSuite].items())
async def test_the_suite_finds(bad: type, found_by: set[str], failures: Failures) -> None:
    suite = ToySuite()
    if issubclass(bad, toys.ToyRuntime):
        suite.runtime = bad
    else:
        suite.session = bad
    assert await failures(suite) == found_by
