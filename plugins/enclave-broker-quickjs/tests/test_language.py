"""What code may be (a script, a body with ``return``, TypeScript) and what it finds."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_quickjs.quickjs_worker.bodies import has_top_level_return

from enclave_broker_core.errors import RunError
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio

VALUES: dict[str, Any] = {
    # a script
    "": None,
    "1 + 1": 2,
    "({a: [1, 'é', null, true]})": {"a": [1, "é", None, True]},
    "if (true) { 5 }": 5,
    "let x = 1; x = 2": 2,
    "'\ud800'": "?",
    "'\u2028ü☃😀'": "\u2028ü☃😀",
    "await callTool('test:add', {a: 1, b: 2})": 3,
    "callTool('test:add', {a: 1, b: 2})": 3,
    "undefined": None,
    # the body of a function
    "return 1 + 1": 2,
    "return": None,
    "return await callTool('test:add', {a: 1, b: 2})": 3,
    "const x = await callTool('test:add', {a: 1, b: 2}); if (x === 3) return 'three'; return x": (
        "three"
    ),
    "return 1 // the end": 1,
    "for (const x of [1, 2, 3]) { if (x > 1) return x }": 2,
    "try { return 1 } finally { console.log('done') }": 1,
    "const a = '}'; return a": "}",
    "return 'https://a.example/{'": "https://a.example/{",
    # no body, whatever it looks like
    "const f = () => { return 1 }; f()": 1,
    "`\nreturn 1`": "\nreturn 1",
    "'return 1'": "return 1",
    "({return: 1}).return": 1,
    "({return: 1}). return": 1,
    "5 // return": 5,
    "5 /* }\nreturn 6 */": 5,
    "/'/.test('x'); ['return 1', 2][1] // '": 2,
    # TypeScript
    "const x: number = 1; x": 1,
    "return (1 as number)": 1,
    "interface User { id: number } const u: User = {id: 1}; return u.id": 1,
    "enum Mode { One = 1, Two } Mode.Two": 2,
    "function first<T>(all: T[]): T | undefined { return all[0] } return first<number>([7, 8])": 7,
    "const user = await callTool('test:echo', {value: {id: 4}}) as {id: number}; user!.id": 4,
    "type A = string; let a: A = 'text'; a satisfies string": "text",
    # tools
    "await tools.test.add({a: 1, b: 2})": 3,
    "await tools['test']['add']({a: 1, b: 2})": 3,
    "await tools.test_add({a: 1, b: 2})": 3,
    "const {add} = tools.test; await add({a: 1, b: 2})": 3,
    "'test' in tools && typeof tools.test.add": "function",
    "(await tools) === tools": True,
    "await parallel([])": [],
    "await parallel([callTool('test:echo', {value: 1}), () => tools.test.echo({value: 2}), 3])": [
        1,
        2,
        3,
    ],
    "let most = 0, now = 0; await parallel(Array(6).fill(async () => {"
    " most = Math.max(most, ++now); await tools.test.echo({value: 1}); now--; }),"
    " {maxConcurrency: 2}); most": 2,
    "try { await tools.test.limited() } catch (e) {"
    " return [e.name, e.code, e.message, e.retryAfter, e instanceof Error] }": [
        "ToolError",
        "RATE_LIMITED",
        "slow down",
        2.5,
        True,
    ],
    # frozen intrinsics don't get in the way of what programs do
    "class E extends Error { constructor(m) { super(m); this.name = 'E' } }"
    " try { throw new E('m') } catch (e) { `${e.name}: ${e.message}` }": "E: m",
    "const e = new Error('a'); e.message = 'b'; e.message": "b",
    "const o = {}; o.toString = () => 'own'; `${o}`": "own",
    "const o = Object.create({}); o.constructor = 1; o.hasOwnProperty = 2; Object.keys(o)": [
        "constructor",
        "hasOwnProperty",
    ],
    "function F() {} F.prototype.toString = () => 'F'; `${new F()}`": "F",
    "const counts = {}; for (const w of ['constructor', 'valueOf', 'constructor'])"
    " counts[w] = (typeof counts[w] === 'number' ? counts[w] : 0) + 1; counts": {
        "constructor": 2,
        "valueOf": 1,
    },
    "class A extends Array { sum() { return this[0] + this[1] } } A.of(1, 2).sum()": 3,
    "const d = new Date(0); d.toString = () => 'x'; `${d}`": "x",
    # what else there is
    "Math.random() < 1 && Math.random() !== Math.random()": True,
    "Math.abs(Date.now() - new Date().getTime()) < 1000 && Date.now() > 1.7e12": True,
    "btoa('hello') + atob('aGk=')": "aGVsbG8=hi",
    "'x'.replaceAll('x', 'y') + [3, 1, 2].toSorted().at(-1)": "y3",
    "/(?<year>\\d{4})/.exec('in 2024').groups.year": "2024",
    "[...new Set([1, 1, 2])].length + 10n.toString().length": 4,
}


async def test_what_code_can_be(quickjs, host) -> None:
    async with quickjs() as runtime:
        for code, value in VALUES.items():
            for last in (True, False):
                async with runtime.session(host) as session:
                    assert await session.run(code, last=last) == value, (code, last)


@pytest.mark.parametrize(
    ("code", "surely"),
    [
        ("return 1", True),
        ("const u = await f({a: 1}); return u.name", True),
        ("return '}' + \"{\"", True),
        ("return", True),
        ("x.return", False),
        ("x . return", False),
        ("returned", False),
        ("$return", False),
        ("() => { return 1 }", False),
        ("if (x) { return 1 }", False),
        ("} return 1", False),
        ("`return`", False),
        ("1 / 2; return", False),
        ("'it\\'s'; return 1", True),
        ("'return", False),
        ("<!-- return", False),
        ("1\n--> return", False),
        ("\\u0061; return", False),
    ],
)
def test_what_surely_is_a_body(code: str, surely: bool) -> None:
    assert has_top_level_return(code) is surely


REFUSED = {
    "const = 1": "SyntaxError",
    "return return": "SyntaxError",
    "const x: = 1": "SyntaxError",
    "with ({}) {}": "SyntaxError",
    "undeclared = 1": "ReferenceError: undeclared is not defined",
    "null.x": "TypeError",
    "1 + \0": "SyntaxError",
    "return \0": "SyntaxError",
    "\ud800": "SyntaxError|ReferenceError",
}


async def test_what_it_can_not_be(quickjs, host) -> None:
    async with quickjs() as runtime:
        for code, text in REFUSED.items():
            async with runtime.session(host) as session:
                with pytest.raises(RunError, match=text):
                    await session.run(code)


async def test_an_error_says_where_it_was_raised(quickjs, host) -> None:
    async with quickjs() as runtime, runtime.session(host) as session:
        for code in ("\n\nnull.x", "\n\nnull.x; return 1"):
            with pytest.raises(RunError) as caught:
                await session.run(code)
            assert ":3:" in caught.value.message


async def test_what_is_printed_and_logged_comes_in_order(quickjs, host) -> None:
    code = """
