// What the stock client takes for an event. It validates each line and drops, without a word,
// those that do not pass; here the reason is kept. Keys that are not known are accepted.

const text = (value) => typeof value === "string";
const named = (value) => text(value) && value.length > 0;
const boolean = (value) => typeof value === "boolean";
const amount = (value) => Number.isFinite(value) && value >= 0;
const count = (value) => Number.isInteger(value) && value >= 0;
const positive = (value) => Number.isFinite(value) && value > 0;
const anything = () => true;
const object = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const begun = (prefix) => (value) =>
  text(value) && value.startsWith(prefix) && value.length > prefix.length;
const oneOf = (...allowed) => (value) => allowed.includes(value);
const listOf = (check) => (value) => Array.isArray(value) && value.every((item) => check(item));
const instant = (value) =>
  text(value) && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value) && !isNaN(new Date(value));

/** An optional key: it may be left out. A `null` is not left out. */
const optional = (check) => Object.assign((value) => check(value), { optional: true });
const shape = (fields) => (value) => misfit(value, fields) === null;

/** What is wrong with an object's fields, or null. */
function misfit(value, fields) {
  if (!object(value)) return "not an object";
  for (const [key, check] of Object.entries(fields)) {
    if (!Object.hasOwn(value, key)) {
      if (!check.optional) return `${key} is missing`;
    } else if (!check(value[key])) {
      return `${key} is ${JSON.stringify(value[key])?.slice(0, 100)}`;
    }
  }
  return null;
}

const DETAILS = {
  retry_info: { retryDelayMs: amount },
  upstream_info: { statusCode: Number.isInteger, url: text },
  validation_info: { field: text, reason: text },
  quota_info: { limit: amount, used: amount },
};
const detail = (value) =>
  object(value) && Object.hasOwn(DETAILS, value.type) && shape(DETAILS[value.type])(value);
const failure = shape({
  code: text,
  message: text,
  path: optional(listOf(text)),
  details: optional(listOf(detail)),
});
const callId = begun("c_");

const PAYLOADS = {
  session_init: {
    cancelUrl: text,
    expiresAt: instant,
    encryption: shape({ enabled: boolean, keyId: optional(text) }),
    replayUrl: optional(text),
  },
  stdout: { chunk: text },
  log: { level: oneOf("debug", "info", "warn", "error"), message: text, data: optional(object) },
  tool_call: { callId, toolName: named, args: anything },
  tool_progress: {
    callId,
    phase: oneOf("connecting", "sending", "receiving", "processing"),
    elapsedMs: amount,
    bytesReceived: optional(count),
    totalBytes: optional(count),
  },
  tool_result_applied: { callId },
  partial_result: {
    path: listOf(text),
    data: optional(anything),
    error: optional(failure),
    hasNext: boolean,
  },
  heartbeat: { ts: instant },
  error: { message: text, code: optional(text), recoverable: optional(boolean) },
  deadline_exceeded: { elapsedMs: amount, budgetMs: positive },
  catalog_changed: { version: named, addedActions: listOf(text), removedActions: listOf(text) },
  final: {
    ok: boolean,
    result: optional(anything),
    error: optional(shape({ message: text, code: optional(text) })),
    errors: optional(listOf(failure)),
    stats: optional(shape({ durationMs: amount, toolCallCount: count, stdoutBytes: count })),
  },
};

const ENVELOPE = {
  protocolVersion: (value) => value === 2,
  sessionId: begun("s_"),
  seq: (value) => count(value) && value > 0,
  type: (value) => text(value) && Object.hasOwn(PAYLOADS, value),
  payload: object,
};

/** Whether all numbers in a value are finite: `1e999` is JSON, and Infinity once it is read. */
function finite(value) {
  if (typeof value === "number") return Number.isFinite(value);
  return typeof value !== "object" || value === null || Object.values(value).every(finite);
}

/** One line as `{event}`, or as `{problem}` when the stock client would drop it. */
export function parseLine(line) {
  let event;
  try {
    event = JSON.parse(line);
  } catch (error) {
    return { problem: `not JSON: ${error.message}` };
  }
  const problem = misfit(event, ENVELOPE) ?? misfit(event.payload, PAYLOADS[event.type]);
  if (problem !== null) return { problem: `${event?.type ?? "event"}: ${problem}` };
  return finite(event) ? { event } : { problem: `${event.type}: a number is not finite` };
}
