"""The conformance suites, with few workers and with runs that are parked at once.

The tests of a class share its workers: to start one for each test would take four times as long.
That a state is taken up by another process is tested beside the suites.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import ClassVar

import pytest
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import QuickJSRuntime
from enclave_broker_quickjs.workers import Workers

from enclave_broker_core.contracts import Runtime
from enclave_broker_core.testing.durable_runtimes import DurableRuntimeSuite
from enclave_broker_core.testing.runtimes import RuntimeSuite
from enclave_broker_core.testing.suite import Suite


class Shared(Suite):
    config: ClassVar[QuickJSConfig]
    workers: ClassVar[Workers]
    loops = ("asyncio",)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "anyio_backend" in metafunc.fixturenames:
            metafunc.parametrize("anyio_backend", self.loops, scope="class")

    @pytest.fixture(scope="class", autouse=True)
    async def opened(
        self, request: pytest.FixtureRequest, anyio_backend: str
    ) -> AsyncIterator[None]:
        async with Workers.open(self.config) as workers:
            request.cls.workers = workers
            yield

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        return nullcontext(QuickJSRuntime(self.workers, self.config))


class TestQuickJS(Shared, RuntimeSuite):
    config = QuickJSConfig(workers=2)

    two = "1 + 1"
    echo = 'return await callTool("test:echo", {value: {list: [1, 2.5, null, true, "é"]}})'
    meet = 'await parallel([1, 2, 3].map(() => () => callTool("test:meet", {count: 3})))'
    print_call_print = """
console.log("before");
await callTool("test:echo", {value: 1});
console.log("after");
"""
    define = """
function double(x) {
  return x * 2;
}
const kept = 21;
"""
    use = "double(kept)"
    is_defined = 'typeof double === "function"'
    define_and_raise = define + 'throw new Error("on purpose")'
    bad_syntax = "const = 3"
    catch = """
try {
  await callTool("test:fail", {message: "no luck"});
} catch (error) {
  if (error instanceof ToolError) return [error.code, error.message];
}
"""
    not_caught = 'await tools.test.fail({message: "no luck"})'
    print_and_never = """
console.log("before");
await callTool("test:never");
"""
    never = 'await callTool("test:never")'
    never_beside_failure = """
await Promise.all([callTool("test:never"), callTool("test:fail", {message: "no luck"})]);
"""
    loop_for_ever = """
await callTool("test:echo", {value: 1});
while (true);
"""
    allocate_for_ever = """
const held = [];
while (true) held.push("x".repeat(100_000) + held.length);
"""
    recurse_for_ever = "(function down(n) { return down(n + 1); })(0)"
    large_result = '"x".repeat(10_000)'
    large_output = """
for (let n = 0; n < 1000; n++) console.log("x".repeat(9));
await callTool("test:echo", {value: 1});
"""
    no_json = "10n"


class TestQuickJSDurable(Shared, DurableRuntimeSuite):
    config = QuickJSConfig(workers=2)

    meet = TestQuickJS.meet
    echo_wait_add = """
const first = await callTool("test:echo", {value: "first"});
console.log("before");
const both = await Promise.all([callTool("test:wait"), callTool("test:add", {a: 1, b: 2})]);
console.log("after");
return [first, ...both];
"""
    never = TestQuickJS.never
    fail_uncaught = TestQuickJS.not_caught
    define = TestQuickJS.define
    define_waiting = """await callTool("test:wait");""" + TestQuickJS.define
    use = TestQuickJS.use


class TestQuickJSDurableAndParked(TestQuickJSDurable):
    config = QuickJSConfig(workers=1, park_after=0.001)


class TestQuickJSParkedAtOnce(TestQuickJS):
    """Every call that is not answered in a millisecond is waited for without a worker."""

    config = QuickJSConfig(workers=1, park_after=0.001)
