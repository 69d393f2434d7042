"""What holds for every module: its length, its docstring, and no state that outlives a broker."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [
    ROOT / "enclave_broker_core",
    *sorted(ROOT.glob("plugins/*/enclave_broker_*")),
    *sorted(ROOT.glob("examples/plugins/*/enclave_broker_*")),
]
MODULES = [module for package in PACKAGES for module in sorted(package.rglob("*.py"))]
TESTS = sorted(
    path
    for folder in ("tests", "bench", "examples", "reference", "plugins/*/tests")
    for parent in ROOT.glob(folder)
    for path in parent.rglob("*.py")
)
LONGEST = 350

# A display under one of these annotations can't be changed without mypy's word.
READ_ONLY = {"Mapping", "Sequence", "Set", "Final", "tuple", "frozenset"}
MUTABLE_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_TYPES = {
    *("list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict"),
    *("WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "ContextVar", "local", "count"),
    *("Lock", "RLock", "Event", "Queue", "ThreadPoolExecutor", "PluginManager", "SimpleNamespace"),
}
CACHES = {"cache", "lru_cache"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def last_name(node: ast.expr) -> str:
    """``deque`` of ``collections.deque[int]()``."""
    if isinstance(node, ast.Call | ast.Subscript):
        return last_name(node.func if isinstance(node, ast.Call) else node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def state_in(source: str) -> Iterator[str]:
    """What in a module would be shared by all brokers of a process, with its line."""
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            value = statement.value
            if isinstance(statement, ast.Assign):
                names, annotation = [ast.unparse(target) for target in statement.targets], ""
            else:
                names, annotation = [ast.unparse(statement.target)], last_name(statement.annotation)
            if names == ["__all__"]:
                continue
            display = isinstance(value, MUTABLE_DISPLAYS) and annotation not in READ_ONLY
            made = isinstance(value, ast.Call) and last_name(value) in MUTABLE_TYPES
            if display or made:
                yield f"line {statement.lineno}: {', '.join(names)}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield f"line {node.lineno}: global {', '.join(node.names)}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if last_name(decorator) in CACHES:
                    yield f"line {node.lineno}: {node.name} keeps a cache"


def test_none_is_too_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES + TESTS}
    assert len(lengths) > 100
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_each_begins_with_a_docstring() -> None:
    assert [
        name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))
    ] == []


def test_none_keeps_state() -> None:
    found = {name_of(path): list(state_in(path.read_text())) for path in MODULES}
    assert {name: state for name, state in found.items() if state} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("seen = []", ["line 1: seen"]),
        ("seen: dict[str, int] = {}", ["line 1: seen"]),
        ("import collections\nseen = collections.deque[int]()", ["line 2: seen"]),
        ("def f():\n    global n\n    n = 1", ["line 2: global n"]),
        ("@functools.lru_cache(maxsize=1)\ndef f(): ...", ["line 2: f keeps a cache"]),
        ("__all__ = ['a']\nKINDS: Mapping[str, int] = {'a': 1}\nNAMES = ('a',)", []),
        ("def f():\n    seen = []", []),
    ],
)
def test_state_is_found(source: str, found: list[str]) -> None:
    assert list(state_in(source)) == found


@pytest.mark.parametrize("name", ["contracts", "hookspecs", "models", "events", "calls", "errors"])
def test_contracts_do_not_know_the_broker(name: str) -> None:
    source = (ROOT / "enclave_broker_core" / f"{name}.py").read_text()
    assert re.findall(r"\bBroker\b", source) == []
