"""What an answer means: one yes, and everything else."""

from __future__ import annotations

import json

import pytest
from enclave_broker_core.models import Decision, Verdict

from enclave_broker_opa.answers import BadAnswerError, decision

DENY, ALLOW, ASK = Verdict.DENY, Verdict.ALLOW, Verdict.ASK


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        ({"result": True}, Decision(ALLOW, "opa")),
        ({"result": False}, Decision(DENY, "opa")),
        ({"result": True, "decision_id": "4f", "metrics": {}}, Decision(ALLOW, "opa")),
        ({"result": {"allow": True}}, Decision(ALLOW, "opa")),
        ({"result": {"allow": False, "ask": True}}, Decision(ASK, "opa")),
        ({"result": {"allow": True, "ask": True}}, Decision(ASK, "opa")),
        ({"result": {"ask": False}}, Decision(DENY, "opa")),
        ({"result": {}}, Decision(DENY, "opa")),
        (
            {"result": {"allow": True, "rule": "owners", "reason": "web\nis\x1bhers"}},
            Decision(ALLOW, "opa owners", "web is hers"),
        ),
    ],
)
def test_what_the_rules_say(answer: object, meant: Decision) -> None:
    assert decision(200, json.dumps(answer).encode()) == meant


@pytest.mark.parametrize("answer", [{}, {"warning": {"code": "api_usage_warning"}}])
def test_what_is_undefined_is_a_refusal(answer: object) -> None:
    meant = decision(200, json.dumps(answer).encode())
    assert (meant.verdict, meant.rule) == (DENY, "opa undefined")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"true",
        b"[true]",
        b'{"result": tru',
        b'{"result": null}',
        b'{"result": 1}',
        b'{"result": "true"}',
        b'{"result": [true]}',
        b'{"result": {"allow": 1}}',
        b'{"result": {"allow": "true"}}',
        b'{"result": {"allow": null}}',
        b'{"result": {"allow": true, "ask": "no"}}',
        b'{"result": {"allow": true, "deny": true}}',
        b'{"result": {"allow": true, "rule": 7}}',
        b'{"result": {"allow": true, "rule": "' + b"r" * 201 + b'"}}',
        b'{"result": true}{"result": true}',
        b'{"result": true, "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"result": {"allow": true, "reason": "\xff"}}',
    ],
)
def test_what_is_only_nearly_an_answer_is_none(body: bytes) -> None:
    with pytest.raises(BadAnswerError, match="answer"):
        decision(200, body)


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 500])
def test_an_answer_of_another_status_is_none_whatever_it_says(status: int) -> None:
    with pytest.raises(BadAnswerError, match=str(status)):
        decision(status, b'{"result": true}')
