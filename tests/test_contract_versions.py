"""Plugins for other versions of a contract: what loads, with which words, and what does not."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest
from enclave_broker_cli import check as check_command
from enclave_broker_cli import plugins as plugins_command

from enclave_broker_core import Broker, builtin
from enclave_broker_core.config_files import read
from enclave_broker_core.contract_versions import CONTRACTS, Contract, ContractVersion
from enclave_broker_core.contracts import CONTRACT_VERSION, Component, NoConfig, OpenContext
from enclave_broker_core.draft import draft_of
from enclave_broker_core.errors import PluginError
from enclave_broker_core.hookspecs import hookimpl
from enclave_broker_core.parts import installed
from enclave_broker_core.plugins import KINDS, Choice, Plugins
from enclave_broker_core.redaction import Redactor

HERE = f"enclave-broker-core {importlib_metadata.version('enclave-broker-core')}"

# As of some release to come: 1 is gone, 2 is on its way out, 3 and 4 are taken.
LATER: Mapping[str, Contract] = {
    **CONTRACTS,
    "sink": Contract(
        (
            ContractVersion(1, since="0.1", until="0.4", gone=True),
            ContractVersion(2, since="0.2", until="0.6"),
            ContractVersion(3, since="0.4"),
            ContractVersion(4, since="0.5"),
        )
    ),
}

PLUGIN = """
from contextlib import asynccontextmanager
from dataclasses import replace
from enclave_broker_core import Component, hookimpl

@asynccontextmanager
async def open_sink(config, context):
    yield None

@hookimpl
def enclave_event_sinks():
    return [{components}]
