"""What a broker tells those who serve it: changes of the catalog, languages, ids of calls."""

from __future__ import annotations

from contextlib import nullcontext

import anyio
import pytest
from step_runtime import StepRuntime

from enclave_broker_core import Broker, ToolContext
from enclave_broker_core.export import exported
from enclave_broker_core.models import ToolSpec


async def nothing() -> None: ...


@pytest.mark.anyio
async def test_a_change_of_the_catalog_can_be_waited_for() -> None:
    broker = Broker()
    seen: list[int] = []

    async def watch() -> None:
        version = broker.catalog_version
        while True:
            version = await broker.catalog_change(version)
            seen.append(version)

    async with broker, anyio.create_task_group() as tasks:
        start = broker.catalog_version
        tasks.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        broker.tool("one")(nothing)
        await anyio.wait_all_tasks_blocked()
        assert seen == [start + 1]
        # What comes before the waiting goes on is one change.
        broker.tool("two")(nothing)
        broker.remove_tool("one")
        await anyio.wait_all_tasks_blocked()
        assert seen == [start + 1, start + 3]
        assert await broker.catalog_change(start) == start + 3
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_languages_are_those_of_the_runtimes() -> None:
    async with Broker(runtime={"b": nullcontext(StepRuntime()), "a": StepRuntime()}) as broker:
        assert list(broker.languages.items()) == [("b", "steps"), ("a", "steps")]
    async with Broker() as broker:
        assert broker.languages == {}


@pytest.mark.anyio
async def test_a_call_is_known_by_its_id_from_when_it_is_made() -> None:
    broker = Broker()
    ids: list[str] = []

    @broker.tool("own")
    async def own(context: ToolContext) -> None:
        ids.append(context.call_id)

    async with broker, broker.session() as session:
        for _ in range(2):
            calling = session.call("own")
            made = session.last_call_id
            await calling
            assert ids[-1] == made
        assert [call.call_id for call in await session.history()] == ids
    assert len(set(ids)) == 2


@pytest.mark.parametrize(("destructive", "hint"), [(None, None), (True, True), (False, False)])
def test_mcp_is_told_whether_a_tool_destroys(destructive: bool | None, hint: bool | None) -> None:
    [tool] = exported("mcp", {"a": ToolSpec(name="a", destructive=destructive)})
    assert tool["annotations"].get("destructiveHint") is hint
    assert ("destructiveHint" in tool["annotations"]) is (hint is not None)
