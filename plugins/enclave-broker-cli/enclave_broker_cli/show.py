"""Shows a session's events: as NDJSON, or as people read them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic_core import to_json
from rich.text import Text

from enclave_broker_core.events import Event

from .terminal import console, harmless

LONGEST = 200


class Show(Protocol):
    """What is done with each event."""

    def event(self, event: Event) -> None: ...


class Ndjson:
    """Each event as one line of JSON on stdout; on stderr only why it failed."""

    def event(self, event: Event) -> None:
        sys.stdout.buffer.write(event.to_json() + b"\n")
        sys.stdout.buffer.flush()
        if event.type == "final" and not event.payload["ok"]:
            error = event.payload["error"]
            lines = f"{error['code']}: {error['message']}".splitlines()
            sys.stderr.writelines(f"{harmless(line)}\n" for line in lines)


class Readable:
    """What the code prints and its result on stdout as they are, the other events on stderr.

    Each line on stderr begins with the seconds since the first.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._start: float | None = None
        self._console = console(sys.stderr)
        self._names: dict[str, str] = {}
        self._in_line = False

    def event(self, event: Event) -> None:
        payload = event.payload
        if event.type == "stdout":
            self._print(payload["chunk"])
            return
        if event.type == "final":
            self._end(payload)
        elif event.type == "session_init":
            self._line("session", event.session_id, f"until {payload['expiresAt']}")
        elif event.type == "tool_call":
            self._names[payload["callId"]] = payload["toolName"]
            self._line("call", payload["toolName"], _short(payload["args"]))
        elif event.type == "tool_result_applied":
            self._result(payload)
        elif event.type == "log":
            self._line("log", payload["level"], payload["message"])
        elif event.type not in ("heartbeat", "tool_progress"):
            self._line(event.type.replace("_", " "), _short(payload))

    def _result(self, payload: Mapping[str, Any]) -> None:
        took = f"{payload['durationMs']} ms"
        if payload["ok"]:
            self._line("result", self._name(payload), took, style="green")
        else:
            said = f"{payload['code']}: {payload['message']}"
            self._line("error", self._name(payload), took, said, style="red")

    def _end(self, payload: Mapping[str, Any]) -> None:
        stats = payload["stats"]
        calls = stats["toolCallCount"]
        used = f"{calls} {'call' if calls == 1 else 'calls'}, {stats['durationMs']} ms"
        if payload["ok"]:
            self._line("final", "ok", used, style="green")
            if payload.get("result") is not None:
                self._print(to_json(payload["result"], indent=2).decode() + "\n")
            return
        error = payload["error"]
        first, *more = error["message"].splitlines() or [""]
        self._line("final", f"{error['code']}: {first}", used, style="red")
        shown = more if not self._quiet else [f"{error['code']}: {first}", *more]
        # A traceback of the agent's code has several lines.
        sys.stderr.writelines(f"{harmless(line)}\n" for line in shown)

    def _name(self, payload: Mapping[str, Any]) -> str:
        call_id: str = payload["callId"]
        return self._names.get(call_id, call_id)

    def _print(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._in_line = not text.endswith("\n") if text else self._in_line

    def _line(self, kind: str, *said: str, style: str = "") -> None:
        if self._quiet:
            return
        if self._in_line and sys.stdout.isatty():
            self._print("\n")
        now = self._clock()
        if self._start is None:
            self._start = now
        # What comes from tools and from the code must not steer the terminal.
        words = harmless("  ".join(said))
        self._console.print(
            Text(f"{now - self._start:8.3f}  ", style="dim"),
            Text(f"{kind:<8}  ", style=style or "bold"),
            Text(words),
            sep="",
        )


def _short(value: Any) -> str:
    text = to_json(value).decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
