"""``from tools import …``: names, arguments, and tools that come and go."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from enclave_broker_monty.signatures import signatures

from enclave_broker_core.errors import RunError
from enclave_broker_core.models import ToolSpec
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio


class ChangingHost(RecordingHost):
    """Its tools can be taken away."""

    gone: frozenset[str] = frozenset()

    def tools(self) -> Mapping[str, ToolSpec]:
        return {name: spec for name, spec in super().tools().items() if name not in self.gone}


async def test_tools_are_functions_with_named_and_positional_arguments(monty, host) -> None:
    code = """
from tools import test_add, test_echo
import tools
[await test_add(a=1, b=2), await test_add(3, b=4), await test_add(5, 6), await tools.test_echo("x")]
"""
    async with monty() as runtime, runtime.session(host) as session:
        assert await session.run(code) == [3, 7, 11, "x"]
        assert host.calls[0] == ("test:add", {"a": 1, "b": 2})
        assert host.calls[2] == ("test:add", {"a": 5, "b": 6})


async def test_an_imported_tool_works_in_later_runs(monty, host) -> None:
    async with monty() as runtime, runtime.session(host) as session:
        await session.run("from tools import test_add\nadd = test_add")
        assert await session.run("await add(1, 2) + await test_add(3, 4)") == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("await test_add(1, 2, 3)", "takes 2 positional arguments but 3 were given"),
        ("await test_add(1, a=2)", "multiple values for argument 'a'"),
        ("await call_tool()", "call_tool() takes a tool's name and one dict of arguments"),
        ("await call_tool(7)", "call_tool() takes a tool's name and one dict of arguments"),
        ("await call_tool('test:echo', value=1)", "call_tool() takes a tool's name"),
        ("await call_tool('test:echo', [1])", "one dict with strings as keys"),
        ("await call_tool('test:echo', {1: 2})", "one dict with strings as keys"),
    ],
)
async def test_a_call_that_is_none_is_a_type_error_in_the_code(monty, host, call, message) -> None:
    code = f"""
from tools import test_add
try:
    {call}
except TypeError as error:
    text = str(error)
text
"""
    async with monty() as runtime, runtime.session(host) as session:
        assert message in await session.run(code)
        assert host.calls == []


@pytest.mark.parametrize(
    "call",
    [
        'call_tool("test:echo", {"value": 1})',
        'call_tool("test:echo", args={"value": 1})',
        'call_tool(name="test:echo", args={"value": 1})',
    ],
)
async def test_call_tool_takes_its_arguments_by_name_too(monty, host, call) -> None:
    async with monty() as runtime, runtime.session(host) as session:
        assert await session.run(f"await {call}") == 1


async def test_tools_come_and_go_between_runs(monty) -> None:
    host = ChangingHost()
    async with monty() as runtime, runtime.session(host) as session:
        await session.run("from tools import test_add")
        host.gone = frozenset({"test_add"})
        with pytest.raises(RunError):
            await session.run("await test_add(1, 2)")
        with pytest.raises(RunError, match="test_add"):
            await session.run("from tools import test_add as again")
        host.gone = frozenset()
        assert await session.run("await test_add(1, 2)") == 3


async def test_an_error_says_when_to_come_back(monty, host) -> None:
    code = """
try:
    await call_tool("test:limited")
except ToolError as error:
    text, failure = str(error), tool_error(error)
[text, failure.code, failure.message, failure.retry_after]
"""
    async with monty() as runtime, runtime.session(host) as session:
        assert await session.run(code) == [
            "RATE_LIMITED: slow down (retry after 2.500 s)",
            "RATE_LIMITED",
            "slow down",
            2.5,
        ]


async def test_what_is_no_tool_error_reads_as_a_runtime_error(monty, host) -> None:
    code = """
seen = []
for text in ["plain", "not a code: x", "lower_case: x", "FAIL: x (retry after soon s)"]:
    failure = tool_error(RuntimeError(text))
    seen.append([failure.code, failure.message, failure.retry_after])
seen
"""
    async with monty() as runtime, runtime.session(host) as session:
        assert await session.run(code) == [
            ["RUNTIME_ERROR", "plain", None],
            ["RUNTIME_ERROR", "not a code: x", None],
            ["RUNTIME_ERROR", "lower_case: x", None],
            ["FAIL", "x (retry after soon s)", None],
        ]


def test_names_become_identifiers_and_stay_different() -> None:
    schema = {"type": "object", "properties": {"a": {}, "class": {}, "b-c": {}, "__d": {}, "e": {}}}
    names = ["a-b", "a_b", "a-b-", "1st", "_hidden", "class", "import", "-", "users_get"]
    tools = {name: ToolSpec(name="x", input_schema=schema) for name in names}
    found = signatures(tools)
    assert set(found) == {
        "a_b",
        "a_b_2",
        "a_b_",
        "tool_1st",
        "tool_hidden",
        "class_",
        "import_",
        "tool_",
        "users_get",
    }
    assert found["a_b"].spec is tools["a_b"]
    assert found["a_b_2"].spec is tools["a-b"]
    assert found["users_get"].parameters == ("a", "e")
