"""What a run may use, and what its caller is told when it uses more."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from enclave_broker_core.errors import DeadlineExceededError, ResultTooLargeError, RunError
from enclave_broker_core.models import SessionLimits
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio


async def failure(monty, code: str, host: RecordingHost | None = None, **config) -> Exception:
    """What the run of ``code`` raised; the session's earlier state must have outlived it."""
    host = RecordingHost() if host is None else host
    async with monty(**config) as runtime, runtime.session(host) as session:
        await session.run("before = 1")
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await session.run("before = 2\n" + code)
        before = await session.run("before")
        # Only an error of the code itself keeps what the run did until then.
        assert before == (1 if "limit" in str(caught.value) or "time" in str(caught.value) else 2)
        return caught.value


async def test_host_calls_are_counted(monty) -> None:
    code = 'for n in range(100):\n    await call_tool("test:echo", {"value": n})'
    host = RecordingHost()
    error = await failure(monty, code, host, max_suspensions=20)
    assert isinstance(error, RunError)
    assert error.message.startswith("the code broke the limit of 20 host calls in a run")
    assert 10 <= len(host.calls) <= 20


async def test_memory_names_its_limit(monty) -> None:
    error = await failure(monty, 'held = "x" * 500_000_000')
    assert isinstance(error, RunError)
    assert error.message.startswith("the code broke the sandbox's memory limit:")


async def test_processor_time_is_a_deadline(monty) -> None:
    error = await failure(monty, "while True:\n    pass", max_processor_time=0.1)
    assert isinstance(error, DeadlineExceededError)
    assert error.message.startswith("the code used more processor time than it may")


async def test_the_time_between_two_calls_can_be_bounded(monty) -> None:
    error = await failure(monty, "while True:\n    pass", max_turn_time=0.1)
    assert isinstance(error, DeadlineExceededError)
    assert "turn time" in error.message


async def test_an_operation_that_cannot_be_interrupted_costs_the_worker(monty) -> None:
    error = await failure(monty, "7 ** (10 ** 7) % 10", max_processor_time=0.1)
    assert isinstance(error, DeadlineExceededError)
    assert "time" in error.message


async def test_waiting_for_tools_is_no_processor_time(monty, host) -> None:
    code = "import asyncio\nawait asyncio.sleep(0.3)\nawait asyncio.sleep(0.3)\n1"
    async with monty(max_processor_time=0.2) as runtime, runtime.session(host) as session:
        assert await session.run(code) == 1


async def test_a_timeout_error_of_the_code_is_no_deadline(monty) -> None:
    async with monty() as runtime, runtime.session(RecordingHost()) as session:
        with pytest.raises(RunError, match="feed time limit exceeded: 1s"):
            await session.run('raise TimeoutError("feed time limit exceeded: 1s > 1s")')


async def test_recursion_can_be_caught_and_names_its_limit(monty, host) -> None:
    down = "def down(n):\n    return down(n + 1)\n"
    caught = "try:\n    down(0)\nexcept RecursionError:\n    seen = True\nseen"
    async with monty(max_recursion_depth=100) as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match="the code broke the recursion limit of 100"):
            await session.run(down + "down(0)")
        assert await session.run(caught) is True


async def test_an_error_shows_the_lines_of_the_code_and_nothing_of_the_host(monty, host) -> None:
    code = "def half(n):\n    return n / 0\n\n\nhalf(3)"
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(RunError) as caught:
            await session.run(code)
    message = caught.value.message
    assert "line 5, in <module>" in message
    assert "line 2, in half" in message
    assert message.endswith("ZeroDivisionError: division by zero")
    assert "/" not in message.replace("n / 0", "")


async def test_syntax_that_the_sandbox_lacks_is_named(monty, host) -> None:
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match=r"can't run this code[^$]*class inheritance"):
            await session.run("class A(Exception):\n    pass")


async def test_a_message_of_any_size_is_bounded(monty, host) -> None:
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(RunError) as caught:
            await session.run('raise ValueError("x" * 10_000_000)')
    assert len(caught.value.message) < 10_000
    assert "ValueError: xxx" in caught.value.message


async def test_a_result_of_any_size_is_bounded(monty) -> None:
    host = RecordingHost(SessionLimits(max_result_bytes=1000))
    async with monty() as runtime, runtime.session(host) as session:
        for code in ('"x" * 20_000_000', "[[0] * 1000] * 1000", "10 ** 3000", "['x' * 500] * 3"):
            with pytest.raises(ResultTooLargeError):
                await session.run(code)


async def test_a_single_print_of_any_size_is_refused(monty) -> None:
    host = RecordingHost(SessionLimits(max_output_bytes=1000))
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(ResultTooLargeError):
            await session.run('print("x" * 20_000_000)')
        assert host.printed == ""


async def test_what_the_host_refuses_ends_the_run_with_its_error(monty) -> None:
    host = RecordingHost(SessionLimits(max_output_bytes=1000))
    async with monty() as runtime, runtime.session(host) as session:
        await session.run('print("x" * 600)')
        with pytest.raises(ResultTooLargeError, match="more than 1000 bytes printed"):
            await session.run('print("x" * 600)')


async def test_little_more_is_held_than_the_host_would_take(monty) -> None:
    class CountingHost(RecordingHost):
        largest = 0

        async def stdout(self, chunk: str) -> None:
            self.largest = max(self.largest, len(chunk))
            await super().stdout(chunk)

    host = CountingHost(SessionLimits(max_output_bytes=1000))
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(ResultTooLargeError):
            await session.run('print("x" * 500)\nprint("x" * 5_000_000)')
    assert host.largest <= 1000


async def test_output_that_the_host_refuses_ends_a_run_that_prints_for_ever(monty) -> None:
    host = RecordingHost(SessionLimits(max_output_bytes=1000))
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(ResultTooLargeError):
            await session.run('while True:\n    print("x" * 10)')


async def test_printing_waits_for_a_slow_host_in_order(monty) -> None:
    class SlowHost(RecordingHost):
        async def stdout(self, chunk: str) -> None:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            await super().stdout(chunk)

    host = SlowHost()
    code = """
for n in range(50):
    print(n)
    await call_tool("test:echo", {"value": n})
"""
    async with monty() as runtime, runtime.session(host) as session:
        await session.run(code)
    expected = []
    for n in range(50):
        expected += [("stdout", f"{n}\n"), ("call", "test:echo", {"value": n})]
    assert host.log == expected


async def test_an_error_inside_the_host_ends_the_run_as_it_is(monty) -> None:
    class BrokenHost(RecordingHost):
        async def call(self, name, arguments):
            raise LookupError("a secret of the host")

    code = 'try:\n    await call_tool("x")\nexcept Exception as error:\n    print(error)'
    host = BrokenHost()
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(LookupError, match="a secret of the host"):
            await session.run(code)
        assert "secret" not in host.printed
