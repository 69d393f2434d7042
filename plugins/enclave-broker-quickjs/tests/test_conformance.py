"""The conformance suite, with few workers and with runs that are parked at once."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import open_quickjs

from enclave_broker_core.contracts import OpenContext, Runtime
from enclave_broker_core.testing.durable_runtimes import DurableRuntimeSuite
from enclave_broker_core.testing.runtimes import RuntimeSuite


class TestQuickJS(RuntimeSuite):
    loops = ("asyncio",)
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

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        return open_quickjs(self.config, OpenContext("runtime"))


class TestQuickJSDurable(DurableRuntimeSuite):
    loops = ("asyncio",)
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

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        return open_quickjs(self.config, OpenContext("runtime"))


class TestQuickJSDurableAndParked(TestQuickJSDurable):
    config = QuickJSConfig(workers=1, park_after=0.001)


class TestQuickJSParkedAtOnce(TestQuickJS):
    """Every call that is not answered in a millisecond is waited for without a worker."""

    config = QuickJSConfig(workers=1, park_after=0.001)
