"""Plugins: found, allowed, loaded, and every failure with its owner's name."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from enclave_broker_core import builtin
from enclave_broker_core.contracts import Component
from enclave_broker_core.distributions import KNOWN_DISTRIBUTIONS
from enclave_broker_core.errors import PluginError
from enclave_broker_core.hookspecs import hookimpl
from enclave_broker_core.plugins import Choice, Plugins

SINK = """
from contextlib import asynccontextmanager
from enclave_broker_core import Component, hookimpl

@asynccontextmanager
async def open_sink(config, context):
    yield None

@hookimpl
def enclave_event_sinks():
    return [Component({name!r}, open_sink)]
"""


class Installed:
    """A folder on the path into which distributions are put as pip would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, distribution: str, plugin: str, module: str, source: str) -> None:
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{distribution.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n"
        )
        (info / "entry_points.txt").write_text(f"[enclave_broker]\n{plugin} = {module}\n")


@pytest.fixture(autouse=True, scope="module")
def entry_points_are_read_once() -> None:
    """Not here: these tests install plugins."""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    # So that what a test imports is gone after it.
    for name in ("acme_plugin", "other_plugin", "third_plugin"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Installed(folder)


def load(
    *allow: str, block: tuple[str, ...] = (), optional: tuple[str, ...] = (), base: Path = Path()
) -> Plugins:
    plugins = Plugins()
    plugins.load(Choice(allow or ("*",), block, optional, base))
    return plugins


def states(plugins: Plugins) -> dict[str, str]:
    return {plugin.name: plugin.state for plugin in plugins}


def test_an_installed_plugin_is_found_and_attributed(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", SINK.format(name="acme-sink"))
    plugins = load("acme")
    (found,) = [plugin for plugin in plugins if plugin.name == "acme"]
    assert (found.distribution, found.version, found.state) == ("acme-broker", "1.5", "loaded")
    assert found.parts == {"sink": ("acme-sink",)}
    assert plugins.find("sink", "acme-sink").name == "acme-sink"
    assert plugins.whose("sink", "acme-sink") == "plugin 'acme' of acme-broker 1.5"


def test_what_is_not_allowed_is_not_even_imported(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", SINK.format(name="a"))
    installed.add("other-broker", "other", "other_plugin", "raise SystemError('imported')")
    plugins = load("a*")
    assert "acme_plugin" in sys.modules
    assert "other_plugin" not in sys.modules
    assert states(plugins)["other"] == "not allowed"
    assert plugins.names("sink") == ["a"]


def test_a_blocked_plugin_is_not_imported(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", SINK.format(name="a"))
    plugins = load("*", block=("acm?",))
    assert states(plugins)["acme"] == "blocked"
    assert "acme_plugin" not in sys.modules
    with pytest.raises(PluginError, match="'a'"):
        plugins.find("sink", "a")


def test_a_missing_part_of_a_blocked_plugin_says_so(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", SINK.format(name="acme"))
    plugins = load("*", block=("acme",))
    with pytest.raises(PluginError) as raised:
        plugins.find("sink", "acme")
    assert raised.value.message == (
        "there is no event sink named 'acme'; plugin 'acme' of acme-broker 1.5 is blocked"
    )


BROKEN = {
    "raise ValueError('bad day')": "did not import: ValueError: bad day",
    "import no_such_library": (
        "did not import: ModuleNotFoundError: No module named 'no_such_library'"
    ),
    """
    from enclave_broker_core import hookimpl
    @hookimpl
    def enclave_event_sink():
        return []
    """: "it implements a hook that does not exist: enclave_event_sink;"
    " did you mean enclave_event_sinks?",
    """
    from enclave_broker_core import hookimpl
    @hookimpl
    def enclave_event_sinks():
        raise KeyError('x')
    """: "enclave_event_sinks() failed: KeyError: 'x'",
    """
    from enclave_broker_core import hookimpl
    @hookimpl
    def enclave_event_sinks():
        return ['sink']
    """: "enclave_event_sinks() returned 'sink', which is not a Component",
    """
    from enclave_broker_core import hookimpl
    @hookimpl
    def enclave_event_sinks(broker):
        return []
    """: "broker",
    "x = 1": "implements no hook; mark its functions with @hookimpl",
}


@pytest.mark.parametrize(("source", "said"), BROKEN.items())
def test_every_failure_names_plugin_and_distribution(
    installed: Installed, source: str, said: str
) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", source)
    with pytest.raises(PluginError) as raised:
        load("acme")
    assert raised.value.message.startswith("plugin 'acme' of acme-broker 1.5")
    assert said in raised.value.message


def test_all_failures_are_told_at_once(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", "x = 1")
    installed.add("other-broker", "other", "other_plugin", "1 / 0")
    with pytest.raises(PluginError) as raised:
        load("acme", "other", "memroy")
    assert "acme-broker" in raised.value.message
    assert "other-broker" in raised.value.message
    assert "no installed plugin is named 'memroy'; did you mean 'memory'?" in raised.value.message


def test_an_optional_plugin_may_fail(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", "1 / 0")
    plugins = load("memory", "acme", "gone", optional=("acme", "gone"))
    found = {plugin.name: plugin for plugin in plugins}
    assert found["acme"].state == "failed"
    assert found["acme"].error is not None
    assert found["acme"].error.endswith("did not import: ZeroDivisionError: division by zero")
    assert found["gone"].state == "failed"
    assert plugins.names("store") == ["memory"]


def test_a_plugin_that_fails_half_way_leaves_nothing_behind(installed: Installed) -> None:
    source = SINK.format(name="a") + "\n@hookimpl\ndef enclave_middleware():\n    return [1]\n"
    installed.add("acme-broker", "acme", "acme_plugin", source)
    plugins = load("acme", optional=("acme",))
    assert plugins.names("sink") == []
    assert states(plugins)["acme"] == "failed"


def test_two_parts_of_one_kind_and_name_are_refused_with_both_names(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", SINK.format(name="same"))
    installed.add("other-broker", "other", "other_plugin", SINK.format(name="same"))
    with pytest.raises(PluginError) as raised:
        load("acme", "other")
    assert raised.value.message == (
        "plugin 'acme' of acme-broker 1.5 and plugin 'other' of other-broker 1.5"
        " both offer an event sink named 'same'; block one of them"
    )
    assert load("acme", "other", block=("acme",)).names("sink") == ["same"]


def test_two_plugins_of_one_name_are_refused_with_both_distributions(installed: Installed) -> None:
    installed.add("acme-broker", "acme", "acme_plugin", SINK.format(name="a"))
    installed.add("other-broker", "acme", "other_plugin", SINK.format(name="b"))
    with pytest.raises(PluginError) as raised:
        load("acme")
    assert "of acme-broker 1.5" in raised.value.message
    assert "of other-broker 1.5" in raised.value.message


def test_a_local_file_is_a_plugin(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(SINK.format(name=folder))
    plugins = load("./one/mine.py", "two/mine.py", base=tmp_path)
    assert plugins.names("sink") == ["one", "two"]
    assert plugins.whose("sink", "one") == "plugin './one/mine.py' of a local file"


def test_a_local_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    before = set(sys.modules)
    with pytest.raises(PluginError) as raised:
        load("gone.py", "broken.py", base=tmp_path)
    assert f"there is no Python file {tmp_path / 'gone.py'}" in raised.value.message
    assert f"{tmp_path / 'broken.py'} did not import: ZeroDivisionError" in raised.value.message
    assert set(sys.modules) == before


def test_a_dotted_module_is_a_plugin(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    package = installed.folder / "third_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sinks.py").write_text(SINK.format(name="third"))
    monkeypatch.delitem(sys.modules, "third_plugin.sinks", raising=False)
    plugins = load("third_plugin.sinks")
    assert plugins.names("sink") == ["third"]
    with pytest.raises(PluginError, match=r"plugin 'third_plugin\.none' of a local module"):
        load("third_plugin.none")


def test_an_object_is_a_plugin() -> None:
    class Mine:
        @hookimpl
        def enclave_event_sinks(self) -> list[Component]:
            return [Component("mine", lambda config, context: pytest.fail("opened"))]

    plugins = Plugins()
    plugins.add(Mine(), "Mine")
    assert plugins.names("sink") == ["mine"]
    assert plugins.whose("sink", "mine") == "plugin 'Mine' of the program"


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("store", "memry", "no session store named 'memry'; did you mean 'memory'?"),
        ("store", "rediss", "did you mean 'redis', of enclave-broker-redis?"),
        ("store", "xyz", "no session store named 'xyz'; there are: memory"),
        ("tools", "opnapi", "did you mean 'openapi', of enclave-broker-openapi?"),
        ("authenticator", "oidc", "no authenticator named 'oidc'; no plugin offers one"),
    ],
)
def test_a_missing_part_says_what_is_near_or_what_to_install(
    kind: str, name: str, said: str
) -> None:
    with pytest.raises(PluginError) as raised:
        load("memory").find(kind, name)
    assert said in raised.value.message


def test_a_known_part_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(KNOWN_DISTRIBUTIONS, ("tools", "gone"), "enclave-broker-gone")  # type: ignore[arg-type]
    with pytest.raises(PluginError) as raised:
        load("memory").find("tools", "gone")
    assert raised.value.message == (
        "there is no tool provider named 'gone'; install enclave-broker-gone"
    )


def test_every_part_of_the_plugins_here_can_be_looked_up() -> None:
    parts = {
        (kind, name): plugin.distribution
        for plugin in load("*")
        for kind, names in plugin.parts.items()
        for name in names
        # What these add is not asked for by name.
        if kind not in ("command", "routes") and plugin.distribution in KNOWN_DISTRIBUTIONS.values()
    }
    assert ("store", "memory") in parts
    assert {part: KNOWN_DISTRIBUTIONS.get(part) for part in parts} == parts


def test_a_missing_part_of_a_plugin_that_failed_says_why(installed: Installed) -> None:
    installed.add("enclave-broker-redis", "redis", "third_plugin", "1 / 0")
    plugins = load("*", optional=("redis",))
    with pytest.raises(PluginError) as raised:
        plugins.find("store", "redis")
    assert "plugin 'redis' of enclave-broker-redis 1.5 did not import" in raised.value.message


@pytest.mark.parametrize(
    ("kind", "name", "missing"),
    [
        ("sink", "otel", True),
        ("tools", "otel", True),
        ("middleware", "retry", False),
        ("store", "otel", False),
        ("access", "otel", False),
        ("limiter", "otel", False),
        ("authenticator", "otel", False),
        ("sink", "oltel", False),
    ],
)
def test_only_parts_that_do_not_guard_can_be_missing(kind: str, name: str, missing: bool) -> None:
    assert load("memory").missing_optional(kind, name, ["otel"]) is missing


def test_the_distribution_tells_which_parts_an_optional_plugin_would_have() -> None:
    plugins = load("memory")
    assert plugins.missing_optional("middleware", "retry", ["middleware"])
    assert not plugins.missing_optional("store", "memory", ["memory"])


def test_each_broker_has_its_own_plugins() -> None:
    one, two = Plugins(), Plugins()
    one.add(builtin, "core")
    assert one.names("access") == ["rules"]
    assert two.names("access") == []
