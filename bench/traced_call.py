"""What tracing and metrics add to a brokered call, when they are on and when they are not.

The call is that of ``brokered_call``. Its spans go to an OTLP exporter in batches, on a thread of
its own, which sends them to a collector on loopback in another process. To hold: 60 µs more of
the event loop's processor time. The other rows are whole times, with that thread at work for
every call that was made, as fast as they come: the two share the interpreter.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import brokered_call
from brokered_call import Case, calls
from interleaved import Figures, Measured, measure

from enclave_broker_core import use

TITLE = "brokered call: followed by OpenTelemetry"
TIMES = 200
TURNS = 40
BOTH = "traces and metrics"
MOST = {f"more on the loop, {BOTH}": 60.0}
NEEDS = ("enclave-broker-otel",)

# Takes whatever comes, and says nothing of it.
COLLECTOR = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Taking(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def collector() -> Iterator[str]:
    """Its address."""
    with subprocess.Popen([sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    with collector() as url:
        traces = use("otel", endpoint=url, traces="otlp", metrics=["none"])
        both = use("otel", endpoint=url, traces="otlp", metrics=["otlp"])
        sampled = use("otel", endpoint=url, traces="otlp", metrics=["otlp"], sample=0)
        async with (
            brokered_call.broker(None) as plain,
            brokered_call.broker(None, sinks=[use("otel", traces="none", metrics=["none"])]) as off,
            brokered_call.broker(None, sinks=[traces]) as traced,
            brokered_call.broker(None, sinks=[both]) as measured,
            brokered_call.broker(None, sinks=[sampled]) as unsampled,
            plain.session() as in_plain,
            off.session() as in_off,
            traced.session() as in_traced,
            measured.session() as in_measured,
            unsampled.session() as in_unsampled,
        ):
            yield {
                "not followed": calls(in_plain),
                "without an exporter": calls(in_off),
                "traces": calls(in_traced),
                BOTH: calls(in_measured),
                "metrics, no trace sampled": calls(in_unsampled),
            }


async def on_the_loop(
    ways: Mapping[str, Case], repetitions: int, turns: int, times: int
) -> Mapping[str, Figures]:
    """Microseconds of the event loop's own processor time for a call, more than the first way's.

    The exporter's thread has none of it, however much it slows the loop down meanwhile.
    """
    more: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        spent = dict.fromkeys(ways, 0.0)
        for _ in range(turns):
            for name, way in ways.items():
                began = time.thread_time()
                await way(times)
                spent[name] += time.thread_time() - began
        alone, *_ = spent.values()
        for name, seconds in spent.items():
            more[name].append((seconds - alone) / (turns * times) * 1e6)
    return {name: Figures.of(values) for name, values in more.items()}


async def measured(repetitions: int, short: bool) -> Measured:
    turns, times = (1, 3) if short else (TURNS, TIMES)
    async with cases() as ways:
        told = await measure(ways, repetitions=repetitions, turns=turns, calls=times)
        more = await on_the_loop(ways, repetitions, turns, times)
    figures = {f"more on the loop, {name}": more[name] for name in ("traces", BOTH)}
    return Measured(told.baseline, {**told.figures, **figures}, told.ratios)
