"""What is saved is sealed: only what a broker wrote, for this very place, is taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core.durable_state import Answer, CodeState, StateRefusedError
from enclave_broker_core.errors import RateLimitedError, SessionCancelledError, ToolError
from enclave_broker_core.seals import BrokenSealError, Seal

SEAL = Seal([b"k" * 32])
STATE = CodeState(
    kind="waiting",
    seq=7,
    runs=2,
    last=True,
    runtime="python",
    attempts=3,
    stdout_bytes=12,
    seconds=1.5,
    pending={"c_run_2_0": None, "c_run_2_1": "pay"},
    code="",
    runtime_state=b"\x00snapshot\xff",
)


@given(st.binary(max_size=200), st.lists(st.text(max_size=8), max_size=3))
def test_what_was_sealed_is_opened_with_the_same_place_only(body: bytes, place: list[str]) -> None:
    sealed = SEAL.close(body, *place)
    assert SEAL.open(sealed, *place) == body
    for other in ([*place, ""], ["x", *place], ["".join(place), ""]):
        if other != place:
            with pytest.raises(BrokenSealError):
                SEAL.open(sealed, *other)


@given(st.binary(max_size=64), st.data())
def test_a_changed_bit_is_seen(body: bytes, data: st.DataObject) -> None:
    sealed = bytearray(SEAL.close(body, "place"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BrokenSealError):
        SEAL.open(bytes(sealed), "place")


@given(st.binary(max_size=100))
def test_what_nobody_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenSealError):
        SEAL.open(data)


def test_the_first_key_seals_and_all_open() -> None:
    old, new = b"o" * 32, b"n" * 32
    sealed = Seal([old]).close(b"body", "a")
    both = Seal([new, old])
    assert both.open(sealed, "a") == b"body"
    assert Seal([new]).open(both.close(b"body", "a"), "a") == b"body"
    with pytest.raises(BrokenSealError):
        Seal([new]).open(sealed, "a")


@pytest.mark.parametrize("keys", [[], [b"short"], [b"k" * 32, b"k" * 31]])
def test_a_seal_needs_keys_that_are_long_enough(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Seal(keys)


def test_no_repr_shows_a_key() -> None:
    assert "kkkk" not in repr(SEAL)


def test_a_state_is_read_back() -> None:
    assert CodeState.from_bytes(STATE.to_bytes(SEAL, "s_1"), SEAL, "s_1") == STATE
    done = CodeState("done", 1, 1, False, None, 0, 0, event=("partial_result", '{"path":[]}'))
    found = CodeState.from_bytes(done.to_bytes(SEAL, "s_1"), SEAL, "s_1")
    assert (found, found.draft) == (done, ("partial_result", b'{"path":[]}'))
    assert (found.runtime_state, found.run_id) == (None, "run_1")


@given(st.data())
def test_a_state_that_was_changed_is_refused(data: st.DataObject) -> None:
    state = bytearray(STATE.to_bytes(SEAL, "s_1"))
    state[data.draw(st.integers(0, len(state) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateRefusedError):
        CodeState.from_bytes(bytes(state), SEAL, "s_1")


def test_a_state_of_another_session_or_key_is_refused() -> None:
    state = STATE.to_bytes(SEAL, "s_1")
    with pytest.raises(StateRefusedError, match="for this session, or was changed"):
        CodeState.from_bytes(state, SEAL, "s_2")
    with pytest.raises(StateRefusedError, match="durable_key"):
        CodeState.from_bytes(state, Seal([b"x" * 32]), "s_1")
    for none in (b"", b"\x00" * 8, state[:20]):
        with pytest.raises(StateRefusedError):
            CodeState.from_bytes(none, SEAL, "s_1")


def test_an_answer_is_no_state_and_belongs_to_its_call() -> None:
    answer = Answer.of(1.0, {"a": 1}, None, cancelled=False).to_bytes(SEAL, "s_1", "c_1")
    assert Answer.from_bytes(answer, SEAL, "s_1", "c_1").unwrap() == {"a": 1}
    for session_id, call_id in (("s_2", "c_1"), ("s_1", "c_2")):
        with pytest.raises(StateRefusedError, match=call_id):
            Answer.from_bytes(answer, SEAL, session_id, call_id)
    with pytest.raises(StateRefusedError):
        CodeState.from_bytes(answer, SEAL, "s_1")


def test_an_error_is_raised_again_as_it_was() -> None:
    limited = RateLimitedError("slow down", scope="session", limit=2, retry_after=1.5)
    sealed = Answer.of(1.0, None, limited, cancelled=False).to_bytes(SEAL, "s_1", "c_1")
    with pytest.raises(RateLimitedError, match="slow down") as caught:
        Answer.from_bytes(sealed, SEAL, "s_1", "c_1").unwrap()
    assert (caught.value.retry_after, caught.value.scope) == (1.5, "session")
    assert caught.value.details == limited.details
    with pytest.raises(ToolError, match="no luck"):
        Answer.of(1.0, None, ToolError("no luck"), cancelled=False).unwrap()


def test_an_answer_says_what_stopped_the_call() -> None:
    assert Answer.of(1.0, None, None, cancelled=True).stopped == "run"
    cancelled = SessionCancelledError("no more")
    assert Answer.of(1.0, None, cancelled, cancelled=False).stopped == "session"


def test_nothing_saved_is_in_a_repr() -> None:
    shown = f"{STATE} {Answer(1.0, 'hunter2')}"
    assert "snapshot" not in shown
    assert "hunter2" not in shown
