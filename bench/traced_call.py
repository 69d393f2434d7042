"""What tracing and metrics add to a brokered call, when they are on and when they are not.

The call is that of ``brokered_call``. Its spans go to an OTLP exporter in batches, on a thread of
its own, which sends them to a collector on loopback in another process. To hold: 60 µs more.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import brokered_call
from brokered_call import Case, calls
from interleaved import Figures, Measured, measure

from enclave_broker_core import use

TITLE = "brokered call: followed by OpenTelemetry"
TIMES = 200
TURNS = 40
MOST = {"more, for traces and metrics": 60.0}
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
                "traces and metrics": calls(in_measured),
                "metrics, no trace sampled": calls(in_unsampled),
            }


async def measured(repetitions: int, short: bool) -> Measured:
    turns, times = (1, 3) if short else (TURNS, TIMES)
    async with cases() as ways:
        told = await measure(ways, repetitions=repetitions, turns=turns, calls=times)
    alone = told.figures[told.baseline].median
    figures = dict(told.figures)
    for name in ("traces", "traces and metrics"):
        ratio = told.ratios[name]
        figures[f"more, for {name}"] = Figures(
            *(alone * (one - 1) for one in (ratio.median, ratio.least, ratio.most))
        )
    return Measured(told.baseline, figures, told.ratios)
