"""Checks every event that a server sends in a test, as it leaves the application."""

from __future__ import annotations

import json
from typing import Any

from wire_schema import problems


class Checked:
    """An ASGI application around another, which reads all of its streams along.

    ``found`` is what is wrong with any line, and with any stream: a ``seq`` that does not
    rise, an event after the final one, or a whole stream without one.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.found: list[str] = []
        self.lines = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        stream = _Stream(self, scope)

        async def sent(message: Any) -> None:
            stream.sent(message)
            await send(message)

        await self._app(scope, receive, sent)


class _Stream:
    def __init__(self, checked: Checked, scope: Any) -> None:
        self._checked = checked
        self._where = f"{scope.get('method', scope['type'])} {scope.get('path', '')}"
        self._form = ""
        self._rest = b""
        self._seq = 0
        self._ended = False
        self._partial = False

    def sent(self, message: Any) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            headers = dict(message["headers"])
            self._form = headers.get(b"content-type", b"").decode()
        elif kind == "http.response.body":
            self._body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "websocket.send":
            text = message.get("text")
            if text is None:
                self._say("a frame is not text")
            elif "protocolVersion" in json.loads(text):
                self._line(text.encode())

    def _body(self, body: bytes, *, more: bool) -> None:
        if self._form not in ("application/x-ndjson", "text/event-stream"):
            return
        separator = b"\n" if self._form == "application/x-ndjson" else b"\n\n"
        *lines, self._rest = (self._rest + body).split(separator)
        for line in lines:
            if self._form == "text/event-stream":
                head, _, line = line.partition(b"\ndata: ")
                if head != b"id: %d" % json.loads(line)["seq"]:
                    self._say(f"its id is {head!r}")
            self._line(line)
        if not more:
            if self._rest:
                self._say("it ends in the middle of a line")
            if not self._ended and not self._partial:
                self._say("it ends without a final event")

    def _line(self, line: bytes) -> None:
        self._checked.lines += 1
        for said in problems(line):
            self._say(f"{said} in {line[:200]!r}")
        event = json.loads(line)
        if self._ended:
            self._say(f"{event['type']} comes after the final event")
        aside = event["type"] in ("heartbeat", "error")
        if event["seq"] < self._seq or (event["seq"] == self._seq and not aside):
            self._say(f"seq {event['seq']} comes after {self._seq}")
        self._seq = event["seq"]
        self._ended = event["type"] == "final"
        path = event["payload"].get("path", [])
        self._partial = event["type"] == "partial_result" and path[:1] == ["run"]

    def _say(self, said: str) -> None:
        self._checked.found.append(f"{self._where}: {said}")
