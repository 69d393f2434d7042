"""A part with faults around it is what it was, but for the calls that are meant to go wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_memory.store import MemoryStore
from test_kit_fakes import TestScriptedPolicy as PolicyTests

from enclave_broker_core import Principal
from enclave_broker_core.contracts import AccessPolicy, AccessRequest
from enclave_broker_core.store_abilities import AdmittingStore, LeasedStore
from enclave_broker_core.testing.fakes import KnownSecrets, ScriptedPolicy
from enclave_broker_core.testing.faults import (
    Faults,
    cancels,
    dawdles,
    fails,
    hangs,
    loses_answer,
)
from enclave_broker_core.testing.gates import Gate

pytestmark = pytest.mark.anyio

ASKED = AccessRequest("t", Principal(id="ada"))


class TestAPolicyWithoutAFaultInItsFaults(PolicyTests):
    """What is wrapped keeps its contract."""

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        async with super().open_policy() as policy:
            yield Faults().around(policy)


del PolicyTests


async def test_a_part_may_dawdle() -> None:
    faults, turns = Faults(), 0
    faults.on("decide", dawdles(5))
    policy = faults.around(ScriptedPolicy())

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        assert (await policy.decide(ASKED)).allowed
        tasks.cancel_scope.cancel()
    assert turns >= 5


async def test_a_part_may_cancel_who_asks() -> None:
    faults = Faults()
    policy = ScriptedPolicy()
    with anyio.CancelScope() as scope:
        faults.on("decide", cancels(scope), at=2)
        wrapped = faults.around(policy)
        await wrapped.decide(ASKED)
        await wrapped.decide(ASKED)
        pytest.fail("it was not cancelled")
    assert scope.cancelled_caught
    assert len(policy.asked) == 2


async def test_what_is_done_first_and_hangs_then() -> None:
    faults, gate, policy = Faults(), Gate(), ScriptedPolicy()
    faults.on("decide", hangs(gate, after=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(faults.around(policy).decide, ASKED)
        await gate.reached()
        assert len(policy.asked) == 1
        gate.open()


async def test_a_wrapped_store_can_do_what_it_could() -> None:
    for kind in (AdmittingStore, LeasedStore):
        assert not isinstance(Faults().around(MemoryStore()), kind)

    class Leased(MemoryStore):
        lease = 3.0

        async def serve(self, holder: Any) -> None:
            """Nothing to serve."""

    wrapped = Faults().around(Leased())
    assert isinstance(wrapped, LeasedStore)
    assert wrapped.lease == 3.0
    assert type(wrapped).__name__ == "Leased"


async def test_a_method_that_is_not_there_is_a_mistake_of_the_test() -> None:
    early, late = Faults(), Faults()
    early.on("decides", fails(OSError()))
    with pytest.raises(ValueError, match="no coroutine method decides; there are: decide, open"):
        early.around(ScriptedPolicy())
    late.around(ScriptedPolicy())
    with pytest.raises(ValueError, match="no coroutine method say"):
        late.on("say", fails(OSError()))


class NeedsMore(Exception):
    """As the errors of many a client: not to be made of its ``args`` alone."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@pytest.mark.parametrize("fault", [fails, loses_answer])
async def test_an_error_that_can_not_be_copied_is_raised_as_it_is(fault: Any) -> None:
    faults, error = Faults(), NeedsMore("busy", status=503)
    faults.on("get", fault(error))
    source = faults.around(KnownSecrets({}))
    for _ in range(2):
        with pytest.raises(NeedsMore, match="busy") as raised:
            await source.get("KEY")
        assert (raised.value.status, raised.value is error) == (503, False)


@pytest.mark.parametrize("at", [0, -1, (1, 0), ()])
async def test_a_call_that_never_comes_is_a_mistake_of_the_test(at: Any) -> None:
    with pytest.raises(ValueError, match="the first call is 1"):
        Faults().on("get", fails(OSError()), at=at)
