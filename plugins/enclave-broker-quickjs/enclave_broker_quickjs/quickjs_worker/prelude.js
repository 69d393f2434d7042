// Runs once in a new sandbox, before any other code. What it leaves on the global object is what
// other code finds there; its value are the four functions that the host calls. All intrinsic
// objects are frozen at the end, so nothing here needs to mistrust them afterwards.
((say) => {
  "use strict";

  // Other code may give these names on the global object to something else.
  const { Array, Error, Map, Math, Object, Promise, Proxy, String, TypeError } = globalThis;
  const { parse, stringify } = JSON;
  const { defineProperty, freeze, getOwnPropertyDescriptor, getPrototypeOf, hasOwn } = Object;
  const { apply, ownKeys } = Reflect;
  const evaluate = eval;
  const then = Promise.prototype.then;
  const toText = String;
  const withResolvers = Promise.withResolvers.bind(Promise);
  const wellFormed = String.prototype.toWellFormed;

  // Math.random would go on from the same place in every copy of this sandbox.
  const seed = new Uint32Array(4);
  Math.random = function random() {
    let t = seed[0] ^ (seed[0] << 11);
    t ^= t >>> 8;
    seed[0] = seed[1];
    seed[1] = seed[2];
    seed[2] = seed[3];
    seed[3] ^= (seed[3] >>> 19) ^ t;
    return seed[3] / 4294967296;
  };

  class ToolError extends Error {
    constructor(code, message, retryAfter) {
      super(message);
      this.code = code;
      if (retryAfter !== undefined) this.retryAfter = retryAfter;
    }
  }
  defineProperty(ToolError.prototype, "name", { value: "ToolError", writable: true, configurable: true });

  // One run at a time: what is left of an earlier one can't speak for this one.

  let run = 0;
  let over = true;
  let lastCall = 0;
  const pending = new Map();

  function begin() {
    run += 1;
    over = false;
    pending.clear();
  }

  function watched(promise, unwrap) {
    const mine = run;
    if (unwrap) promise = apply(then, promise, [(last) => last.value]);
    apply(then, promise, [
      (value) => mine === run && !over && done(value),
      (error) => mine === run && !over && fail(error),
    ]);
  }

  function done(value) {
    let text;
    try {
      text = value === undefined ? "null" : stringify(value);
    } catch (error) {
      over = true;
      return say("x" + described(error));
    }
    over = true;
    say(text === undefined ? `xa ${typeof value}` : "r" + text);
  }

  function fail(error) {
    const text = described(error);
    over = true;
    say("e" + text);
  }

  // What an error says, whatever it is: reading it may itself raise.
  function described(error) {
    try {
      if (!(error instanceof Error)) return text("Uncaught " + shown(error));
      const name = error instanceof ToolError ? `ToolError: ${error.code}` : toText(error.name);
      const stack = error.stack;
      return text(`${name}: ${error.message}\n${typeof stack === "string" ? stack : ""}`);
    } catch {
      return "Uncaught: an error that can't be shown";
    }
  }

  function text(value) {
    return apply(wellFormed, value, []);
  }

  // Tools

  const callTool = (name, args) => {
    const call = withResolvers();
    try {
      if (over) throw new Error("the run is over");
      args ??= {};
      if (typeof name !== "string" || typeof args !== "object") {
        throw new TypeError("callTool takes a tool's name and an object of arguments");
      }
      const json = stringify(args);
      if (json === undefined || json[0] !== "{") {
        throw new TypeError("callTool takes the arguments as one object");
      }
      pending.set(++lastCall, call);
      say(`c[${lastCall},${stringify(name)},${json}]`);
    } catch (error) {
      call.reject(error);
    }
    return call.promise;
  };

  function answered(outcomes) {
    // Iterators would take a seventh of a call.
    for (let n = 0; n < outcomes.length; n++) {
      const outcome = outcomes[n];
      const id = outcome[0];
      const value = outcome[2];
      const call = pending.get(id);
      pending.delete(id);
      if (call === undefined) continue;
      if (outcome[1]) call.resolve(value);
      else call.reject(new ToolError(value.code, value.message, value.retryAfter));
    }
  }

  // tools.users.get(args) is callTool("users:get", args). "then" is left out, so that a
  // namespace can be awaited like any other value.
  function namespace(path) {
    const call = path === "" ? {} : (args) => callTool(path, args);
    const known = Object.create(null);
    const refuse = () => false;
    return new Proxy(call, {
      get(_, key) {
        if (typeof key !== "string" || key === "then") return undefined;
        return (known[key] ??= namespace(path === "" ? key : `${path}:${key}`));
      },
      has: (_, key) => typeof key === "string" && key !== "then",
      getPrototypeOf: () => null,
      set: refuse,
      defineProperty: refuse,
      deleteProperty: refuse,
      setPrototypeOf: refuse,
      preventExtensions: refuse,
    });
  }

  const parallel = async (items, { maxConcurrency = Infinity } = {}) => {
    const work = [...items];
    const results = new Array(work.length);
    let next = 0;
    const lane = async () => {
      while (next < work.length) {
        const index = next++;
        const item = work[index];
        results[index] = await (typeof item === "function" ? item() : item);
      }
    };
    const lanes = Math.min(work.length, Math.max(1, Math.floor(maxConcurrency) || 1));
    await Promise.all(Array.from({ length: lanes }, lane));
    return results;
  };

  // Output

  function shown(value) {
    if (typeof value === "string") return value;
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "symbol") return toText(value);
    try {
      if (typeof value === "function") return `[function ${value.name}]`;
      if (value instanceof Error) return `${value.name}: ${value.message}`;
      if (typeof value === "object" && value !== null) return stringify(value) ?? "undefined";
      return toText(value);
    } catch {
      return `[${typeof value}]`;
    }
  }

  const line = (values) => text(values.map(shown).join(" "));
  const logging = (level) => (...values) => {
    if (!over) say("l" + level + line(values));
  };
  const print = (...values) => {
    if (!over) say("p" + line(values) + "\n");
  };
  const error = logging("e");
  const console = {
    log: print,
    dir: (value) => print(value),
    table: (value) => print(value),
    debug: logging("d"),
    trace: logging("d"),
    info: logging("i"),
    warn: logging("w"),
    error,
    assert: (held, ...values) => held || error("Assertion failed", ...values),
  };

  // What the host calls

  function heard(message) {
    const rest = message.slice(1);
    if (message[0] === "a") return answered(parse(rest));
    if (message[0] === "s") return seed.set(parse(rest));
    let body;
    try {
      body = evaluate(rest);
    } catch (problem) {
      return say("y" + described(problem));
    }
    begin();
    watched(body(), false);
  }

  const watch = (promise) => watched(promise, true);
  const failed = (problem) => say("y" + described(problem));

  // Frozen intrinsics: what one run does to a prototype is not there in the next, as it can't be
  // done. An assignment to an object that inherits a frozen property would fail then, so those
  // that programs do assign are accessors, whose setters define the property where it was meant.

  for (const [name, value] of Object.entries({ callTool, parallel, ToolError, console, tools: namespace("") })) {
    defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
  for (const name of ["performance", "SharedArrayBuffer", "WeakRef", "FinalizationRegistry"]) {
    delete globalThis[name];
  }
  // Accessors of state that freezing does not reach.
  delete Error.prepareStackTrace;
  delete Error.stackTraceLimit;

  function overridable(object, keys) {
    for (const key of keys) {
      const found = getOwnPropertyDescriptor(object, key);
      if (found === undefined || !("value" in found) || !found.writable) continue;
      const { value, enumerable } = found;
      defineProperty(object, key, {
        enumerable,
        get: freeze(() => value),
        set: freeze(function (given) {
          if (this === object) throw new TypeError(`${toText(key)} of a frozen object can't be set`);
          if (hasOwn(this, key)) this[key] = given;
          else defineProperty(this, key, { value: given, writable: true, enumerable: true, configurable: true });
        }),
      });
    }
  }

  const seen = new Set([globalThis]);
  function harden(root) {
    const open = [root];
    while (open.length > 0) {
      const object = open.pop();
      if ((typeof object !== "object" && typeof object !== "function") || object === null) continue;
      if (seen.has(object)) continue;
      seen.add(object);
      if (object instanceof Error || object === Error.prototype) overridable(object, ownKeys(object));
      else if (hasOwn(object, "constructor")) overridable(object, ["toString", "toLocaleString", "valueOf"]);
      freeze(object);
      open.push(getPrototypeOf(object));
      for (const key of ownKeys(object)) {
        const found = getOwnPropertyDescriptor(object, key);
        open.push(found.value, found.get, found.set);
      }
    }
  }

  overridable(Object.prototype, ownKeys(Object.prototype));
  overridable(Function.prototype, ["constructor", "toString"]);
  const things = [
    function* () {}, async function () {}, async function* () {}, () => {},
    [].values(), new Map().entries(), new Set().values(), "".matchAll(/./g), ""[Symbol.iterator](),
    (function* () {})(), (async function* () {})(), [].values().map((x) => x),
    Iterator.from({ next() {} }), Promise.resolve(), callTool("").catch(() => {}),
  ];
  for (const thing of things) harden(getPrototypeOf(thing));
  for (const key of ownKeys(globalThis)) {
    if (key !== "tools") harden(getOwnPropertyDescriptor(globalThis, key).value);
  }
  return { begin, heard, watch, failed };
})
