"""The rights that the README names are enough for all that the store and the limiter do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_redis.store import open_store
from engines import config
from redis_servers.secured import own_guarded

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.models import Principal, Window
from enclave_broker_core.testing.replica_suite import Served, lasting
from enclave_broker_core.testing.samples import ENDED_AT, call, draft, end, event, final, write

pytestmark = pytest.mark.anyio

README = Path(__file__).parents[1] / "README.md"


def rules() -> str:
    named = re.search(r"ACL SETUSER broker on >… (.+)", README.read_text())
    assert named is not None
    return named[1]


async def test_the_rights_that_are_named_are_enough() -> None:
    with own_guarded(rules()) as guarded:
        settings = config(guarded.user.url, max_events=2, max_calls=2, max_claims=2)
        async with (
            open_store(settings, OpenContext("one")) as one,
            open_store(settings, OpenContext("other")) as other,
            anyio.create_task_group() as tasks,
        ):
            for each in (one, other):
                tasks.start_soon(Served(each).serve)
            ada = Principal(id="ada", tenant="acme")
            await one.create(lasting(principal=ada), max_open=5, max_of_principal=5)
            for seq in range(1, 6):
                await write(one, event(seq), call=call(f"c_{seq}"))
            assert [item.seq for item in await other.read("s_1")] == [4, 5]
            assert len(await other.history("s_1")) == 2
            window = Window("key", "global", 1, 60.0)
            assert await one.admit("s_1", draft(event(6)), [window])
            assert not await one.limiter.acquire([window])
            assert await one.limiter.remaining([window]) == [0]
            for key in ("settled", "released", "more"):
                assert (await other.claim("s_1", key, "f", seconds=60)).state == "new"
                await (other.release if key == "released" else answer(other))("s_1", key)
            await one.save("s_1", b"state")
            assert await other.saved("s_1") is not None
            assert await other.ask("s_1", b"body") == b"done: body"
            for each in (one, other):
                assert len(await each.list(principal_id="ada", tenant="acme")) == 1
                await each.check()
            with anyio.move_on_after(0.1):
                await other.read("s_1", 99, wait=60)
            await end(one, final(7))
            assert await one.sweep(ENDED_AT + 1e6) == 1
            await one.create(lasting("s_2"))
            assert await other.delete("s_2")
            tasks.cancel_scope.cancel()


def answer(store: Any) -> Any:
    async def settle(session_id: str, key: str) -> None:
        await store.settle(session_id, key, b"answer")

    return settle
