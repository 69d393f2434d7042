"""The conformance suite, with few workers and with runs that are parked at once."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty

from enclave_broker_core.contracts import OpenContext, Runtime
from enclave_broker_core.testing.durable_runtimes import DurableRuntimeSuite
from enclave_broker_core.testing.runtimes import RuntimeSuite


class TestMonty(RuntimeSuite):
    loops = ("asyncio",)
    config = MontyConfig(workers=2)

    two = "1 + 1"
    echo = """await call_tool("test:echo", {"value": {"list": [1, 2.5, None, True, "é"]}})"""
    meet = """
import asyncio
await asyncio.gather(*[call_tool("test:meet", {"count": 3}) for _ in range(3)])
"""
    print_call_print = """
print("before")
await call_tool("test:echo", {"value": 1})
print("after")
"""
    define = """
def double(x):
    return x * 2

kept = 21
"""
    use = "double(kept)"
    is_defined = """
try:
    double
    found = True
except NameError:
    found = False
found
"""
    define_and_raise = define + 'raise ValueError("on purpose")'
    bad_syntax = "def = 3"
    catch = """
try:
    await call_tool("test:fail", {"message": "no luck"})
except ToolError as error:
    failure = tool_error(error)
[failure.code, failure.message]
"""
    not_caught = """await call_tool("test:fail", {"message": "no luck"})"""
    print_and_never = """
print("before")
await call_tool("test:never")
"""
    never = """await call_tool("test:never")"""
    never_beside_failure = """
import asyncio
await asyncio.gather(call_tool("test:never"), call_tool("test:fail", {"message": "no luck"}))
"""
    loop_for_ever = """
await call_tool("test:echo", {"value": 1})
while True:
    pass
"""
    allocate_for_ever = """
held = []
while True:
    held.append("x" * 100_000)
"""
    recurse_for_ever = """
def down(n):
    return down(n + 1)

down(0)
"""
    large_result = '"x" * 10_000'
    large_output = """
for _ in range(1000):
    print("x" * 9)
await call_tool("test:echo", {"value": 1})
"""
    no_json = 'float("nan")'

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        return open_monty(self.config, OpenContext("runtime"))


class TestMontyDurable(DurableRuntimeSuite):
    loops = ("asyncio",)
    config = MontyConfig(workers=2)

    meet = TestMonty.meet
    echo_wait_add = """
import asyncio
first = await call_tool("test:echo", {"value": "first"})
print("before")
both = await asyncio.gather(call_tool("test:wait"), call_tool("test:add", {"a": 1, "b": 2}))
print("after")
[first, *both]
"""
    never = TestMonty.never
    fail_uncaught = TestMonty.not_caught
    define = TestMonty.define
    define_waiting = """await call_tool("test:wait")""" + TestMonty.define
    use = TestMonty.use

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        return open_monty(self.config, OpenContext("runtime"))


class TestMontyDurableAndParked(TestMontyDurable):
    config = MontyConfig(workers=1, park_after=0.001)


class TestMontyParkedAtOnce(TestMonty):
    """Every call that is not answered in a millisecond is waited for without a worker."""

    config = MontyConfig(workers=1, park_after=0.001)


class TestMontyTypeChecked(TestMonty):
    config = MontyConfig(workers=2, type_check=True)

    # The checker refuses a name that it does not know.
    is_defined = '"double" in locals()'

    async def test_what_a_run_defined_before_its_error_is_there_in_the_next(self) -> None:
        pytest.skip("the type checker forgets what a failed run defined")
