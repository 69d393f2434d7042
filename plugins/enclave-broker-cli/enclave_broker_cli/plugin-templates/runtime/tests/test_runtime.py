"""The runtime by itself: the suite of its contract, then what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_core.contracts import OpenContext, Runtime, RuntimeSession
from enclave_broker_core.errors import RunError
from enclave_broker_core.models import SessionLimits
from enclave_broker_core.testing.hosts import RecordingHost
from enclave_broker_core.testing.runtimes import RuntimeSuite
from pydantic import ValidationError

from enclave_broker_example_runtime.config import RuntimeConfig
from enclave_broker_example_runtime.runtime import open_runtime


class TestJsonRuntime(RuntimeSuite):
    two = '{"$add": [1, 1]}'
    echo = '{"$call": ["test:echo", {"value": {"list": [1, 2.5, null, true, "é"]}}]}'
    meet = '{"$all": [%s, %s, %s]}' % (('{"$call": ["test:meet", {"count": 3}]}',) * 3)
    print_call_print = """{"$do": [
        {"$print": "before"}, {"$call": ["test:echo", {"value": 1}]}, {"$print": "after"}
    ]}"""
    never = '{"$call": ["test:never", {}]}'
    print_and_never = '{"$do": [{"$print": "before"}, {"$call": ["test:never", {}]}]}'
    define = """{"$do": [
        {"$def": ["double", "x", {"$add": [{"$get": "x"}, {"$get": "x"}]}]},
        {"$set": ["kept", 21]}
    ]}"""
    use = '{"$apply": ["double", {"$get": "kept"}]}'
    is_defined = '{"$defined": "double"}'
    define_and_raise = f'{{"$do": [{define}, {{"$fail": "on purpose"}}]}}'
    bad_syntax = '{"$add": [1, '
    catch = '{"$try": [{"$call": ["test:fail", {"message": "no luck"}]}, {"$get": "error"}]}'
    not_caught = '{"$call": ["test:fail", {"message": "no luck"}]}'
    never_beside_failure = f'{{"$all": [{never}, {not_caught}]}}'
    loop_for_ever = '{"$do": [{"$call": ["test:echo", {"value": 1}]}, {"$while": [true, null]}]}'
    allocate_for_ever = """{"$do": [
        {"$set": ["big", "1234567890"]},
        {"$while": [true, {"$set": ["big", {"$add": [{"$get": "big"}, {"$get": "big"}]}]}]}
    ]}"""
    recurse_for_ever = """{"$do": [
        {"$def": ["f", "x", {"$apply": ["f", {"$get": "x"}]}]}, {"$apply": ["f", 1]}
    ]}"""
    large_result = '"%s"' % ("x" * 10_000)
    large_output = """{"$do": [
        {"$print": "%s"}, {"$call": ["test:echo", {"value": 1}]}
    ]}""" % ("x" * 10_000)
    no_json = '{"$add": [1e308, 1e308]}'

    @asynccontextmanager
    async def open_runtime(self) -> AsyncIterator[Runtime]:
        async with open_runtime(RuntimeConfig(), OpenContext("runtime")) as runtime:
            yield runtime


@asynccontextmanager
async def opened(
    limits: SessionLimits | None = None, **settings: Any
) -> AsyncIterator[RuntimeSession]:
    async with open_runtime(RuntimeConfig(**settings), OpenContext("runtime")) as runtime:
        with anyio.fail_after(10):
            async with runtime.session(RecordingHost(limits)) as session:
                yield session


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ('{"a": {"$add": ["x", "y"]}, "b": 1}', {"a": "xy", "b": 1}),
        ('{"$add": [[1], [2]]}', [1, 2]),
        ('{"$add": [1, 0.5]}', 1.5),
        ('{"$item": [{"a": [1, 2]}, "a"]}', [1, 2]),
        ('{"$item": [[1, 2], -1]}', 2),
        ('[{"$less": [1, 2]}, {"$less": [2, 2]}]', [True, False]),
        ('[{"$equal": [1, 1.0]}, {"$equal": [1, true]}]', [True, False]),
        ('{"$if": [{"$less": [1, 2]}, "yes", {"$fail": "no"}]}', "yes"),
        ('{"$if": [1, "yes", "only true is true"]}', "only true is true"),
        ('{"$try": [{"$fail": "luck"}, {"$get": "error"}]}', ["FAILED", "luck"]),
        (
            """{"$do": [
                {"$set": ["n", 0]},
                {"$while": [
                    {"$less": [{"$get": "n"}, 5]},
                    {"$set": ["n", {"$add": [{"$get": "n"}, 1]}]}
                ]},
                {"$get": "n"}
            ]}""",
            5,
        ),
    ],
)
async def test_what_programs_come_to(code: str, value: Any) -> None:
    async with opened() as session:
        assert await session.run(code) == value


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        '{"$nothing": 1}',
        '{"$add": [1, "x"]}',
        '{"$add": [true, 1]}',
        '{"$add": [9223372036854775807, 9223372036854775807]}',
        '{"$equal": [[1], [1]]}',
        '{"$get": "nothing"}',
        '{"$apply": ["nothing", 1]}',
        '{"$item": [[], 0]}',
        '{"$set": ["", 1]}',
        '{"$def": ["f", "", 1]}',
        '{"$if": [true]}',
        "[" * 10_000,
        "NaN",
        "",
    ],
)
async def test_what_is_wrong_is_a_run_error(code: str) -> None:
    async with opened() as session:
        with pytest.raises(RunError):
            await session.run(code)


def joined(*parts: str) -> str:
    """One after the other."""
    return f'{{"$do": [{", ".join(parts)}]}}'


TWICE = '{"$set": ["x", [{"$get": "x"}, {"$get": "x"}]]}'


@pytest.mark.anyio
async def test_a_value_that_holds_itself_many_times_over_takes_the_memory_of_all() -> None:
    limits = SessionLimits(max_memory_bytes=1024 * 1024)
    async with opened(limits) as session:
        await session.run('{"$set": ["x", 1]}')
        with pytest.raises(RunError, match="too much memory"):
            await session.run(joined(*[TWICE] * 60))
        assert await session.run('{"$get": "x"}') == 1


@pytest.mark.anyio
async def test_what_can_not_be_kept_is_not() -> None:
    async with opened() as session:
        await session.run('{"$set": ["x", 1]}')
        deeper = '{"$set": ["x", [{"$get": "x"}]]}'
        for end in ("null", '{"$fail": "late"}'):
            with pytest.raises(RunError, match=r"can't be kept|late"):
                await session.run(joined(*[deeper] * 120, end))
            assert await session.run('{"$get": "x"}') == 1


@pytest.mark.anyio
async def test_steps_are_bounded() -> None:
    async with opened(max_steps=1000) as session:
        with pytest.raises(RunError, match="too many steps"):
            await session.run('{"$while": [true, null]}')
        assert await session.run('{"$add": [1, 1]}') == 2


@pytest.mark.anyio
async def test_tasks_are_bounded() -> None:
    async with opened(SessionLimits(max_memory_bytes=1024 * 1024)) as session:
        with pytest.raises(RunError, match="too much memory"):
            await session.run(f'{{"$all": [{", ".join(["1"] * 200)}]}}')


def test_a_wrong_configuration_is_refused() -> None:
    with pytest.raises(ValidationError):
        RuntimeConfig(max_steps=0)
