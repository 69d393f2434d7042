"""What schemathesis is told of this API: which sessions there are, and what its streams hold.

It runs in a process of its own, which loads this file; see test_openapi_fuzzed.py.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any
from uuid import uuid4

import jsonschema_rs
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import CheckContext
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

NDJSON, SSE, JSON = "application/x-ndjson", "text/event-stream", "application/json"
STREAMS = {"createSession", "streamEvents", "execute"}
SESSION_ID = re.compile(r"s_[A-Za-z0-9_-]{1,64}")
TOO_COMPLEX = b"the patterns are too complex"
# What the store of the tests can't do; no schema can say it.
NOT_DURABLE = b"there can be no durable session here"

LETTERS = st.text("abcXYZ09_.:- \u00e9", max_size=40)
schemathesis.openapi.format("re2", LETTERS | st.sampled_from(["^a+$", "[a-z]*", r"\pL", "(?i)x|y"]))
schemathesis.openapi.format(
    "glob", LETTERS.filter(bool) | st.sampled_from(["*", "a{b,c}", "[!x]?"])
)

_turn = itertools.count()


def _made(case: schemathesis.Case, kind: str) -> dict[str, str]:
    """A session from the server's other side: open, ended, or waiting for its client."""
    base = case.operation.schema.get_base_url().rstrip("/")
    answer = requests.get(f"{base}/testing/{kind}", timeout=20)
    assert answer.ok, answer.text
    found: dict[str, str] = answer.json()
    return found


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    name = case.operation.definition.raw["operationId"]
    turn = next(_turn)
    if name in STREAMS and "Accept" not in case.headers:
        case.headers["Accept"] = (NDJSON, SSE, JSON, "*/*")[turn % 4]
    _make_acceptable(case, turn)
    given = case.path_parameters.get("session_id", "")
    # In a sequence of requests the sessions are those of the requests before.
    if _phase(case) == "stateful" or not SESSION_ID.fullmatch(given):
        return
    if turn % 5 == 0:
        return
    going_on = "waiting" if name == "answerCall" else "open"
    made = _made(case, "ended" if turn % 5 == 1 else going_on)
    case.path_parameters["session_id"] = made["sessionId"]
    if "callId" in made and isinstance(case.body, dict) and _is_call_id(case.body.get("callId")):
        case.body["callId"] = made["callId"]


def _phase(case: schemathesis.Case) -> str:
    return "" if case.meta is None else case.meta.phase.name.value


def _is_call_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 128


def _make_acceptable(case: schemathesis.Case, turn: int) -> None:
    """What the schema can't say: which sessions and runtimes there are, that no two tools
    have one name, and that a schema is to be one."""
    body = case.body
    if not _is_positive(case) or not isinstance(body, dict):
        return
    if turn % 2 and body.get("sessionId") is not None:
        body["sessionId"] = f"s_{uuid4()}"
    if body.get("runtime") is not None:
        body["runtime"] = "monty"
    if "clientTools" in body:
        body["clientTools"] = list({tool["name"]: tool for tool in body["clientTools"]}.values())
    for tool in body.get("clientTools", ()):
        for key in ("inputSchema", "outputSchema"):
            if tool.get(key) is not None and not jsonschema_rs.meta.is_valid(tool[key]):
                tool[key] = {}


def _is_positive(case: schemathesis.Case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Not those that are none: a stream of one final event is a refusal as well, and what a
    pattern is, and how complex all of them are, can't be told from a schema."""
    if isinstance(failure, RejectedPositiveData):
        return not (TOO_COMPLEX in response.content or NOT_DURABLE in response.content)
    if not isinstance(failure, AcceptedNegativeData):
        return True
    refused = response.headers.get("x-refused")
    return not (refused and refused[0].startswith("4")) and "violates `format`" not in str(failure)


@schemathesis.deserializer(NDJSON)
def lines(context: Any, response: schemathesis.Response) -> list[Any]:
    *whole, rest = response.content.split(b"\n")
    assert rest == b"", "the last line is not whole"
    return [json.loads(line) for line in whole]


@schemathesis.check
def events_conform(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Each event fits its schema, in the form that was asked for, and the last one is the end."""
    kind = (response.headers.get("content-type") or [""])[0]
    if kind not in (NDJSON, SSE):
        return
    accepted = case.headers.get("Accept", "*/*")
    assert accepted in (kind, "*/*", JSON), f"{accepted} is accepted, and {kind} was sent"
    events = lines(None, response) if kind == NDJSON else list(_messages(response.content))
    known = case.operation.schema.raw_schema
    schema = {"$ref": "#/components/schemas/Event", "components": known["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    for event in events:
        problem = next(iter(validator.iter_errors(event)), None)
        assert problem is None, f"{problem} in {event}"
    seqs = [event["seq"] for event in events if event["type"] != "heartbeat"]
    assert seqs == sorted(set(seqs)), f"seq does not rise: {seqs}"
    assert events, "there is no event"
    last = events[-1]
    assert last["type"] == "final" or last["payload"].get("path", [])[:1] == ["run"], last
    assert [event["type"] for event in events].count("final") <= 1


def _messages(content: bytes) -> Any:
    *whole, rest = content.decode().split("\n\n")
    assert rest == "", "the last message is not whole"
    for message in whole:
        head, data = message.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert head == f"id: {event['seq']}"
        yield event


@schemathesis.check
def refusals_conform(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Whatever is refused in a stream would have been refused with a status as well."""
    refused = response.headers.get("x-refused")
    if refused is None or not _is_positive(case):
        return
    if TOO_COMPLEX in response.content or NOT_DURABLE in response.content:
        return
    assert refused[0] in ("403", "404", "409", "429"), f"valid data was refused: {refused[0]}"
