"""Whatever a package offers by name says what it is, and stands in the reference."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [
    path.parent
    for path in [
        ROOT / "enclave_broker_core" / "__init__.py",
        *sorted(ROOT.glob("plugins/*/enclave_broker_*/__init__.py")),
    ]
    if "__all__" in path.read_text()
]
API = ROOT / "docs" / "reference" / "api"
DIRECTIVE = re.compile(r"^::: ([\w.]+)$(?:\n    options:\n((?:      .*\n)+))?", re.MULTILINE)
SUITE = re.compile(r"^class (\w+Suite)\b(?:\(([^)]*)\))?:", re.MULTILINE)
MEMBERS = re.compile(r"members: \[([^\]]*)\]")


def offered_by(package: Path) -> dict[str, str]:
    """The names in ``__all__``, and the module of the package that each comes from."""
    tree = ast.parse((package / "__init__.py").read_text())
    modules = {
        alias.asname or alias.name: node.module or ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    (listed,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return {name: f"{package.name}.{modules[name]}" for name in listed}


def documented_in(source: str) -> set[str]:
    """The names of a module that have a docstring: below them, if they are values."""
    found: set[str] = set()
    body = ast.parse(source).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node):
                found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if (
                isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found.add(ast.unparse(target))
    return found


def shown_by(page: str) -> Iterator[tuple[str, set[str] | None]]:
    """What a page of the reference shows: modules or names, and of a module which names."""
    for directive in DIRECTIVE.finditer(page):
        members = MEMBERS.search(directive[2] or "")
        yield directive[1], set(members[1].split(", ")) if members else None


def test_the_reference_shows_nothing_twice() -> None:
    shown = [what for page in sorted(API.glob("*.md")) for what in shown_by(page.read_text())]
    assert len(shown) > 20
    assert [what for number, what in enumerate(shown) if what in shown[:number]] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_public_name_is_documented(package: Path) -> None:
    missing = []
    for name, module in offered_by(package).items():
        path = package.parent / f"{module.replace('.', '/')}.py"
        if name not in documented_in(path.read_text()):
            missing.append(f"{module}.{name}")
    assert missing == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_public_name_is_in_the_reference(package: Path) -> None:
    shown = dict(item for path in API.glob("*.md") for item in shown_by(path.read_text()))
    missing = []
    for name, module in offered_by(package).items():
        members = shown.get(module, set())
        if f"{module}.{name}" not in shown and (members is not None and name not in members):
            missing.append(f"{module}.{name}")
    assert missing == []


def test_the_kit_for_tests_is_in_the_reference() -> None:
    """Each suite that is not only the base of others, and whatever the guide uses."""
    shown = {name for path in API.glob("*.md") for name, _ in shown_by(path.read_text())}
    kit = ROOT / "enclave_broker_core" / "testing"
    suites: dict[str, str] = {}
    bases: set[str] = set()
    for path in kit.glob("*.py"):
        for name, below in SUITE.findall(path.read_text()):
            suites[name] = f"enclave_broker_core.testing.{path.stem}.{name}"
            bases |= set(re.findall(r"\w+", below))
    assert "SessionStoreSuite" in suites.keys() - bases
    assert {suites[name] for name in suites.keys() - bases} - shown == set()
    told = (ROOT / "docs" / "testing-plugins.md").read_text()
    for module, names in re.findall(r"from (enclave_broker_core\.testing\.\w+) import (.+)", told):
        for name in names.split(", "):
            assert {module, f"{module}.{name}"} & shown, f"{module}.{name}"


def test_what_says_nothing_is_found() -> None:
    source = "A = 1\n'A is one.'\nB: int = 2\nclass C:\n    'A class.'\ndef d(): ..."
    assert documented_in(source) == {"A", "C"}
    page = "::: a.b\n\n::: a.c\n    options:\n      members: [D, E]\n\n::: a.c.F\n"
    assert list(shown_by(page)) == [("a.b", None), ("a.c", {"D", "E"}), ("a.c.F", None)]
