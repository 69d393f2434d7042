"""Against the memory store as the model of it, with restarts in between."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from enclave_broker_memory.store import MemoryStore
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.store import SqliteStore
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Principal, SessionState
from enclave_broker_core.testing.replica_suite import Served
from enclave_broker_core.testing.samples import call, draft, event, final, record

IDS = ("s_1", "s_2", "s_3")
OWNERS = (None, Principal(id="ada", tenant="acme"), Principal(id="bob"))

Step = tuple[str, str, int]
ACTS = ("create", "append", "append", "append", "end", "delete", "sweep")
CLAIMS = ("claim", "claim", "settle", "release")
steps = st.lists(
    st.tuples(
        st.sampled_from((*ACTS, *CLAIMS, "restart")), st.sampled_from(IDS), st.integers(0, 5)
    ),
    max_size=40,
)


def act(store: Any, step: Step, number: int) -> Callable[[], Any]:
    """What the step asks of the store."""
    what, id, variant = step
    key, fingerprint = f"k_{variant % 2}", f"f_{variant % 3}"
    match what:
        case "create":
            new = record(id, principal=OWNERS[variant % 3], metadata={"step": number})
            return partial(store.create, new, max_open=2 + variant % 2, max_of_principal=1)
        case "append":
            with_it = call(f"c_{number}") if variant % 2 else None
            return partial(store.append, id, draft(event(0, by=number)), with_it)
        case "end":
            state = (SessionState.COMPLETED, SessionState.FAILED)[variant % 2]
            return partial(store.end, id, draft(final(0, by=number)), state, 1000.0 * variant)
        case "delete":
            return partial(store.delete, id)
        case "sweep":
            return partial(store.sweep, 1000.0 * variant)
        case "claim":
            return partial(store.claim, id, key, fingerprint, seconds=3600.0)
        case "settle":
            return partial(store.settle, id, key, b"%d" % number)
        case _:
            return partial(store.release, id, key)


async def outcome(asked: Callable[[], Any]) -> Any:
    try:
        return await asked()
    except BrokerError as problem:
        return type(problem), problem.message


async def seen(store: Any) -> list[Any]:
    """All that the store shows."""
    everything = partial(store.list, include_ended=True)
    shown: list[Any] = [await outcome(everything), await outcome(store.list)]
    shown.append(await outcome(partial(store.list, principal_id="ada", limit=2)))
    shown.append(await outcome(partial(store.list, tenant="acme")))
    for id in IDS:
        shown.append(await outcome(partial(store.get, id)))
        shown.append(await outcome(partial(store.history, id)))
        for first, limit in ((1, 1000), (3, 2)):
            shown.append(await outcome(partial(store.read, id, first, limit=limit)))
        shown.append(await outcome(partial(everything, after=id, limit=1)))
    return [list(one) if isinstance(one, list | tuple) else one for one in shown]


async def take_up(store: SqliteStore, tasks: TaskGroup, left_open: set[str]) -> None:
    served = Served(store)
    tasks.start_soon(served.serve)
    with anyio.fail_after(30):
        await served.until(lambda: len(served.taken_up) >= len(left_open))
    assert {item.id for item in served.taken_up} == left_open


async def compare(path: str, given: list[Step], fold_rows: int) -> None:
    model = MemoryStore()
    config = SqliteConfig(path=path)
    number = 0
    while True:
        async with open_file(config) as file, AsyncExitStack() as stack:
            file.ledger.folding.rows = fold_rows
            store = SqliteStore(file)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            await take_up(store, tasks, {item.id for item in await model.list()})
            assert await seen(store) == await seen(model)
            while number < len(given):
                step, number = given[number], number + 1
                if step[0] == "restart":
                    break
                asked = await outcome(act(store, step, number))
                assert asked == await outcome(act(model, step, number)), step
            else:
                assert await seen(store) == await seen(model)
                return
            assert await seen(store) == await seen(model)


@settings(max_examples=25, deadline=None)
@given(given=steps, fold_rows=st.sampled_from([1, 3, 1000]))
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_is_as_the_memory_store_whatever_happens(
    backend: str, given: list[Step], fold_rows: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "broker.db"))
        anyio.run(partial(compare, path, given, fold_rows), backend=backend)
