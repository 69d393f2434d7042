"""What a durable session's log says of what happened after its saved state."""

from __future__ import annotations

from dataclasses import dataclass, field

from .durable_runs import CALL_PREFIX
from .durable_state import CodeState, StateRefusedError
from .session_store import SessionStore
from .shown import Shown

NOT_ALL = "the log does not reach back to the saved state any more"

_PAGE = 1000


@dataclass(slots=True)
class Since:
    """``begun``: the durable calls, with their tools; ``ended``: all calls that came to their
    end, with its seq; ``told``: the runs whose end is told.

    ``shown`` is the output, ``attempts`` how many calls began, of whatever kind; ``seq`` is
    that of the last event.
    """

    seq: int
    begun: dict[str, str] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    shown: Shown = field(default_factory=Shown)
    attempts: int = 0


async def since(store: SessionStore, session_id: str, state: CodeState, last_seq: int) -> Since:
    """Read the log behind ``state``; StateRefusedError when it isn't all there.

    Also when it tells of what can only have come after a later state: then ``state`` is old.
    """
    found = Since(state.seq)
    while events := await store.read(session_id, found.seq + 1, limit=_PAGE):
        for event in events:
            if event.seq != found.seq + 1:
                raise StateRefusedError(NOT_ALL)
            found.seq = event.seq
            if event.type in ("stdout", "log"):
                found.shown.add((event.type, event.payload_json))
            elif event.type == "tool_call":
                call = event.payload
                if state.pending.get(call["callId"]) is None:
                    found.attempts += 1
                if call["callId"].startswith(CALL_PREFIX):
                    found.begun[call["callId"]] = call["toolName"]
            elif event.type == "tool_result_applied":
                found.ended[event.payload["callId"]] = event.seq
            elif event.type == "partial_result":
                path = event.payload["path"]
                if path[0] == "run":
                    found.told.add(path[1])
    if found.seq < last_seq:
        raise StateRefusedError(NOT_ALL)
    told = found.told - {state.run_id} if state.kind == "done" else found.told
    if told or not found.begun.keys() <= state.pending.keys():
        raise StateRefusedError("the saved state is an old one: the session was further than that")
    return found
