"""A distribution imports only what it declares, so that it also works where nothing else is."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = (*ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("examples/plugins/*/pyproject.toml"))
FOLDERS = [ROOT, *sorted(path.parent for path in PLUGINS)]

# What a declared distribution brings and makes part of its own interface.
BROUGHT = {
    "pydantic-monty": {"pydantic-monty-client"},
    "pydantic": {"pydantic-core", "annotated-types"},
    "enclave-broker-core": {"anyio", "importlib-metadata", "pydantic", "pydantic-core"},
}
# Only for tests; whoever uses this part has it.
TESTING = {"enclave_broker_core/testing": {"pytest"}}


def name_of(folder: Path) -> str:
    return "enclave-broker-core" if folder == ROOT else folder.name


def imported_by(module: Path) -> Iterator[str]:
    """The top-level names of what a module imports from outside of its package."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def declared_by(folder: Path) -> set[str]:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines}
    return names.union(*(BROUGHT.get(name, set()) for name in names))


@pytest.fixture(scope="module")
def distributions() -> dict[str, list[str]]:
    """Whose each top-level package is."""
    # An editable install of ours may not be listed with its packages.
    ours = {"enclave_broker_core": ["enclave-broker-core"]}
    return ours | dict(metadata.packages_distributions())


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_imports_only_what_is_declared(folder: Path, distributions: dict[str, list[str]]) -> None:
    package = folder / name_of(folder).replace("-", "_")
    allowed = declared_by(folder)
    undeclared = set()
    for module in sorted(package.rglob("*.py")):
        if "plugin-templates" in module.parts:  # each is a distribution, with its own needs
            continue
        place = str(module.parent.relative_to(folder))
        extra = TESTING.get(place, set())
        for name in imported_by(module):
            if name in sys.stdlib_module_names or name == package.name:
                continue
            owners = {owner.replace("_", "-") for owner in distributions.get(name, [name])}
            if not owners & (allowed | extra):
                undeclared.add(f"{module.relative_to(folder)}: {name}")
    assert undeclared == set()