"""


class Sinks:
    """A plugin of the program itself, with a sink for each of these versions."""

    def __init__(self, **versions: Any) -> None:
        self._versions = versions

    @hookimpl
    def enclave_event_sinks(self) -> list[Component]:
        return [
            Component(name, asynccontextmanager(_none), contract=version)
            for name, version in self._versions.items()
        ]


async def _none(config: Any, context: Any) -> Any:
    yield None


@pytest.fixture(autouse=True, scope="module")
def entry_points_are_read_once() -> None:
    """Not here: these tests install plugins."""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a distribution with a plugin, whose sinks are for these versions."""

    def install(*requires: str, **versions: object) -> None:
        components = ", ".join(
            f"Component({name!r}, open_sink, contract={version!r})"
            for name, version in versions.items()
        )
        (tmp_path / "acme_versions.py").write_text(PLUGIN.format(components=components))
        info = tmp_path / "acme_broker-1.5.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", "Name: acme-broker", "Version: 1.5"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text("[enclave_broker]\nacme = acme_versions\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "acme_versions", raising=False)

    return install


def load(contracts: Mapping[str, Contract] = LATER) -> Plugins:
    plugins = Plugins(contracts)
    plugins.load(Choice(("acme",)))
    return plugins


def refusal(contracts: Mapping[str, Contract] = LATER) -> str:
    with pytest.raises(PluginError) as raised:
        load(contracts)
    return raised.value.message


def test_a_version_that_lasts_loads_without_a_word(acme: Any) -> None:
    acme(a=3, b=4)
    plugins = load()
    assert plugins.names("sink") == ["a", "b"]
    assert plugins.warnings() == []


def test_a_deprecated_version_loads_with_one_warning_for_its_kind(acme: Any) -> None:
    acme(a=2, b=3, c=2)
    plugins = load()
    assert plugins.names("sink") == ["a", "b", "c"]
    said = (
        "plugin 'acme' of acme-broker 1.5 offers 'a' and 'c' as event sink, written for contract"
        " version 2: this is deprecated, and enclave-broker-core 0.6 takes it no more;"
        " upgrade acme-broker to a release that is written for version 3 or 4"
    )
    assert plugins.warnings() == [said]
    (plugin,) = [plugin for plugin in plugins if plugin.name == "acme"]
    assert (plugin.state, plugin.warnings) == ("loaded", (said,))


def test_one_that_is_too_old_says_what_to_upgrade_and_what_to_stay_with(acme: Any) -> None:
    acme(a=1)
    assert refusal() == (
        "plugin 'acme' of acme-broker 1.5: its event sink 'a' is written for contract version 1,"
        f" which enclave-broker-core takes no more since 0.4 (this is {HERE}); upgrade acme-broker"
        " to a release that is written for version 3 or 4, or stay with enclave-broker-core<0.4"
    )


def test_one_that_is_too_new_says_that_the_core_is_to_be_upgraded(acme: Any) -> None:
    acme("anyio>=4", "enclave-broker-core-extras>=9", a=7)
    assert refusal() == (
        "plugin 'acme' of acme-broker 1.5: its event sink 'a' is written for contract version 7,"
        f" and {HERE} knows none after 4; upgrade enclave-broker-core to a release that knows"
        " version 7"
    )


@pytest.mark.parametrize(
    "line", ["enclave-broker-core>=0.7", 'Enclave_Broker.Core>=0.7 ; python_version >= "3"']
)
def test_and_to_which_release_when_the_plugin_knows_it(acme: Any, line: str) -> None:
    acme("enclave-broker-core", line, a=7)
    asked = line.partition(";")[0].strip()
    assert refusal().endswith(f"that knows version 7 (acme-broker asks for {asked})")


def test_today_there_is_the_first_version_only(acme: Any) -> None:
    acme(a=2)
    assert f"version 2, and {HERE} knows none after 1;" in refusal(CONTRACTS)


@pytest.mark.parametrize("version", [0, -1, True, "3", 3.0, None])
def test_what_is_no_version_is_a_mistake_of_the_plugin(acme: Any, version: object) -> None:
    acme(a=version)
    assert refusal() == (
        f"plugin 'acme' of acme-broker 1.5: its event sink 'a' is written for contract version"
        f" {version}, which is none; upgrade acme-broker to a release that is written for version"
        " 3 or 4"
    )


def test_a_plugin_of_the_program_is_to_be_written_anew() -> None:
    plugins = Plugins(LATER)
    plugins.add(Sinks(old=2), "mine")
    assert plugins.warnings()[0].endswith("takes it no more; write it for version 3 or 4")
    with pytest.raises(PluginError, match="write it for version 3 or 4, or stay with"):
        plugins.add(Sinks(older=1), "other")
    assert plugins.names("sink") == ["old"]


def test_who_says_no_version_is_taken_for_the_first() -> None:
    """Whatever this core knows besides: what is installed was written before it."""
    assert CONTRACT_VERSION == Component("a", asynccontextmanager(_none)).contract == 1


def test_every_kind_has_a_contract_and_no_other_has() -> None:
    assert CONTRACTS.keys() == KINDS.keys() - {"command"}


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ((), "neither deprecated nor gone"),
        ((ContractVersion(2, "0.2"),), "none left out"),
        ((ContractVersion(1, "0.1"), ContractVersion(3, "0.2")), "none left out"),
        ((ContractVersion(1, "0.1", until="0.3"),), "neither deprecated nor gone"),
        (
            (
                ContractVersion(1, "0.1"),
                ContractVersion(2, "0.2", until="0.3", gone=True),
                ContractVersion(3, "0.3"),
            ),
            "version 1 is taken, and a newer one is gone",
        ),
        (
            (ContractVersion(1, "0.1", gone=True), ContractVersion(2, "0.2")),
            "which release took a version no more",
        ),
    ],
)
def test_a_table_that_can_not_be_is_refused(
    versions: tuple[ContractVersion, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Contract(versions)


# What a part of an older version is to the core


@pytest.mark.anyio
@pytest.mark.parametrize(("version", "opened"), [(2, "adapted(adapted(2))"), (4, "4")])
async def test_an_open_part_is_brought_to_the_newest_version(version: int, opened: str) -> None:
    def adapt(part: str) -> str:
        return f"adapted({part})"

    class Plain:
        @hookimpl
        def enclave_event_sinks(self) -> list[Component]:
            @asynccontextmanager
            async def open_sink(config: Any, context: Any) -> Any:
                yield str(version)

            return [Component("plain", open_sink, contract=version)]

    sink = LATER["sink"]
    versions = tuple(replace(one, adapt=adapt) for one in sink.versions[:-1])
    plugins = Plugins({**LATER, "sink": Contract((*versions, sink.versions[-1]))})
    plugins.add(Plain(), "mine")
    component = plugins.find("sink", "plain")
    assert (component.name, component.contract) == ("plain", version)
    async with component.open(NoConfig(), OpenContext("sinks[0]")) as part:
        assert part == opened


@pytest.mark.anyio
async def test_a_component_that_is_given_to_a_broker_is_judged_too() -> None:
    sink = Component("mine", asynccontextmanager(_none), contract=2)
    with pytest.raises(PluginError, match="the program: its sink 'mine' is written for contract"):
        async with Broker(sinks=[sink]):
            pytest.fail("it opened")


# What an operator sees


def test_a_configuration_is_warned_of_what_it_loads() -> None:
    class Badges:
        @hookimpl
        def enclave_authenticators(self) -> list[Component]:
            return [Component("badge", asynccontextmanager(_none))]

    versions = (ContractVersion(1, since="0.1", until="0.4"), ContractVersion(2, since="0.2"))
    plugins = Plugins({**CONTRACTS, "authenticator": Contract(versions)})
    plugins.add(builtin, "core")
    plugins.add(Badges(), "mine")
    plugins.load(Choice(("memory",)))
    document = read({"plugins": ["memory"], "authenticators": [{"use": "badge"}]})
    draft = draft_of(document, {}, Redactor(), plugins=plugins)
    assert draft.mistakes.texts() == []
    said = (
        "plugin 'mine' of the program offers 'badge' as authenticator, written for contract"
        " version 1: this is deprecated, and enclave-broker-core 0.4 takes it no more;"
        " write it for version 2"
    )
    assert draft.warnings() == [said]


def test_so_is_a_program_that_names_a_part_itself(
    acme: Any, caplog: pytest.LogCaptureFixture
) -> None:
    acme(acme=2)
    with caplog.at_level(logging.WARNING):
        assert installed("sink", "acme", LATER).contract == 2
    (said,) = load().warnings()
    assert caplog.messages == [said]


def test_the_list_of_plugins_shows_it(capfd: pytest.CaptureFixture[str]) -> None:
    plugins = Plugins(LATER)
    plugins.add(Sinks(old=2), "mine")
    (said,) = plugins.warnings()
    plugins_command.show(list(plugins), json=False)
    shown = capfd.readouterr()
    assert "loaded" in shown.out
    assert shown.err == f"{said}\n"
    plugins_command.show(list(plugins), json=True)
    (listed,) = json.loads(capfd.readouterr().out)
    assert listed["warnings"] == [said]


def test_a_check_tells_it_and_all_is_well(capfd: pytest.CaptureFixture[str]) -> None:
    assert check_command.report("broker.toml", [], ["it is old"], json=False) == 0
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("broker.toml: all is well\n", "it is old\n")
    assert check_command.report("broker.toml", ["it is wrong"], ["it is old"], json=True) == 2
    assert json.loads(capfd.readouterr().out) == {
        "ok": False,
        "problems": ["it is wrong"],
        "warnings": ["it is old"],
    }
