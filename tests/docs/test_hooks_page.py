"""The page of hooks shows the code: every hook, every contract, to the last default.

A class, a hook or an alias on the page is compared with the one of its name in the core. What a
plugin's author has to know must be there, and a hook or a Protocol that the core does not have
must not. Of a field's default the page may say ``...``: that there is one.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from enclave_broker_core import (
    calls,
    commands,
    contracts,
    events,
    hookspecs,
    models,
    observations,
    route_traits,
    session_store,
    stats,
    store_abilities,
    tracing,
)
from enclave_broker_core.config import CHOOSING
from enclave_broker_core.plugins import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "plugins" / "hooks.md").read_text()
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \|", re.MULTILINE)
KEY = re.compile(r"`\[+([\w.]+)\]+`")

# All that is public in these is for plugins; of the others the page shows what it needs.
FOR_PLUGINS = (contracts, commands, route_traits, session_store, store_abilities, tracing)
OTHERS = (calls, events, models, observations, stats)
# What is written for the core alone, in a module for plugins.
NOT_FOR_PLUGINS = {"no_headers", "server_model", "ConfigT", "PartT"}

Described = Mapping[str, Mapping[str, str]]
"""Name of a class, a hook or an alias → its members → each as one line of code."""


def described(tree: ast.Module) -> Iterator[tuple[str, Mapping[str, str]]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, dict(_class(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, {"": _signature(node)}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, {"": ast.unparse(node.value)}


def _class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    bases = map(ast.unparse, [*node.bases, *node.keywords])
    yield "", f"class {node.name}({', '.join(bases)})"
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            default = "" if member.value is None else f" = {ast.unparse(member.value)}"
            named, line = member.target.id, f"{ast.unparse(member.annotation)}{default}"
        elif isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            named, line = member.name, _signature(member)
        else:
            continue
        if not named.startswith("_") or named == "__call__":
            yield named, line


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    decorators = "".join(f"@{ast.unparse(one)} " for one in node.decorator_list)
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returned = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    return f"{decorators}{word} {node.name}({ast.unparse(node.args)}){returned}"


def of_code(*modules: ModuleType) -> Described:
    found: dict[str, Mapping[str, str]] = {}
    for module in modules:
        found |= described(ast.parse(inspect.getsource(module)))
    return {name: members for name, members in found.items() if not name.startswith("_")}


def hooks() -> Described:
    """Each by its name; the marker that makes it a hook is not for the page."""
    found = {
        name: {"": members[""].removeprefix("@hookspec ")}
        for name, members in of_code(hookspecs).items()
        if name.startswith("enclave_")
    }
    marked = [name for name, one in vars(hookspecs).items() if hasattr(one, "enclave_broker_spec")]
    assert set(found) == set(marked) == set(KINDS.values())
    return found


def of_page(page: str) -> Described:
    """All that is defined on the page, but what examples define under names of their own."""
    known = {name for name in of_code(*FOR_PLUGINS, *OTHERS) if name[0].isupper()}
    found: dict[str, Mapping[str, str]] = {}
    for block in BLOCK.findall(page):
        for name, members in described(ast.parse(block)):
            own = members[""].startswith("@hookimpl")
            if not own and (name in known or _is_contract(name, members)):
                found[name] = members
    return found


def _is_contract(name: str, members: Mapping[str, str]) -> bool:
    return "Protocol" in members[""] or name.startswith("enclave_")


def differences(page: str) -> list[str]:
    """What the page says otherwise than the code, what it leaves out, and what it makes up."""
    values = of_code(*OTHERS)
    code = {**values, **of_code(*FOR_PLUGINS), **hooks()}
    shown = of_page(page)
    found = [
        f"{name} is not on the page"
        for name, members in code.items()
        if name not in shown and (name not in values or _is_contract(name, members))
        if name not in NOT_FOR_PLUGINS and not name.isupper()
    ]
    for name, members in shown.items():
        if name not in code:
            found.append(f"{name} is on the page only")
            continue
        for member in {**code[name], **members}:
            said, right = members.get(member), code[name].get(member)
            if said is not None and right is not None and _same(said, right):
                continue
            place = f"{name}.{member}" if member else name
            differ = f"the page has {said or 'nothing'}, the code {right or 'nothing'}"
            found.append(f"{place}: {differ}")
    return found


def _same(said: str, right: str) -> bool:
    right = right.removesuffix(" = field(repr=False)")  # no default
    return said == right or (said.endswith(" = ...") and right.startswith(said[:-3]))


def test_the_page_has_every_signature_as_it_is() -> None:
    assert differences(PAGE) == []


def test_the_page_has_an_example_of_every_hook() -> None:
    made = {
        name
        for block in BLOCK.findall(PAGE)
        for name, members in described(ast.parse(block))
        if members[""].startswith("@hookimpl ")
    }
    assert made == set(KINDS.values())


def test_the_table_names_every_kind_with_its_hook_and_its_place() -> None:
    rows = ROW.findall(PAGE)
    assert {kind: hook for kind, hook, _ in rows} == KINDS
    keys = {kind: key for key, (kind, _) in CHOOSING.items()} | {"limiter": "rate_limit.backend"}
    assert {kind: KEY.findall(place)[:1] for kind, _, place in rows if kind in keys} == {
        kind: [key] for kind, key in keys.items()
    }


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        (
            "async def decide(self, request: AccessRequest) -> Decision",
            "async def decide(self, request: AccessRequest) -> bool",
            "AccessPolicy.decide: the page has async def decide(self, request: AccessRequest) -> b",
        ),
        (
            "async def acquire(self, windows",
            "def acquire(self, windows",
            "Limiter.acquire: the page has def",
        ),
        (
            "from_seq: int = 1, *, limit: int = 1000",
            "from_seq: int = 1, *, limit: int = 100",
            "SessionStore.read: the page has async",
        ),
        ("    async def sweep", "    async def swept", "SessionStore.sweep: the page has nothing"),
        ("    async def sweep", "    async def swept", "SessionStore.swept: the page has async"),
        ("judges_arguments: bool", "judges_arguments: int", "AccessPolicy.judges_arguments: the"),
        ("class Tracer(Protocol)", "class Traser(Protocol)", "Tracer is not on the page"),
        ("class Tracer(Protocol)", "class Traser(Protocol)", "Traser is on the page only"),
        ("class LeasedStore(SessionStore, ", "class LeasedStore(", "LeasedStore: the page has"),
        (
            "def enclave_limiters() -> Iterable[Component]: ...",
            "def enclave_limiter() -> Iterable[Component]: ...",
            "enclave_limiters is not on the page",
        ),
        (
            "def enclave_commands() -> Iterable[Command]: ...",
            "def enclave_commands() -> Iterable[Component]: ...",
            "enclave_commands: the page has",
        ),
        ("contract: int = ...", "contract: int", "Component.contract: the page has int, the code"),
        ("loops: frozenset[Loop] = ...", "", "Component.loops: the page has nothing"),
        ("CallNext = Callable[[ToolCall], ", "CallNext = Callable[[str], ", "CallNext: the page"),
    ],
)
def test_what_is_wrong_is_named(right: str, wrong: str, found: str) -> None:
    assert right in PAGE
    differing = differences(PAGE.replace(right, wrong))
    assert [line for line in differing if line.startswith(found)], differing
