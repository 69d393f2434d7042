"""Lines out of bytes and events out of lines, whatever a server sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enclave_broker_client import ProtocolError
from enclave_broker_client.lines import LineReader, event_of
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core.events import Event

EVENT: dict[str, Any] = {
    "protocolVersion": 2,
    "sessionId": "s_1",
    "seq": 3,
    "type": "stdout",
    "payload": {"chunk": "ä\n"},
}

LINES = st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"."))


@given(st.lists(LINES, max_size=5), st.data())
def test_lines_come_out_whole_however_they_come_in(lines: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(line + b"\n" for line in lines) + b"the rest"
    reader = LineReader(20)
    found: list[bytes] = []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        reader.feed(sent[:size])
        sent = sent[size:]
        while (line := reader.next()) is not None:
            found.append(line)
    assert found == lines


@pytest.mark.parametrize(
    "chunks", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"ok\n" + b"x" * 11 + b"\n"]]
)
def test_a_line_that_is_too_long(chunks: list[bytes]) -> None:
    reader = LineReader(10)
    with pytest.raises(ProtocolError, match="longer than 10 bytes"):
        for chunk in chunks:
            reader.feed(chunk)


def test_what_was_begun_is_forgotten() -> None:
    reader = LineReader(10)
    reader.feed(b"a\nb")
    reader.clear()
    reader.feed(b"c\n")
    assert (reader.next(), reader.next()) == (b"c", None)


def test_an_event() -> None:
    assert event_of(json.dumps(EVENT).encode(), "s_1") == Event(
        "s_1", 3, "stdout", '{"chunk":"ä\\n"}'.encode()
    )


def test_an_event_of_a_newer_server_is_passed_on() -> None:
    newer = EVENT | {"type": "something_new", "payload": {}}
    assert event_of(json.dumps(newer).encode(), "s_1").type == "something_new"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"protocolVersion":2}',
        json.dumps(EVENT | {"more": 1}).encode(),
        json.dumps(EVENT | {"protocolVersion": 1}).encode(),
        json.dumps(EVENT | {"protocolVersion": "2"}).encode(),
        json.dumps(EVENT | {"protocolVersion": 2.0}).encode(),
        json.dumps(EVENT | {"sessionId": "s_2"}).encode(),
        json.dumps(EVENT | {"seq": 0}).encode(),
        json.dumps(EVENT | {"seq": True}).encode(),
        json.dumps(EVENT | {"seq": "3"}).encode(),
        json.dumps(EVENT | {"seq": 3.0}).encode(),
        json.dumps(EVENT | {"type": "Std Out"}).encode(),
        json.dumps(EVENT | {"type": 1}).encode(),
        json.dumps(EVENT | {"payload": None}).encode(),
        json.dumps(EVENT | {"payload": {"chunk": 1}}).encode(),
        json.dumps(EVENT | {"payload": {}}).encode(),
        json.dumps(EVENT | {"payload": {"chunk": "", "x": float("nan")}}).encode(),
        json.dumps(EVENT | {"type": "final", "payload": {"ok": 1}}).encode(),
        json.dumps(EVENT | {"type": "final", "payload": {"ok": False}}).encode(),
        json.dumps(EVENT | {"type": "final", "payload": {"ok": False, "error": {}}}).encode(),
        json.dumps(
            EVENT | {"type": "partial_result", "payload": {"path": [1], "hasNext": False}}
        ).encode(),
    ],
    ids=str,
)
def test_what_is_no_event(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        event_of(line, "s_1")
    assert len(caught.value.message) < 200


@given(st.binary())
def test_any_bytes_are_an_event_or_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        event_of(line, "s_1")
