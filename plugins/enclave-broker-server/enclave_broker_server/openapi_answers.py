"""What the API's description says of answers: their headers, and each kind of refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import CODES
from .openapi_forms import REQUEST_ID, SESSION_ID, ref

JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"

Part = Mapping[str, Any]

# What may be wrong with any request, before it is known whom it is for.
ALWAYS = frozenset({400, 403, 405, 408, 414, 421, 429, 431, 500, 503})
# Those are also what the reader of a connection answers, which has no ids of requests.
_EARLY = frozenset({400, 408, 414, 429, 431, 503})
_MORE_CODES: Mapping[int, tuple[str, ...]] = {400: ("INVALID_FILTER",)}
_SAID: Mapping[int, str] = {
    400: "The request is wrong; the message says where.",
    401: "The caller is not known, or the ticket is not valid.",
    403: "The caller, or the page, may not do this.",
    404: "There is none that the caller may see.",
    405: "The path has no such method.",
    408: "The request did not come in the time that it may take.",
    409: "It stands against what is there.",
    413: "It is larger than allowed.",
    414: "The URL is longer than allowed.",
    415: "It is not sent as JSON.",
    421: "The request is for a host that this server is not known as.",
    426: "Only a WebSocket can be opened here.",
    429: "Too many.",
    431: "There are more headers, or longer ones, than allowed.",
    500: "Something failed in the server, which says no more about it.",
    503: "Not now.",
}


def responses() -> dict[str, Any]:
    """Each refusal, by its status."""
    return {
        str(status): {
            "description": text,
            "headers": _refusal_headers(status),
            "content": {JSON: {"schema": _error(status)}},
        }
        for status, text in _SAID.items()
    }


def refusals(*statuses: int) -> dict[str, Any]:
    """References to the refusals that any request can meet, and to these."""
    return {
        str(status): {"$ref": f"#/components/responses/{status}"}
        for status in sorted(ALWAYS.union(statuses))
    }


def answer(
    said: str, schema: str, *, headers: Part | None = None, links: Part | None = None
) -> dict[str, Any]:
    """One that is JSON."""
    return _made(said, {JSON: {"schema": ref(schema)}}, headers, links)


def events(said: str, *, headers: Part | None = None, links: Part | None = None) -> dict[str, Any]:
    """One that is a stream, in either form."""
    content = {NDJSON: {"schema": ref("EventLines")}, SSE: {"schema": ref("EventMessage")}}
    session = _header("The session's id.", SESSION_ID)
    return _made(said, content, {"X-Session-ID": session, **(headers or {})}, links)


def empty(said: str) -> dict[str, Any]:
    """One without a body."""
    return _made(said, {}, None, None)


def refused_headers() -> dict[str, Any]:
    """Those of a stream that is one final event, because there is no session."""
    statuses = {"type": "string", "enum": ["400", "403", "409", "413", "429", "503"]}
    return {
        "X-Refused": _header("With a refusal: the status that it had else.", statuses, False),
        "Retry-After": _header("With some refusals: seconds.", _seconds(), False),
    }


def run_headers() -> dict[str, Any]:
    """What a client needs that loses the stream of a run before its first event."""
    return {
        "X-Run-Id": _header("The run's id.", {"type": "string", "minLength": 1}),
        "X-First-Seq": _header("The run's events are from this seq on.", _whole()),
    }


def replayed_header() -> dict[str, Any]:
    said = "The answer is one that was given before."
    return {"Idempotency-Replayed": _header(said, {"type": "string", "const": "true"}, False)}


def _made(said: str, content: Part, headers: Part | None, links: Part | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": said,
        "headers": {"X-Request-ID": _header("The request's id.", REQUEST_ID), **(headers or {})},
    }
    if content:
        made["content"] = content
    if links:
        made["links"] = links
    return made


def _refusal_headers(status: int) -> dict[str, Any]:
    always = status not in _EARLY
    found = {"X-Request-ID": _header("The request's id.", REQUEST_ID, always)}
    if status == 401:
        found["WWW-Authenticate"] = _header("How to say who one is.", {"type": "string"})
    if status == 405:
        found["Allow"] = _header("The methods that the path has.", {"type": "string"})
    if status == 426:
        found["Upgrade"] = _header("To what.", {"type": "string", "const": "websocket"})
    if status in (429, 503):
        found["Retry-After"] = _header("Seconds after which to come back.", _seconds())
    return found


def _error(status: int) -> dict[str, Any]:
    codes = [CODES[status], *_MORE_CODES.get(status, ())]
    return {"allOf": [ref("Error"), {"properties": {"code": {"enum": codes}}}]}


def _header(about: str, schema: Part, required: bool = True) -> dict[str, Any]:
    return {"description": about, "required": required, "schema": schema}


def _seconds() -> dict[str, Any]:
    return {"type": "integer", "minimum": 1}


def _whole() -> dict[str, Any]:
    return {"type": "integer", "minimum": 1}
