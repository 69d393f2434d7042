"""The kit's fixtures, as somebody's tests use them: enabled by name, and otherwise not there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from enclave_broker_core import StoreError, Verdict
from enclave_broker_core.testing.fakes import ScriptedPolicy
from enclave_broker_core.testing.faults import Faults, fails
from enclave_broker_core.testing.fixtures import (  # noqa: F401
    broker_config,
    broker_faults,
    broker_plugins,
    harness,
    harness_opener,
)
from enclave_broker_core.testing.harness import BrokerHarness
from enclave_broker_core.testing.offered import Offered

pytestmark = pytest.mark.anyio


def test_no_plugin_of_pytest_is_installed_with_the_core() -> None:
    assert [one.value for one in entry_points(group="pytest11") if "enclave" in one.value] == []


class TestAllOfThem:
    @pytest.fixture
    def policy(self) -> ScriptedPolicy:
        return ScriptedPolicy(Verdict.DENY)

    @pytest.fixture
    def faults(self) -> Faults:
        return Faults()

    @pytest.fixture
    def broker_config(self) -> Any:
        return 'plugins = ["memory"]\n[access]\nuse = "own"\n'

    @pytest.fixture
    def broker_plugins(self, policy: ScriptedPolicy) -> Sequence[object]:
        return [Offered(access={"own": policy})]

    @pytest.fixture
    def broker_faults(self, faults: Faults) -> dict[str, Faults]:
        return {"store": faults}

    async def test_a_broker_is_open(
        self,
        harness: BrokerHarness,  # noqa: F811
        policy: ScriptedPolicy,
        faults: Faults,
        tmp_path: Path,
    ) -> None:
        harness.broker.tools({"t": lambda: 1})
        assert harness.folder == tmp_path
        assert (await harness.call("t")).code == "ACCESS_DENIED"
        policy.say(Verdict.ALLOW)
        assert (await harness.call("t")).unwrap() == 1
        faults.on("create", fails(StoreError("gone")))
        with pytest.raises(StoreError, match="gone"):
            await harness.call("t")


async def test_as_many_as_are_wanted(harness_opener: Any, tmp_path: Path) -> None:  # noqa: F811
    policy = ScriptedPolicy()
    config = {"plugins": ["memory"], "access": {"use": "own"}}
    async with (
        harness_opener(config, Offered(access={"own": policy})) as one,
        harness_opener('plugins = ["memory"]\n') as other,
    ):
        for broker in (one.broker, other.broker):
            broker.tools({"t": lambda: 1})
        assert (await one.call("t")).unwrap() == (await other.call("t")).unwrap() == 1
    assert len(policy.asked) == 1
    assert one.folder == other.folder == tmp_path
    assert (len(one.audit), len(other.audit)) == (3, 3)
