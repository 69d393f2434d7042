// A client of the wire protocol that behaves as the stock EnclaveJS client does, for tests.
//
//   node client.mjs --base URL --code FILE [options]      prints one JSON report
//
// It reads a stream as that client does, with its faults: an event that comes twice counts
// twice, a stream that ends without `final` is waited for until a heartbeat is missed, and who
// cancels hears no more of the session.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { parseLine } from "./events.mjs";

const DEFAULTS = { heartbeatTimeout: 30_000, reconnectDelay: 1_000, maxReconnects: 3, cuts: [] };

class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** One session: its code runs when `run` is called, which resolves with the report. */
export class StockSession {
  constructor(base, options = {}) {
    this.base = base.replace(/\/$/, "");
    this.options = { ...DEFAULTS, ...options };
    this.sessionId = options.sessionId ?? `s_${randomUUID()}`;
    this.headers = options.headers ?? {};
    this.events = [];
    this.dropped = [];
    this.requests = [];
    this.toolCalls = 0;
    this.lastSeq = 0;
    this.attempts = 0;
    this.streams = 0;
    this.outcome = null;
    this.ended = new Promise((resolve) => (this.end = resolve));
  }

  async run(code, { config, filter } = {}) {
    const body = { sessionId: this.sessionId, code };
    if (config !== undefined) body.config = config;
    if (filter !== undefined) body.filter = filter;
    this.filter = filter;
    this.follow(`${this.base}/sessions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const outcome = await this.ended;
    const { sessionId, events, dropped, requests, toolCalls } = this;
    return { sessionId, outcome, events, dropped, requests, toolCalls };
  }

  async cancel(reason) {
    if (this.outcome !== null) return;
    const request = { method: "POST", url: `/sessions/${this.sessionId}/cancel` };
    this.complete({ success: false, error: { code: "CANCELLED", message: reason } }, async () => {
      try {
        // A body that is a string is sent as text/plain;charset=UTF-8.
        const response = await fetch(this.base + request.url, {
          method: "POST",
          headers: this.headers,
          body: JSON.stringify({ reason }),
        });
        this.requests.push({ ...request, status: response.status, body: await response.text() });
      } catch (error) {
        this.requests.push({ ...request, error: String(error) });
      }
    });
  }

  /** Send a request and read its events; what goes wrong with it leads to another one. */
  async follow(url, init) {
    const asked = { method: init.method, url: url.slice(this.base.length) };
    this.requests.push(asked);
    this.connection = new AbortController();
    const { signal } = this.connection;
    try {
      const response = await fetch(url, {
        ...init,
        headers: { ...this.headers, ...init.headers, Accept: "application/x-ndjson" },
        signal,
      });
      asked.status = response.status;
      asked.type = response.headers.get("content-type");
      asked.refused = response.headers.get("x-refused");
      asked.session = response.headers.get("x-session-id");
      if (!response.ok) {
        asked.body = await response.text();
        const code = init.method === "POST" ? "SESSION_ERROR" : "RECONNECT_FAILED";
        throw new Failure(code, `${response.status}`);
      }
      this.attempts = 0;
      this.watch();
      await this.read(response.body, this.options.cuts[this.streams++]);
    } catch (error) {
      // One that this client gave up itself is over already.
      if (!signal.aborted || signal.reason === "cut") this.disconnected(error);
    }
  }

  async read(body, cut = Infinity) {
    const decoder = new TextDecoder();
    let buffer = "";
    let left = cut;
    for await (const chunk of body) {
      buffer += decoder.decode(chunk.subarray(0, left), { stream: true });
      left -= chunk.length;
      const lines = buffer.split("\n");
      buffer = lines.pop();
      for (const line of lines) this.take(line);
      if (left <= 0 && this.outcome === null) {
        this.connection.abort("cut");
        throw new Failure("CUT", "cut for a test");
      }
    }
    this.take(buffer);
  }

  take(line) {
    if (line.trim() === "" || this.outcome !== null) return;
    const { event, problem } = parseLine(line);
    if (problem !== undefined) {
      this.dropped.push({ line, problem });
      return;
    }
    this.lastSeq = event.seq;
    this.events.push(event);
    if (event.type === "tool_call") this.toolCalls += 1;
    if (event.type === "heartbeat") this.lastBeat = Date.now();
    if (event.type === "final") {
      const { ok, result, error, errors } = event.payload;
      this.complete(ok ? { success: true, value: result } : { success: false, error, errors });
    }
    this.options.onEvent?.(event, this);
  }

  /** Only heartbeats count: any other event leaves the clock running. */
  watch() {
    clearTimeout(this.watchdog);
    this.lastBeat = Date.now();
    const look = () => {
      const left = this.lastBeat + this.options.heartbeatTimeout - Date.now();
      if (left > 0) {
        this.watchdog = setTimeout(look, left);
      } else {
        this.connection.abort("no heartbeat");
        this.disconnected(new Failure("HEARTBEAT", "no heartbeat"));
      }
    };
    this.watchdog = setTimeout(look, this.options.heartbeatTimeout);
  }

  disconnected(error) {
    if (this.outcome !== null) return;
    clearTimeout(this.watchdog);
    this.requests.at(-1).lost = error.cause?.code ?? error.code ?? error.message;
    if (this.attempts >= this.options.maxReconnects) {
      const { code = "NETWORK_ERROR", message } = error;
      this.complete({ success: false, error: { code, message } });
      return;
    }
    const delay = this.options.reconnectDelay * 2 ** this.attempts;
    this.attempts += 1;
    setTimeout(() => this.reconnect(), delay);
  }

  reconnect() {
    if (this.outcome !== null) return;
    const query = new URLSearchParams();
    if (this.lastSeq > 0) query.set("from", String(this.lastSeq + 1));
    if (this.filter !== undefined) query.set("filter", JSON.stringify(this.filter));
    this.follow(`${this.base}/sessions/${this.sessionId}/stream?${query}`, { method: "GET" });
  }

  async complete(outcome, lastly = async () => {}) {
    this.outcome = outcome;
    clearTimeout(this.watchdog);
    if (outcome.success !== true && outcome.error?.code === "CANCELLED") {
      this.connection.abort("cancelled");
    }
    await lastly();
    this.end(outcome);
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      base: { type: "string" },
      code: { type: "string" },
      session: { type: "string" },
      config: { type: "string" },
      filter: { type: "string" },
      header: { type: "string", multiple: true, default: [] },
      "cancel-after-event": { type: "string" },
      reason: { type: "string" },
      // One for each stream, the first for the first.
      "cut-after-bytes": { type: "string", multiple: true, default: [] },
      "heartbeat-timeout": { type: "string" },
      "reconnect-delay": { type: "string" },
      "max-reconnects": { type: "string" },
    },
  });
  const number = (name, usual) => Number(values[name] ?? usual);
  const session = new StockSession(values.base, {
    sessionId: values.session,
    headers: Object.fromEntries(values.header.map((line) => line.split(/:\s*(.*)/s, 2))),
    heartbeatTimeout: number("heartbeat-timeout", DEFAULTS.heartbeatTimeout),
    reconnectDelay: number("reconnect-delay", DEFAULTS.reconnectDelay),
    maxReconnects: number("max-reconnects", DEFAULTS.maxReconnects),
    cuts: values["cut-after-bytes"].map(Number),
    onEvent: (event, self) => {
      if (event.type === values["cancel-after-event"]) self.cancel(values.reason);
    },
  });
  const json = (name) => (values[name] === undefined ? undefined : JSON.parse(values[name]));
  const report = await session.run(readFileSync(values.code, "utf8"), {
    config: json("config"),
    filter: json("filter"),
  });
  process.stdout.write(JSON.stringify(report), () => process.exit(0));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main();
