"""Decisions that still stand."""

from __future__ import annotations

from enclave_broker_core.models import Decision, Verdict

from enclave_broker_opa.cache import DecisionCache

YES, NO = Decision(Verdict.ALLOW, "opa"), Decision(Verdict.DENY, "opa")


def test_a_decision_stands_until_its_time_is_over() -> None:
    now = [100.0]
    cache = DecisionCache(5, 10, lambda: now[0])
    cache.put(b"q", YES)
    now[0] = 104.9
    assert cache.get(b"q") is YES
    assert cache.get(b"p") is None
    now[0] = 105.0
    assert cache.get(b"q") is None
    cache.put(b"q", NO)
    assert cache.get(b"q") is NO


def test_the_first_goes_first_when_it_is_full() -> None:
    cache = DecisionCache(5, 2, lambda: 0.0)
    for question in (b"1", b"2", b"1", b"3"):
        cache.put(question, YES)
    assert [cache.get(question) for question in (b"1", b"2", b"3")] == [YES, None, YES]
