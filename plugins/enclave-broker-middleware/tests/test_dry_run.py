"""What is told instead of a call, and what is compared beside one."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from enclave_broker_middleware.difference import difference
from enclave_broker_middleware.dry_run import SHADOW, DryRun, DryRunConfig
from middleware_calls import Answers, call, spec
from pydantic import ValidationError

from enclave_broker_core import AccessDeniedError, ToolCall, ToolError

pytestmark = pytest.mark.anyio

TOOL = spec()


def dry_run(**config: Any) -> DryRun:
    return DryRun(DryRunConfig.model_validate(config))


BESIDE = {"compare": {"users:get": "users:get2"}}


class Two:
    """Below the middleware: each tool has its own answer, and notes its calls."""

    def __init__(self, first: Any, other: Any) -> None:
        self.answers = {"users:get": Answers(first), "users:get2": Answers(other)}

    async def __call__(self, given: ToolCall) -> Any:
        return await self.answers[given.name](given)


@pytest.mark.parametrize("config", [{}, {"result": None}, {"result": {"sent": 1}}], ids=str)
async def test_it_tells_what_would_be_done(config: dict[str, Any]) -> None:
    below = Answers("not asked")
    found = await dry_run(tools=["users:*"], **config)(call(TOOL, {"id": 1}), below)
    assert found == {
        "dryRun": True,
        "tool": "users:get",
        "arguments": {"id": 1},
        "note": "users:get was not called; nothing has been done",
        **config,
    }
    assert below.calls == []
    assert await dry_run(tools=["orders:*"])(call(TOOL), Answers("called")) == "called"


@pytest.mark.parametrize(
    ("first", "other", "told"),
    [
        ({"a": 1}, {"a": 1.0}, "the same"),
        ({"a": 1, "at": 5}, {"a": 1, "at": 6}, "the same"),
        ({"a": 1}, {"a": 2}, "differs at /a"),
        ("private", "other", "differs at the top"),
        ("x", ToolError("private"), "TOOL_ERROR instead of a result"),
        (ToolError("private"), "x", "a result instead of TOOL_ERROR"),
        (ToolError("one"), ToolError("another"), "the same"),
        ("x", AccessDeniedError("private"), "ACCESS_DENIED instead of a result"),
        ("x", ValueError("private"), "TOOL_ERROR instead of a result"),
    ],
)
async def test_the_caller_gets_the_first_one_s_answer(
    first: Any, other: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    below, given_call = Two(first, other), call(TOOL, {"id": 1})
    with caplog.at_level(logging.INFO, SHADOW):
        if isinstance(first, Exception):
            with pytest.raises(ToolError) as caught:
                await dry_run(**BESIDE)(given_call, below)
            assert caught.value is first
        else:
            assert await dry_run(**BESIDE, ignore=["/at"])(given_call, below) is first
    assert below.answers["users:get"].calls == [given_call]
    (beside,) = below.answers["users:get2"].calls
    assert (beside.args, beside.grant) == ({"id": 1}, [])
    (record,) = caplog.records
    assert record.getMessage() == f"users:get2 beside users:get: {told}"
    assert record.levelno == (logging.INFO if told == "the same" else logging.WARNING)
    assert vars(record)["agrees"] is (told == "the same")
    assert "private" not in str(vars(record))


async def test_one_that_is_slow_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    ended = []

    async def below(given: ToolCall) -> Any:
        if given.name == "users:get":
            return "first"
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(given.name)

    with anyio.fail_after(30):
        found = await dry_run(**BESIDE, timeout=0.01)(call(TOOL), below)
    assert (found, ended) == ("first", ["users:get2"])
    assert caplog.messages == ["users:get2 beside users:get: did not answer in time"]


async def test_both_go_when_the_call_is_cancelled() -> None:
    running: list[str] = []

    async def never(given: ToolCall) -> Any:
        running.append(given.name)
        try:
            await anyio.sleep_forever()
        finally:
            running.remove(given.name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dry_run(**BESIDE), call(TOOL), never)
        await anyio.wait_all_tasks_blocked()
        assert sorted(running) == ["users:get", "users:get2"]
        tasks.cancel_scope.cancel()
    assert running == []


def test_one_that_does_nothing_is_told_at_the_start() -> None:
    with pytest.raises(ValidationError, match="say which tools"):
        dry_run()


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        (1, 1.0, None),
        (1, True, ""),
        (None, None, None),
        ("a", "b", ""),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        ({"a": 1}, {}, "/a"),
        ({}, {"a": None}, "/a"),
        ({"a/b~": [1, {"c": 1}]}, {"a/b~": [1, {"c": 2}]}, "/a~1b~0/1/c"),
        ([1, 2], [1, 2, 3], "/2"),
        ([1, [2]], [1, [3], 3], "/1/0"),
        ([], {}, ""),
    ],
)
def test_where_values_differ(one: Any, other: Any, place: str | None) -> None:
    assert difference(one, other) == place
    assert (difference(other, one) is None) is (place is None)
