"""Programs that mean harm, and what has to become of each of them.

An ``Outcome`` is the value that a run gives back, or the kind of its error and a part of its
text. A program of the groups ``ESCAPES`` and ``TRAPS`` looks for a way out or attacks what
handles its values; those of ``LIMITS`` take what is bounded; those of ``POLLUTION`` leave
something behind for whoever comes next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enclave_broker_core.errors import (
    BrokerError,
    DeadlineExceededError,
    ResultTooLargeError,
    RunError,
)


@dataclass(frozen=True)
class Outcome:
    value: Any = None
    error: type[BrokerError] | None = None
    text: str = ""


def gives(value: Any) -> Outcome:
    return Outcome(value)


def raises(text: str) -> Outcome:
    return Outcome(error=RunError, text=text)


BOUNDED = Outcome(error=BrokerError)
"""One limit or another ends it: which one depends on how fast the machine is."""
TOO_LONG = Outcome(error=DeadlineExceededError, text="processor time")
TOO_DEEP = raises("nested too deep")
TOO_MUCH_MEMORY = raises("memory limit")
TOO_MUCH_OUTPUT = Outcome(error=ResultTooLargeError, text="printed more than")
TOO_LARGE = Outcome(error=ResultTooLargeError, text="result of the run")
TOO_MANY_CALLS = raises("limit of 200 tool calls")
STUCK = raises("nothing can settle")
NO_JSON = raises("is no JSON")

# Ways out: every one finds the sandbox's own globals, or nothing.
ESCAPES: dict[str, Outcome] = {
    "return this === undefined": gives(True),
    "typeof process": gives("undefined"),
    "typeof require": gives("undefined"),
    "typeof module + typeof exports + typeof __dirname": gives("undefined" * 3),
    "typeof Deno + typeof Bun + typeof window + typeof self": gives("undefined" * 4),
    "typeof fetch + typeof XMLHttpRequest + typeof WebSocket": gives("undefined" * 3),
    "typeof setTimeout + typeof setInterval + typeof setImmediate": gives("undefined" * 3),
    "typeof std + typeof os + typeof bjson + typeof scriptArgs": gives("undefined" * 4),
    "typeof WebAssembly + typeof Worker + typeof SharedArrayBuffer": gives("undefined" * 3),
    "typeof print + typeof load + typeof read + typeof gc": gives("undefined" * 4),
    "typeof performance + typeof WeakRef + typeof FinalizationRegistry": gives("undefined" * 3),
    "typeof host_call + typeof say + typeof __say": gives("undefined" * 3),
    "require('fs')": raises("require is not defined"),
    "process.exit(1)": raises("process is not defined"),
    "await import('fs')": raises(""),
    "await import('file:///etc/passwd')": raises(""),
    "import fs from 'fs'; fs": raises(""),
    "import.meta.url": raises(""),
    "''.constructor.constructor('return typeof process')()": gives("undefined"),
    "[].constructor.constructor('return this')() === globalThis": gives(True),
    "(() => {}).constructor('return typeof require')()": gives("undefined"),
    "(async () => {}).constructor('return typeof process')().then(x => x)": gives("undefined"),
    "(function* () {}).constructor('yield typeof process')().next().value": gives("undefined"),
    "await (async function* () {}).constructor('yield 1')().next().then(x => x.value)": gives(1),
    "callTool.constructor('return typeof process')()": gives("undefined"),
    "console.log.constructor.constructor('return typeof require')()": gives("undefined"),
    "new Function('return globalThis')() === globalThis": gives(True),
    "(0, eval)('this') === globalThis": gives(True),
    "Reflect.construct(Function, ['return typeof process'])()": gives("undefined"),
    "callTool('test:echo', {value: 1}).constructor === Promise": gives(True),
    "(await callTool('test:echo', {value: {}}).then(x => x)).constructor === Object": gives(True),
    "try { null.x } catch (e) { e.constructor.constructor('return typeof process')() }": gives(
        "undefined"
    ),
    "try { await callTool('test:fail', {message: 'm'}) } catch (e) {"
    " e.constructor.constructor.constructor('return typeof process')() }": gives("undefined"),
    "Error.prepareStackTrace = (e, frames) => frames; 1": raises("TypeError"),
    "Error.stackTraceLimit = Infinity; 1": raises("TypeError"),
    "Object.getOwnPropertyNames(callTool).join()": gives("length,name"),
    "callTool.caller": raises("TypeError"),
    "(function f() { return f.caller })()": raises("TypeError"),
    "(function f() { return arguments.callee })()": raises("TypeError"),
    "globalThis.__proto__ === Object.prototype": gives(True),
    "new Proxy(callTool, {}).constructor === Function": gives(True),
    "Symbol.for('nodejs.util.inspect.custom').description": gives("nodejs.util.inspect.custom"),
    "'</script><!--'": gives("</script><!--"),
    "}); globalThis.out = typeof process; (async function () {": raises("SyntaxError"),
    "return 1 }); globalThis.out = typeof process; (async function () { return 2": gives(2),
    "await tools.nothing.such({})": raises("UNKNOWN_TOOL"),
    "await tools.__proto__.polluted({})": raises("UNKNOWN_TOOL"),
    "await callTool('__proto__', {})": raises("UNKNOWN_TOOL"),
    "await callTool({toString: () => 'test:echo'}, {value: 1})": raises("TypeError"),
    "await callTool('test:echo', [1])": raises("TypeError"),
    "await callTool('test:echo', 'text')": raises("TypeError"),
    "await callTool('test:echo', {toJSON: () => 'text'})": raises("TypeError"),
    "await callTool('test:echo', {toJSON: () => ({value: 7})})": gives(7),
    "await callTool('test:echo', new Proxy({value: 8}, {}))": gives(8),
    'await callTool(\'test:echo\', JSON.parse(\'{"value": {"__proto__": {"x": 1}}}\'))': gives(
        {"__proto__": {"x": 1}}
    ),
    '(await callTool(\'test:echo\', JSON.parse(\'{"value": {"__proto__": {"x": 1}}}\'))).x': gives(
        None
    ),
    "await callTool('test:echo', {value: '\\ud800'})": raises("Unicode"),
    "await callTool('\\ud800', {})": raises("Unicode"),
    "await callTool('test:echo', {value: '\\u0000\\u2028\"\\\\'})": gives('\u0000\u2028"\\'),
}

# What is read of a value or of an error runs the program's own code.
TRAPS: dict[str, Outcome] = {
    "({get x() { throw new Error('read') }})": NO_JSON,
    "({get x() { return callTool('test:never') }})": gives({"x": {}}),
    "({get x() { while (true); }})": TOO_LONG,
    "({toJSON() { while (true); }})": TOO_LONG,
    "({toJSON() { return 5 }})": gives(5),
    "({toJSON() { throw new Error('no') }})": NO_JSON,
    "({toJSON() { throw {get message() { throw 1 }} }})": NO_JSON,
    "new Proxy({}, {ownKeys() { throw new Error('keys') }})": NO_JSON,
    "new Proxy({}, {get() { while (true); }})": TOO_LONG,
    "new Proxy([], {get: (t, k) => k === 'length' ? 2 ** 32 : 1})": BOUNDED,
    "new Proxy({}, {get: (t, k, r) => r, ownKeys: () => ['a'], getOwnPropertyDescriptor: () =>"
    " ({enumerable: true, configurable: true})})": NO_JSON,
    "const a = {}; a.a = a; a": NO_JSON,
    "const a = []; a[0] = a; a": NO_JSON,
    "10n ** 20n": NO_JSON,
    "Symbol('s')": NO_JSON,
    "() => 1": NO_JSON,
    "callTool": NO_JSON,
    "NaN": gives(None),
    "-Infinity": gives(None),
    "'\\ud800'": NO_JSON,
    "({a: undefined, b: () => 1, c: Symbol()})": gives({}),
    "[undefined, () => 1, Symbol()]": gives([None, None, None]),
    "new Map([[1, 2]])": gives({}),
    "return {then(resolve) { resolve(3) }}": gives(3),
    "return {then() {}}": STUCK,
    "return {then() { while (true); }}": TOO_LONG,
    "return {get then() { throw new Error('then') }}": raises("Error: then"),
    "return {then(resolve, reject) { reject({get name() { throw 1 }}) }}": raises("Uncaught"),
    "return {then(resolve) { resolve({then(resolve) { resolve(4) }}) }}": gives(4),
    "const t = {then(resolve) { resolve(t) }}; return t": TOO_LONG,
    "await new Promise(() => {})": STUCK,
    "await {then() {}}": STUCK,
    "throw null": raises("Uncaught null"),
    "throw undefined": raises("Uncaught undefined"),
    "throw 'text'": raises("Uncaught text"),
    "throw {toString() { throw 1 }}": raises("Uncaught"),
    "throw {toString() { while (true); }, toJSON() { while (true); }}": TOO_LONG,
    "throw {__proto__: Error.prototype, get name() { while (true); }}": TOO_LONG,
    "throw new Proxy({}, {getPrototypeOf() { throw 1 }})": raises("can't be shown"),
    "throw new Proxy(new Error('p'), {get() { throw 1 }})": raises("can't be shown"),
    "throw Object.create(null)": raises("Uncaught {}"),
    "const e = new Error('m'); e.stack = {toString() { throw 1 }}; throw e": raises("Error: m"),
    "const e = new Error('m'); e.message = 'x'.repeat(1e6); throw e": raises("left out"),
    "class E extends Error { get message() { while (true); } } throw new E()": TOO_LONG,
    "const e = new ToolError('DENIED', 'made up'); throw e": raises("ToolError: DENIED: made up"),
    "const e = new Error('InternalError: out of memory'); throw e": raises("Error: InternalError"),
    "console.log({toJSON() { throw 1 }}); 1": gives(1),
    "console.log({toJSON() { while (true); }})": TOO_LONG,
    "console.log(new Proxy({}, {get() { throw 1 }})); 1": gives(1),
    "console.log(Object.create(null), Symbol('x'), 1n, () => 1); 1": gives(1),
    "console.log('\\ud800'); 1": gives(1),
    "String.prototype.toString = () => 'poisoned'; 1": raises("TypeError"),
    "Promise.prototype.then = () => {}; 1": raises("TypeError"),
    "JSON.stringify = () => '\"forged\"'; 1": raises("TypeError"),
    "globalThis.JSON = {stringify: () => '\"forged\"'}; 1": gives(1),
    "globalThis.Promise = class {}; await callTool('test:echo', {value: 2})": gives(2),
    "globalThis.String = globalThis.Error = globalThis.Object = null; throw 'x'": raises(
        "Uncaught x"
    ),
    "Array.prototype[Symbol.iterator] = null; await callTool('test:echo', {value: 3})": raises(
        "TypeError"
    ),
    "await parallel({get [Symbol.iterator]() { throw new Error('iterate') }})": raises("iterate"),
    "await parallel((function* () { while (true) yield 1 })())": BOUNDED,
    "await parallel([1, () => 2, Promise.resolve(3)], {maxConcurrency: -1})": gives([1, 2, 3]),
    "await parallel([() => { throw new Error('in one') }, () => callTool('test:never')])": raises(
        "in one"
    ),
}

# What is bounded. A worker of these tests computes for 0.15 s at most.
LIMITS: dict[str, Outcome] = {
    "while (true);": TOO_LONG,
    "for (;;) try { for (;;); } catch {} finally { continue }": TOO_LONG,
    "(async () => { while (true) await 0 })(); 1": TOO_LONG,
    "while (true) await 0": TOO_LONG,
    "const next = () => Promise.resolve().then(next); await next()": BOUNDED,
    "const next = () => queueMicrotask(next); next()": BOUNDED,
    "(function f() { Promise.resolve().then(f); Promise.resolve().then(f) })()": BOUNDED,
    "for await (const x of (async function* () { while (true) yield 1 })());": TOO_LONG,
    "const it = {[Symbol.iterator]: () => ({next: () => ({})})}; [...it]": BOUNDED,
    "/^(a+)+$/.test('a'.repeat(40) + 'b')": BOUNDED,
    "/(x+x+)+y/.test('x'.repeat(60))": BOUNDED,
    "/^(([a-z])+.)+[A-Z]([a-z])+$/.test('a'.repeat(60))": BOUNDED,
    "'a'.repeat(1e5).replace(/a*a*a*b/g, '')": BOUNDED,
    "[...Array(1e5).keys()].sort(() => { while (true); })": TOO_LONG,
    "Array.from({length: 2 ** 53 - 1})": BOUNDED,
    "Array(2 ** 32 - 1).join('x')": BOUNDED,
    "Array(2 ** 32 - 1).indexOf(1)": BOUNDED,
    "Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)": BOUNDED,
    "Array(2 ** 32 - 1).fill(0)": BOUNDED,
    "new Date(8.64e15); for (;;) new Date().toString()": TOO_LONG,
    "2n ** 10_000_000n": BOUNDED,
    "let n = 3n; for (;;) n *= n": BOUNDED,
    "BigInt('9'.repeat(1e6))": BOUNDED,
    "Atomics.wait(new Int32Array(4), 0, 0)": raises(""),
    "new Proxy({}, {get: (t, k, r) => r[k]}).x": TOO_DEEP,
    "const held = []; while (true) held.push({})": BOUNDED,
    "let s = 'x'; while (true) s += s": Outcome(error=RunError),
    "'x'.repeat(2 ** 30)": Outcome(error=RunError),
    "'x'.padEnd(2 ** 29).length": Outcome(error=RunError),
    "new ArrayBuffer(2 ** 31)": Outcome(error=RunError),
    "new Uint8Array(1e8)": TOO_MUCH_MEMORY,
    "const held = []; while (true) held.push(new ArrayBuffer(1e6))": TOO_MUCH_MEMORY,
    "const b = new ArrayBuffer(1, {maxByteLength: 2 ** 30}); b.resize(2 ** 30)": Outcome(
        error=RunError
    ),
    "const m = new Map(); for (let i = 0; ; i++) m.set(i, {})": BOUNDED,
    "for (let i = 0; ; i++) globalThis['g' + i] = {}": BOUNDED,
    "for (let i = 0; ; i++) Symbol.for('s' + i)": BOUNDED,
    "let f = () => {}; for (;;) f = f.bind(null)": BOUNDED,
    "let o = {}; for (;;) o = {o}": BOUNDED,
    "const a = []; for (;;) try { for (;;) a.push('x'.repeat(1e5) + a.length) } catch {}": BOUNDED,
    "eval('['.repeat(1e5))": BOUNDED,
    "eval('1' + '+1'.repeat(20_000))": gives(20_001),
    "new Function('a,'.repeat(70_000) + 'b', '')": BOUNDED,
    "JSON.parse('['.repeat(1e6))": BOUNDED,
    "JSON.parse('[' .repeat(5e4) + ']'.repeat(5e4)); 1": BOUNDED,
    "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a).length": BOUNDED,
    "let a = []; for (let i = 0; i < 3000; i++) a = [a]; a": BOUNDED,
    "(function f() { f() })()": TOO_DEEP,
    "const f = () => { try { f() } finally { f() } }; f()": TOO_DEEP,
    "const f = () => { try { f() } catch { f() } }; f()": TOO_DEEP,
    "class A { get x() { return this.x } } new A().x": TOO_DEEP,
    "const o = {toString() { return '' + this }}; '' + o": TOO_DEEP,
    "async function f() { await f() } await f()": TOO_DEEP,
    "new Function('return ' + '('.repeat(1e5) + ')'.repeat(1e5))": BOUNDED,
    "RegExp('('.repeat(1e5) + ')'.repeat(1e5))": BOUNDED,
    "'x'.repeat(1_000_000)": TOO_LARGE,
    "Array(200_000).fill(1)": TOO_LARGE,
    "while (true) console.log('x'.repeat(1000))": TOO_MUCH_OUTPUT,
    "while (true) console.error('x'.repeat(1000))": TOO_MUCH_OUTPUT,
    "while (true) console.log()": BOUNDED,
    "console.log('x'.repeat(5_000_000))": TOO_MUCH_OUTPUT,
    "for (;;) try { for (;;) console.log('x'.repeat(1000)) } catch {}": TOO_MUCH_OUTPUT,
    "while (true) await callTool('test:echo', {value: 1})": TOO_MANY_CALLS,
    "while (true) callTool('test:echo', {value: 1})": TOO_MANY_CALLS,
    "while (true) callTool('test:never')": TOO_MANY_CALLS,
    "while (true) try { await callTool('test:fail', {message: 'm'}) } catch {}": TOO_MANY_CALLS,
    "for (;;) try { for (;;) await tools.no.such() } catch {}": TOO_MANY_CALLS,
    "await parallel(Array(1000).fill(() => callTool('test:echo', {value: 1})))": TOO_MANY_CALLS,
}

# What is left behind; what INTACT says of the next run is the test.
POLLUTION: dict[str, Outcome] = {
    "globalThis.leaked = 1": gives(1),
    "var leaked = 1": gives(None),
    "delete globalThis.JSON": gives(True),
    "globalThis.console = null": gives(None),
    "globalThis.callTool = () => 'forged'; globalThis.Array = globalThis.Math = null": gives(None),
    "let Map, Set, tools, console, parallel; 1": gives(1),
    "Object.freeze(globalThis); 1": gives(1),
    "Object.prototype.polluted = 1": raises("TypeError"),
    "({}).__proto__.polluted = 1": raises("TypeError"),
    "({}).constructor.prototype.polluted = 1": raises("TypeError"),
    "Object.defineProperty(Object.prototype, 'polluted', {get: () => 1})": raises("TypeError"),
    "Object.setPrototypeOf(Object.prototype, {polluted: 1})": raises("TypeError"),
    "Reflect.set(Object.prototype, 'polluted', 1)": gives(False),
    "Reflect.set({}, 'toString', 1, Object.prototype)": raises("TypeError"),
    "Object.assign(Object.prototype, {polluted: 1})": raises("TypeError"),
    "Array.prototype.polluted = 1": raises("TypeError"),
    "Array.prototype.push = () => 0": raises("TypeError"),
    "Array.prototype[0] = 1": raises("TypeError"),
    "delete Array.prototype.map": raises("TypeError"),
    "Function.prototype.call = () => 0": raises("TypeError"),
    "Object.getPrototypeOf(async () => {}).polluted = 1": raises("TypeError"),
    "Object.getPrototypeOf(function* () {}).prototype.next = () => 0": raises("TypeError"),
    "Object.getPrototypeOf([][Symbol.iterator]()).next = () => ({done: true})": raises("TypeError"),
    "Object.getPrototypeOf(Int8Array.prototype).set = () => 0": raises("TypeError"),
    "RegExp.prototype.exec = () => null": raises("TypeError"),
    "Math.max = () => 0": raises("TypeError"),
    "Promise.resolve = () => 0": raises("TypeError"),
    "Reflect.apply = () => 0": raises("TypeError"),
    "Symbol.prototype[Symbol.toPrimitive] = () => 0": raises("TypeError"),
    "Error.prototype.toString = () => 'x'": raises("TypeError"),
    "ToolError.prototype.polluted = 1": raises("TypeError"),
    "console.log = () => 0": raises("TypeError"),
    "callTool.polluted = 1": raises("TypeError"),
    "tools.users = 1": raises("TypeError"),
    "Object.setPrototypeOf(tools, {})": raises("TypeError"),
    "Object.prototype.__defineGetter__.call(Object.prototype, 'polluted', () => 1)": raises(
        "TypeError"
    ),
    'Object.assign({}, JSON.parse(\'{"__proto__": {"polluted": 1}}\')).polluted': gives(1),
    "const m = (a, b) => { for (const k in b) a[k] = typeof b[k] === 'object' ?"
    " m(a[k] ?? {}, b[k]) : b[k]; return a };"
    ' m({}, JSON.parse(\'{"__proto__": {"polluted": 1}}\'))': raises("TypeError"),
}
