"""A service that answers as OPA's Data API does, from a function, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from typing import Any

# What a rule is given, and what it answers; ``{}`` is what OPA says of one that is undefined.
Rules = Callable[[dict[str, Any]], object]

PATH = "/v1/data/broker/decision"
TOKEN = "opa-7d1f0c55e2"


def rules(asked: dict[str, Any]) -> object:
    """The decisions of rego/broker.rego, for the requests of the tests."""
    tool, tenant = asked["tool"], (asked["principal"] or {}).get("tenant")
    if tool.endswith(":read"):
        return {"result": {"allow": True, "ask": False, "rule": "readers"}}
    arguments = asked.get("arguments", {})
    owner = {"web": "acme", "shop": "globex"}.get(arguments.get("project"))
    if tool != "projects:deploy" or owner is None or owner != tenant:
        return {"result": {"allow": False, "ask": False, "rule": "default"}}
    ask = arguments["stage"] == "production"
    return {"result": {"allow": not ask, "ask": ask, "rule": "owners"}}


class Service(HTTPServer):
    """``questions`` and ``headers`` are what came, ``connections`` on how many.

    ``answer`` is status, headers and body of all answers in place of what the rules say;
    ``hang_up`` closes the connection without one. While ``gate`` is closed, who has asked
    waits; ``asked`` counts them.
    """

    request_queue_size = 128
    connections_at_once = 8

    def __init__(self, decide: Rules = rules) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.decide = decide
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.hang_up = False
        self.questions: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Semaphore(0)
        self._waiting: SimpleQueue[tuple[Any, Any] | None] = SimpleQueue()

    def threads(self) -> list[threading.Thread]:
        """All that it needs: a harness complains of threads that begin beside it and stay."""
        serving = threading.Thread(target=self.serve_forever, args=(0.01,))
        return [
            serving,
            *(threading.Thread(target=self._work) for _ in range(self.connections_at_once)),
        ]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._waiting.put((request, client_address))

    def end(self) -> None:
        self.gate.set()
        self.shutdown()
        for _ in range(self.connections_at_once):
            self._waiting.put(None)

    def _work(self) -> None:
        while (taken := self._waiting.get()) is not None:
            try:
                self.finish_request(*taken)
            except OSError:
                pass  # who asked has gone
            finally:
                self.shutdown_request(taken[0])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{PATH}"

    def said(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.answer is not None:
            return self.answer
        return 200, {}, json.dumps(self.decide(json.loads(body)["input"])).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    wbufsize = -1  # an answer is one write
    disable_nagle_algorithm = True
    server: Service

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        service = self.server
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError  # who asked was cancelled
        service.questions.append(json.loads(body)["input"])
        service.headers.append({name.lower(): value for name, value in self.headers.items()})
        service.asked.release()
        service.gate.wait(30)
        if service.hang_up:
            self.close_connection = True
            return
        status, headers, answer = service.said(body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test has its own."""


@contextmanager
def opa_service(decide: Rules = rules) -> Iterator[Service]:
    """The service, while it runs."""
    with Service(decide) as service:
        threads = service.threads()
        for thread in threads:
            thread.start()
        try:
            yield service
        finally:
            service.end()
            for thread in threads:
                thread.join()
