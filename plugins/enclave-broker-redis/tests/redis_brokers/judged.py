"""What must hold when all is over, judged by what is in the store."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from redis.client import NEVER_DECODE

from .load import Seen

Log = list[tuple[int, str, Any]]


class Judge:
    """Reads what is under ``prefix``; each of its findings is a line that says what is wrong."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client: Any = client
        self._prefix = prefix
        self._all = f"{prefix}:{{{prefix}}}:"

    def log_of(self, session: str) -> Log:
        """Seq, type and payload of each event, which are the first field of its entry."""
        entries = self._client.xrange(f"{self._prefix}:{{{session}}}:e")
        return [
            (int(id.partition("-")[0]), type, json.loads(payload))
            for id, fields in entries
            for type, payload in list(fields.items())[:1]
        ]

    def sessions(self, all_seen: Sequence[Seen]) -> list[str]:
        """What is wrong with the sessions and with what clients saw of them."""
        wrong: list[str] = []
        for seen in all_seen:
            log = self.log_of(seen.session)
            said = [*seen.wrong, *self._wrong_log(log)]
            if not log and seen.events:
                said.append(f"it is gone, and clients saw {len(seen.events)} events")
            said += self._wrong_seen(seen, {seq: (type, payload) for seq, type, payload in log})
            said += _wrong_calls(seen, log)
            wrong += [f"{seen.session}: {one}" for one in said]
        return wrong

    def ends(self, all_seen: Sequence[Seen]) -> Counter[str]:
        """How the sessions ended: "ok", the code of an error, or "never made"."""
        ends: Counter[str] = Counter()
        for seen in all_seen:
            log = self.log_of(seen.session)
            payload = log[-1][2] if log else {}
            code = payload.get("error", {}).get("code", "")
            ends["ok" if payload.get("ok") else code or "never made"] += 1
        return ends

    def _wrong_log(self, log: Log) -> list[str]:
        kinds = [type for _, type, _ in log]
        wrong = []
        if [seq for seq, _, _ in log] != list(range(1, len(log) + 1)):
            wrong.append(f"the log has {[seq for seq, _, _ in log]}")
        if log and (kinds.count("final") != 1 or kinds[-1] != "final"):
            wrong.append(f"the log does not end with the only final event: {kinds}")
        twice = [
            f"{type} of {call}"
            for (type, call), count in Counter(
                (type, payload["callId"])
                for _, type, payload in log
                if type in ("tool_call", "tool_result_applied")
            ).items()
            if count > 1
        ]
        return [*wrong, *(f"twice in the log: {one}" for one in twice)]

    def _wrong_seen(self, seen: Seen, log: dict[int, tuple[str, Any]]) -> list[str]:
        wrong = []
        for seq, line in seen.events.items():
            event = json.loads(line)
            if log.get(seq) != (event["type"], event["payload"]):
                wrong.append(f"a client saw {line}, and the log has {log.get(seq)}")
        return wrong

    def left(self) -> list[str]:
        """What nobody holds and somebody should have cleaned up; the brokers may still run."""
        client, all = self._client, self._all
        found = [
            f"{name}: {found}"
            for name in ("dead", "open")
            if (found := client.zrange(f"{all}{name}", 0, 5))
        ]
        found += [
            f"{key} is left"
            for key in client.scan_iter(f"{self._prefix}:*", count=1000)
            if key.startswith((f"{all}holds:", f"{all}open:"))
            # Commands that were under way when their session's holder died go with the session.
            or (key.endswith((":q", ":qb", ":qc", ":d", ":a")) and client.pttl(key) < 0)
        ]
        listed = client.zrange(f"{all}order", 0, -1)
        ended = set(client.zrange(f"{all}ended", 0, -1))
        found += [f"{one} is listed and has not ended" for one in listed if one not in ended]
        found += [
            f"{one} has ended and stays for ever"
            for one in ended
            if client.pttl(f"{self._prefix}:{{{one}}}:s") <= 0
        ]
        return found

    def left_for_ever(self) -> list[str]:
        """The keys that will not go by themselves, when no broker runs and all has been swept."""
        return sorted(
            key
            for key in self._client.scan_iter(f"{self._prefix}:*", count=1000)
            if self._client.pttl(key) < 0
        )


def _wrong_calls(seen: Seen, log: Log) -> list[str]:
    """Calls of which a client heard that they went well, and the log does not say so."""
    applied = {payload["callId"] for _, type, payload in log if type == "tool_result_applied"}
    well = {
        payload["args"]["n"]
        for _, type, payload in log
        if type == "tool_call" and payload["callId"] in applied
    }
    return [
        f"a client was answered {answer}, and the log does not know of it"
        for number, answer in seen.calls.items()
        if answer is not None and answer["ok"] and number not in well
    ]


def ran(path: Path) -> Counter[tuple[str, str, str]]:
    """How often each call ran: by its tool, its session and its number."""
    lines = path.read_text().splitlines()
    return Counter((name, session, call) for name, session, call in map(str.split, lines))


class WindowLog:
    """All that was ever counted in a window, of which the server keeps what it needs."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client: Any = client
        self._key = key
        self.entries: list[tuple[int, int, int]] = []

    def look(self) -> None:
        """Note what has come; to be called more often than the window is filled."""
        last = self.entries[-1][0] if self.entries else -1
        whole = {NEVER_DECODE: True}
        for entry in self._client.execute_command("LRANGE", self._key, 0, -1, **whole):
            when, calls, span, _ = map(int, struct.unpack("<dddd", entry))
            if when > last:
                self.entries.append((when, calls, span))

    def exceeded(self) -> list[str]:
        """Where more calls were counted than the window has room for."""
        wrong = []
        for number, (when, calls, span) in enumerate(self.entries):
            if number >= calls and when - self.entries[number - calls][0] < span:
                wrong.append(f"{self._key} had more than {calls} in {span} us up to {when}")
        return wrong