console.log("a", 1, {b: [true]}, undefined);
console.info("b");
await tools.test.echo({value: 1});
console.warn(new Error("c"));
console.error();
console.debug("d");
console.log();
console.assert(1 > 2, "e");
console.assert(true, "f");
"""
    async with quickjs() as runtime, runtime.session(host) as session:
        await session.run(code)
    assert host.log == [
        ("stdout", 'a 1 {"b":[true]} undefined\n'),
        ("info", "b"),
        ("call", "test:echo", {"value": 1}),
        ("warn", "Error: c"),
        ("error", ""),
        ("debug", "d"),
        ("stdout", "\n"),
        ("error", "Assertion failed e"),
    ]


# What a run leaves to the next


async def test_what_is_declared_can_be_used_and_declared_again(quickjs, host) -> None:
    async with quickjs() as runtime, runtime.session(host) as session:
        await session.run("const a = 1; let b = 2; var c = 3; function d() { return a + b + c }")
        assert await session.run("b = 5; d()") == 9
        await session.run("const a = 10; var c = 20; function d() { return -(a + b + c) }")
        assert await session.run("d()") == -35
        await session.run(
            "class Counter { #n = 0; next() { return ++this.#n } } const k = new Counter()"
        )
        assert [await session.run("k.next()") for _ in range(3)] == [1, 2, 3]


async def test_what_a_body_declares_is_its_own_and_the_global_object_is_not(quickjs, host) -> None:
    async with quickjs() as runtime, runtime.session(host) as session:
        await session.run("const a = 1; globalThis.b = 2; return a")
        assert await session.run("[typeof a, b]") == ["undefined", 2]


async def test_a_promise_is_kept_but_no_call(quickjs, host) -> None:
    async with quickjs() as runtime, runtime.session(host) as session:
        await session.run("var open; const later = new Promise(done => { open = done }); 1")
        await session.run("var call = callTool('test:never'); 1")
        assert await session.run("open(7); await later") == 7
        with pytest.raises(RunError, match="nothing can settle"):
            await session.run("await call")
    assert host.running == 0


async def test_a_run_that_is_stuck_does_not_answer_for_a_later_one(quickjs, host) -> None:
    async with quickjs() as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match="nothing can settle"):
            await session.run("var open; await new Promise(done => { open = done }); 'stale'")
        assert await session.run("open(); 'fresh'") == "fresh"
        assert await session.run("await null; 'fresh'") == "fresh"


async def test_a_run_pollutes_no_prototype_for_the_next(quickjs, host) -> None:
    async with quickjs() as runtime, runtime.session(host) as session:
        for code in (
            "Object.prototype.polluted = 1",
            "Error.prepareStackTrace = () => 'x'",
            "Array.prototype.map = 1",
        ):
            with pytest.raises(RunError, match="TypeError"):
                await session.run(code)
        assert await session.run("({}).polluted === undefined && [1].map(x => x)[0]") == 1


async def test_the_heap_after_a_limit_is_that_from_before(quickjs, host) -> None:
    async with quickjs(max_calls=3) as runtime, runtime.session(host) as session:
        await session.run("var kept = 1")
        with pytest.raises(RunError, match="limit of 3 tool calls"):
            await session.run("kept = 2; for (;;) await tools.test.echo({value: 1})")
        assert await session.run("kept") == 1


async def test_random_numbers_of_two_sessions_differ(quickjs) -> None:
    async with quickjs() as runtime:
        seen = set()
        for _ in range(3):
            async with runtime.session(RecordingHost()) as session:
                await session.run("1")
                seen |= {str(await session.run("[Math.random(), Math.random()]")) for _ in range(2)}
    assert len(seen) == 6
