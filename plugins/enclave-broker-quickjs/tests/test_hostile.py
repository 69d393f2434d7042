"""No program escapes, hangs, or harms the next session. All share one worker process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import hostile_programs
import pytest
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import QuickJSRuntime
from enclave_broker_quickjs.workers import Workers
from hostile_programs import Outcome

from enclave_broker_core.models import SessionLimits
from enclave_broker_core.testing.hosts import RecordingHost

CONFIG = QuickJSConfig(workers=1, max_processor_time=0.15, max_calls=200)
GROUPS = ("ESCAPES", "TRAPS", "LIMITS", "POLLUTION")
PROGRAMS: dict[str, Outcome] = {
    program: outcome
    for group in GROUPS
    for program, outcome in getattr(hostile_programs, group).items()
}
LIMITS = SessionLimits(
    max_memory_bytes=16 * 1024 * 1024,
    max_output_bytes=50_000,
    max_result_bytes=100_000,
    max_argument_bytes=1_000_000,
)
# What a fresh session finds, whatever was before.
INTACT = """
const names = Object.getOwnPropertyNames(globalThis).join();
console.log("printed");
const echo = await tools.test.echo({value: [1, 2].map(x => x * 2)});
return [names, echo, ({}).polluted, [].polluted, typeof callTool, `${{}}`, Math.max(1, 2)];
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def workers(anyio_backend: str) -> AsyncIterator[Workers]:
    async with Workers.open(CONFIG) as opened:
        yield opened


@pytest.fixture(scope="module")
def runtime(workers: Workers) -> QuickJSRuntime:
    return QuickJSRuntime(workers, CONFIG)


@pytest.fixture(scope="module")
async def intact(runtime: QuickJSRuntime) -> object:
    return await run(runtime, INTACT)


async def run(runtime: QuickJSRuntime, code: str) -> object:
    host = RecordingHost(LIMITS)
    with anyio.fail_after(20):
        async with runtime.session(host) as session:
            try:
                return await session.run(code, last=True)
            finally:
                assert host.running == 0


def test_there_are_enough_of_them() -> None:
    assert len(PROGRAMS) >= 200


@pytest.mark.anyio
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_hostile_program_comes_to_its_end(
    workers: Workers, runtime: QuickJSRuntime, intact: object, program: str
) -> None:
    wanted = PROGRAMS[program]
    if wanted.error is None:
        assert await run(runtime, program) == wanted.value
    else:
        with pytest.raises(wanted.error) as caught:
            await run(runtime, program)
        assert wanted.text in caught.value.message
        assert len(caught.value.message) < 10_000
    assert await run(runtime, INTACT) == intact
    assert workers.started == 1
