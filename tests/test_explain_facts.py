"""What ``Broker.explain`` says of policies, windows, arguments and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from enclave_broker_core import (
    AccessController,
    AccessRequest,
    Admission,
    Broker,
    Decision,
    RateLimiter,
    SessionLimits,
    Verdict,
    Window,
)
from enclave_broker_core.explain import PolicyAnswer, WindowRoom

pytestmark = pytest.mark.anyio

RULES: list[Any] = [{"pattern": "admin:*", "allow": False}]


class Small:
    """Judges arguments: no id over 9."""

    judges_arguments = True

    async def decide(self, request: AccessRequest) -> Decision:
        assert request.arguments is not None
        small = int(str(request.arguments["id"])) <= 9
        return Decision(
            Verdict.ALLOW if small else Verdict.DENY, "small", f"asked by {request.session_id}"
        )


class Mute:
    """A limiter that can't say what is left, or fails when it is asked."""

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return Admission()

    async def check(self) -> None: ...


class Broken(Mute):
    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        raise OSError("no connection")


def broker_of(**options: Any) -> Broker:
    limiter = RateLimiter(
        global_={"max_calls": 3, "window": 60}, per_session={"max_calls": 2, "window": 60}
    )
    access = AccessController(RULES, default="allow")
    broker = Broker(**{"access": access, "limiter": limiter, **options})
    broker.tool("users:get")(number)
    broker.tool("admin:stop", requires_auth=True)(number)
    return broker


async def number(id: int) -> int:
    return id


async def test_as_json() -> None:
    async with broker_of(limits=SessionLimits(max_tool_calls=7)) as broker:
        found = await broker.explain("admin:stop", {}, allowed_tools=["admin:*"])
        unknown = await broker.explain("users:gte")
    assert found.to_json() == {
        "name": "admin:stop",
        "allowed": False,
        "refusal": {"code": "ACCESS_DENIED", "message": "you may not use admin:stop"},
        "tool": "admin:stop",
        "pattern": None,
        "near": [],
        "decisions": [
            {"policy": "allowed_tools", "verdict": "allow", "rule": "allowed_tools", "reason": ""},
            {
                "policy": "requires_auth",
                "verdict": "allow",
                "rule": "requires_auth",
                "reason": "the caller is authenticated",
            },
            {
                "policy": "AccessController",
                "verdict": "deny",
                "rule": "rules[0] admin:*",
                "reason": "",
            },
        ],
        "windows": [
            {"scope": "global", "maxCalls": 3, "windowMs": 60000, "left": 3},
            {"scope": "session", "maxCalls": 2, "windowMs": 60000, "left": 2},
        ],
        "middleware": [],
        "arguments": {
            "valid": False,
            "problems": [
                {
                    "field": "id",
                    "reason": "Field required",
                }
            ],
        },
        "deadlineMs": 3600000,
        "deadlineFrom": "session",
        "secrets": {},
        "callsLeft": 7,
    }
    shown = unknown.to_json()
    assert (shown["tool"], shown["near"], shown["arguments"], shown["deadlineMs"]) == (
        None,
        ["users:get"],
        None,
        None,
    )


@pytest.mark.parametrize("limiter", [Mute(), Broken()])
async def test_a_limiter_that_can_not_say(limiter: Any) -> None:
    rates = RateLimiter(global_={"max_calls": 3, "window": 60}, backend=limiter)
    async with broker_of(limiter=rates) as broker:
        found = await broker.explain("users:get", {"id": 1})
    assert (found.windows, found.allowed) == ((WindowRoom("global", 3, 60.0, None),), True)


@pytest.mark.parametrize(
    ("tool", "session", "call", "expected"),
    [
        (5.0, 60.0, None, (5.0, "tool")),
        (5.0, 60.0, 5.0, (5.0, "tool")),
        (5.0, 60.0, 4.0, (4.0, "call_timeout")),
        (None, 60.0, 4.0, (4.0, "call_timeout")),
        (None, 60.0, None, (60.0, "session")),
        (5.0, 2.0, 4.0, (2.0, "session")),
    ],
)
async def test_the_deadline_and_where_it_comes_from(
    tool: float | None, session: float, call: float | None, expected: tuple[float, str]
) -> None:
    broker = Broker(limits=SessionLimits(timeout=session, call_timeout=call))
    options: Any = {} if tool is None else {"timeout": tool}
    broker.tool("t", **options)(number)
    async with broker, broker.session() as own:
        found = await broker.explain("t")
        assert (found.deadline, found.deadline_from) == expected
        inside = await broker.explain("t", session=own)
        assert inside.deadline_from == expected[1]
        assert inside.deadline is not None
        assert expected[0] - 30 < inside.deadline <= expected[0]


async def test_every_policy_is_asked_and_those_that_judge_arguments_only_with_valid_ones() -> None:
    class Fails:
        judges_arguments = False

        async def decide(self, request: AccessRequest) -> Decision:
            raise OSError("away")

    class Truth:
        judges_arguments = False

        async def decide(self, request: AccessRequest) -> Any:
            return True

    access = [AccessController(default="deny"), Fails(), Small(), Truth()]
    async with broker_of(access=access) as broker, broker.session() as session:
        without = await broker.explain("users:get", session=session)
        wrong = await broker.explain("users:get", {"id": "x"}, session=session)
        valid = await broker.explain("users:get", {"id": 10}, session=session)
    assert without.decisions == (
        PolicyAnswer("AccessController", Verdict.DENY, "default", "no rule matches"),
        PolicyAnswer("Fails", Verdict.DENY, "Fails", "it failed: away"),
        PolicyAnswer("Truth", Verdict.DENY, "Truth", "its answer is not a Decision"),
        PolicyAnswer("Small", None, reason="no arguments are given"),
    )
    assert wrong.decisions[-1].reason == "the arguments are wrong"
    asked = f"asked by {session.id}"
    assert valid.decisions[-1] == PolicyAnswer("Small", Verdict.DENY, "small", asked)


async def test_what_a_policy_says_of_a_secret_is_not_shown() -> None:
    class Talks:
        judges_arguments = False

        async def decide(self, request: AccessRequest) -> Decision:
            return Decision(Verdict.DENY, "opa hunter2-hunter2", "asked with hunter2-hunter2")

    broker = Broker(access=Talks())
    broker.conceal("hunter2-hunter2", "TOKEN")
    broker.tool("add")(lambda a, b: a + b)
    async with broker:
        [answer] = (await broker.explain("add")).decisions
    assert "hunter2" not in answer.rule + answer.reason
    assert answer.rule.startswith("opa ")
    assert answer.reason.startswith("asked with ")
