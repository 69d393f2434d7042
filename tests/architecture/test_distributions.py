"""Every distribution is complete, named in every list, and builds to what it says."""

from __future__ import annotations

import ast
import configparser
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
SAMPLES = sorted(path.parent for path in ROOT.glob("examples/plugins/*/pyproject.toml"))
ALL = [ROOT, *PLUGINS]
# Programs or plugins import them, and the broker does not: they offer names, and no hooks.
LIBRARIES = {"enclave-broker-client", "enclave-broker-network"}


def name_of(folder: Path) -> str:
    return "enclave-broker-core" if folder == ROOT else folder.name


def package_of(folder: Path) -> str:
    return name_of(folder).replace("-", "_")


def project_of(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def test_the_plugins_are_found() -> None:
    assert {"enclave-broker-memory", "enclave-broker-monty", "enclave-broker-cli"} <= {
        folder.name for folder in PLUGINS
    }


@pytest.mark.parametrize("folder", [*PLUGINS, *SAMPLES], ids=name_of)
def test_a_plugin_is_complete(folder: Path) -> None:
    package = folder / package_of(folder)
    assert (folder / "README.md").read_text().startswith(f"# {folder.name}\n")
    page, place = (ROOT, "plugins/") if folder in PLUGINS else (folder.parent, "")
    assert f"[{folder.name}]({place}{folder.name})" in (page / "README.md").read_text()
    assert (package / "py.typed").is_file()
    assert list((folder / "tests").glob("test_*.py"))
    project = project_of(folder)
    assert project["name"] == folder.name
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert "Typing :: Typed" in project["classifiers"]
    hooks = project.get("entry-points", {}).get("enclave_broker", {})
    assert list(hooks.values()) in ([package.name], [])
    assert hooks or "scripts" in project or folder.name in LIBRARIES


@pytest.mark.parametrize("folder", [*PLUGINS, *SAMPLES], ids=name_of)
def test_init_holds_hooks_and_nothing_else(folder: Path) -> None:
    source = (folder / package_of(folder) / "__init__.py").read_text()
    docstring, *others = ast.parse(source).body
    assert isinstance(docstring, ast.Expr)
    for node in others:
        if isinstance(node, ast.FunctionDef):
            assert [ast.unparse(decorator) for decorator in node.decorator_list] == ["hookimpl"]
        elif folder.name in LIBRARIES and isinstance(node, ast.Assign):
            assert [ast.unparse(target) for target in node.targets] == ["__all__"]
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom), ast.unparse(node)


def test_no_extra_names_our_own_distributions() -> None:
    for folder in ALL:
        for wanted in project_of(folder).get("optional-dependencies", {}).values():
            assert not [item for item in wanted if item.startswith("enclave-broker")], folder


def test_all_versions_are_the_same() -> None:
    assert len({project_of(folder)["version"] for folder in ALL}) == 1


def test_the_requirements_name_every_path() -> None:
    paths = ["." if folder == ROOT else f"./plugins/{folder.name}" for folder in ALL]
    standard = lines_of(ROOT / "requirements" / "standard.txt")
    tests = lines_of(ROOT / "requirements" / "tests.txt")
    assert {line for line in standard if line.startswith(".")} <= set(paths)
    assert not [line for line in standard if line.startswith("enclave-broker")]
    assert standard[0] == "."
    assert sorted(line for line in tests if line.startswith("-e")) == sorted(
        f"-e {path}" for path in paths
    )


def test_the_order_of_imports_is_checked_for_every_plugin() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for folder in PLUGINS:
        assert package_of(folder) in contracts["root_packages"]


@pytest.mark.parametrize("folder", [*ALL, *SAMPLES], ids=name_of)
def test_the_wheel_holds_the_package_and_nothing_else(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a frontend would call it, which would fetch it first.
    backend = tomllib.loads((folder / "pyproject.toml").read_text())["build-system"]
    monkeypatch.chdir(folder)
    path = tmp_path / import_module(backend["build-backend"]).build_wheel(str(tmp_path))
    project, package = project_of(folder), package_of(folder)
    wanted_hooks = project.get("entry-points", {}).get("enclave_broker", {})
    info = f"{package}-{project['version']}.dist-info"
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        entry_points = configparser.ConfigParser()
        if f"{info}/entry_points.txt" in names:
            entry_points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
        metadata = wheel.read(f"{info}/METADATA").decode()
    modules = {
        str(file.relative_to(folder))
        for file in (folder / package).rglob("*")
        if file.is_file() and file.suffix != ".pyc" and ".ruff_cache" not in file.parts
    }
    assert {name for name in names if not name.startswith(f"{info}/")} == modules
    assert f"{package}/py.typed" in modules
    assert f"Name: {name_of(folder)}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    offered = {group: dict(entry_points.items(group)) for group in entry_points.sections()}
    assert offered.get("enclave_broker", {}) == wanted_hooks
    assert offered.get("console_scripts", {}) == project.get("scripts", {})
