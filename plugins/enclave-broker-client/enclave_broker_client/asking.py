"""Every request besides those that stream: what is sent, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from pydantic_core import to_json

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import (
    ArgumentsError,
    BrokerError,
    SessionExistsError,
    SessionNotFoundError,
    UnknownToolError,
)
from enclave_broker_core.functions import arguments_text
from enclave_broker_core.json_form import NotJsonError, TooLargeError, json_text
from enclave_broker_core.models import SESSION_ID

from .answers import asked
from .errors import ProtocolError
from .models import SessionInfo, Ticket, ToolInfo, call_record, items
from .options import Filter, SessionOptions, wanted
from .refusals import Refusal, error_of
from .settings import ClientSettings
from .steps import JSON, NDJSON, Open, Steps, get, post

# More than any server takes: what is larger need not be sent to learn that.
LARGEST_BODY = 64 * 1024 * 1024
LONGEST_REASON = 1000


def new_session_id() -> str:
    return f"s_{uuid4()}"


def require_session_id(session_id: str) -> str:
    """ArgumentsError for what is none: it goes into paths."""
    if not SESSION_ID.fullmatch(session_id):
        raise ArgumentsError("a session id is 's_' and 1 to 64 of letters, digits, '_' and '-'")
    return session_id


class Asking:
    """The requests of one client, as steps."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings

    # Sessions

    def running(
        self, session_id: str, code: str, options: SessionOptions, filter: Filter | None
    ) -> Open:
        """Makes a session that runs code, and streams its events."""
        body = {"sessionId": session_id, "code": code, **wanted(options)}
        if filter is not None:
            body["filter"] = filter
        return self._stream("/sessions", body)

    def executing(self, session_id: str, code: str, filter: Filter | None) -> Open:
        """Runs code in a session, and streams the run's events."""
        body: dict[str, Any] = {"code": code}
        if filter is not None:
            # The event that ends the run must not be filtered away.
            always = filter.get("alwaysAllow", ("session_init", "final"))
            body["filter"] = {**filter, "alwaysAllow": [*always, "partial_result"]}
        return self._stream(f"/sessions/{session_id}/execute", body)

    def create(
        self, session_id: str, options: SessionOptions, tools: Sequence[Mapping[str, Any]]
    ) -> Steps[SessionInfo]:
        """Make an interactive session."""
        body = {"sessionId": session_id, **wanted(options)}
        if tools:
            body["clientTools"] = list(tools)
        request = post("/sessions", _json("the session", body), self._settings.timeout)
        repeated = yield from self._asked_twice(request, session_id)
        return repeated

    def _asked_twice(self, request: Open, session_id: str) -> Steps[SessionInfo]:
        """A session that exists after an attempt whose answer was lost is one's own."""
        try:
            said = yield from asked(request, self._settings, repeat=False)
        except BrokerError as lost:
            if not getattr(lost, "sent", False):
                raise
            said = yield from asked(request, self._settings)
            if isinstance(said, Refusal) and said.status == 409:
                found = yield from self.info(session_id)
                return found
        if isinstance(said, Refusal) and said.status == 409:
            raise SessionExistsError(said.error.message)
        return SessionInfo.of(_required(said))

    def info(self, session_id: str) -> Steps[SessionInfo]:
        said = yield from self._get(f"/sessions/{session_id}", SessionNotFoundError)
        return SessionInfo.of(said)

    def sessions(self, *, ended: bool) -> Steps[list[SessionInfo]]:
        said = yield from self._get("/sessions", query={"ended": "true"} if ended else None)
        return [SessionInfo.of(item) for item in items(said, "sessions")]

    def cancel(self, session_id: str, reason: str) -> Steps[None]:
        path = f"/sessions/{session_id}/cancel"
        yield from self._post(path, {"reason": reason[:LONGEST_REASON]}, SessionNotFoundError)

    def delete(self, session_id: str) -> Steps[None]:
        request = Open(
            "DELETE", f"/sessions/{session_id}", self._settings.timeout, headers={"accept": JSON}
        )
        _required((yield from asked(request, self._settings, missing=SessionNotFoundError)))

    def ticket(self, session_id: str) -> Steps[Ticket]:
        path = f"/sessions/{session_id}/ticket"
        return Ticket.of((yield from self._post(path, {}, SessionNotFoundError)))

    # Calls

    def call(
        self,
        session_id: str,
        name: str,
        args: Mapping[str, Any] | None,
        key: str | None,
        *,
        repeat: bool,
    ) -> Steps[Any]:
        """Make a tool call; its result. With ``repeat`` it has a key, and is sent again when
        the connection is lost: the server knows the key and calls the tool once."""
        arguments = arguments_text(name, args or {}, LARGEST_BODY)
        body = b'{"name":%b,"args":%b}' % (to_json(name), arguments)
        headers: dict[str, str] = {}
        if repeat or key is not None:
            headers["idempotency-key"] = key or uuid4().hex
        path = f"/sessions/{session_id}/tool-calls"
        request = post(path, body, self._settings.call_timeout, headers=headers)
        said = _required(
            (yield from asked(request, self._settings, missing=SessionNotFoundError, repeat=repeat))
        )
        if not isinstance(said, dict):
            raise ProtocolError("the server's answer is no call")
        if said.get("ok") is True and "data" in said:
            return said["data"]
        if said.get("ok") is False and isinstance(said.get("error"), dict):
            raise error_of(said["error"])
        raise ProtocolError("the server does not say what came of the call")

    def history(self, session_id: str) -> Steps[list[CallRecord]]:
        said = yield from self._get(f"/sessions/{session_id}/tool-calls", SessionNotFoundError)
        return [call_record(item) for item in items(said, "toolCalls")]

    def answer(self, session_id: str, call_id: str, answer: bytes) -> Steps[Refusal | None]:
        """Answer a call of a client's tool; why the server does not take it, if it does not."""
        body = b'{"callId":%b,%b}' % (to_json(call_id), answer)
        request = post(f"/sessions/{session_id}/tool-result", body, self._settings.timeout)
        said = yield from asked(request, self._settings)
        return said if isinstance(said, Refusal) else None

    # The catalog and the server

    def tools(self) -> Steps[list[ToolInfo]]:
        said = yield from self._get("/tools")
        return [ToolInfo.of(item) for item in items(said, "tools")]

    def tool(self, name: str) -> Steps[ToolInfo]:
        said = yield from self._get(f"/tools/{quote(name, safe=':/')}", UnknownToolError)
        return ToolInfo.of(said)

    def works(self, path: str) -> Steps[bool]:
        """Whether the server answers with a yes, and not that it is unavailable."""
        said = yield from asked(get(path, self._settings.timeout), self._settings)
        if isinstance(said, Refusal) and said.status != 503:
            raise said.error
        return not isinstance(said, Refusal)

    def _get(
        self,
        path: str,
        missing: type[BrokerError] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Steps[Any]:
        request = get(path, self._settings.timeout, query=query)
        return _required((yield from asked(request, self._settings, missing=missing)))

    def _post(self, path: str, body: Any, missing: type[BrokerError]) -> Steps[Any]:
        """For what may well be done twice."""
        request = post(path, body, self._settings.timeout)
        return _required((yield from asked(request, self._settings, missing=missing)))

    def _stream(self, path: str, body: Mapping[str, Any]) -> Open:
        patience = self._settings.heartbeat_timeout
        return post(path, _json("the code", body), patience, accept=NDJSON)


def _required(said: Any | Refusal) -> Any:
    if isinstance(said, Refusal):
        raise said.error
    return said


def _json(what: str, body: Any) -> bytes:
    try:
        return json_text(body, LARGEST_BODY)
    except (NotJsonError, TooLargeError) as problem:
        raise ArgumentsError(f"{what} can't be sent: {problem}") from None
