"""Tools from a module that a configuration names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from enclave_broker_core import (
    AccessDeniedError,
    ArgumentsError,
    BrokerError,
    ConfigError,
    open_broker,
    tool,
)

pytestmark = pytest.mark.anyio

TOOLS = '''
from dataclasses import dataclass
from enclave_broker_core import ToolContext, tool

@dataclass
class User:
    id: int
    name: str

@tool("users:get", timeout=5, tags=["users"], read_only=True)
async def get_user(id: int, ctx: ToolContext) -> User:
    """Look a user up by id."""
    return User(id, ctx.tool)

@tool("b")
@tool("a", description="Double it.")
def double(number: int) -> int:
    return number * 2

also_double = double

@tool("files:*")
async def files(name: str, args: dict) -> list:
    return [name, args]

def not_a_tool() -> None:
    """It is not marked."""
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_tools.py").write_text(TOOLS)
    (tmp_path / "broker.toml").write_text(
        '[[tools]]\nuse = "python"\nname = "mine"\nmodule = "my_tools.py"\n'
    )
    return tmp_path


async def test_marked_functions_are_the_tools_in_their_order(folder: Path) -> None:
    async with open_broker(folder / "broker.toml") as broker:
        specs = {spec.name: spec for spec in broker.list_tools()}
        assert list(specs) == ["users:get", "a", "b"]
        assert specs["users:get"].description == "Look a user up by id."
        assert specs["users:get"].timeout == 5
        assert specs["users:get"].read_only
        assert specs["users:get"].tags == {"users"}
        assert specs["users:get"].source == "mine"
        assert specs["users:get"].input_schema["required"] == ["id"]
        assert specs["a"].description == "Double it."
        async with broker.session() as session:
            assert await session.call("users:get", {"id": 1}) == {"id": 1, "name": "users:get"}
            assert await session.call("a", {"number": 4}) == 8
            assert await session.call("b", {"number": 5}) == 10
            with pytest.raises(ArgumentsError):
                await session.call("a", {"number": "x"})


async def test_a_pattern_takes_the_calls_of_all_its_names(folder: Path) -> None:
    async with open_broker(folder / "broker.toml") as broker:
        assert broker.has_tool("files:anything")
        async with broker.session() as session:
            assert await session.call("files:read", {"p": 1}) == ["files:read", {"p": 1}]


async def test_access_holds_for_them_too(folder: Path) -> None:
    with (folder / "broker.toml").open("a") as file:
        file.write('[access]\nrules = [{ pattern = "a", allow = true }]\n')
    async with open_broker(folder / "broker.toml") as broker, broker.session() as session:
        assert await session.call("a", {"number": 4}) == 8
        with pytest.raises(AccessDeniedError):
            await session.call("files:read", {})


async def test_a_prefix_is_put_before_the_names(folder: Path) -> None:
    with (folder / "broker.toml").open("a") as file:
        file.write('prefix = "x:"\n')
    async with open_broker(folder / "broker.toml") as broker:
        assert [spec.name for spec in broker.list_tools()] == ["x:users:get", "x:a", "x:b"]
        assert broker.has_tool("x:files:y")
        assert not broker.has_tool("files:y")


async def test_a_package_offers_its_submodules_tools_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "shop_tools"
    package.mkdir()
    mark = "from enclave_broker_core import tool\n"
    (tmp_path / "foreign_tools.py").write_text(
        f"{mark}@tool('foreign')\ndef foreign() -> int:\n    return 1\n"
    )
    (package / "orders.py").write_text(
        f"{mark}@tool('orders')\ndef orders() -> int:\n    return 2\n"
    )
    (package / "__init__.py").write_text(
        "from foreign_tools import foreign\nfrom .orders import orders\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("shop_tools", "shop_tools.orders", "foreign_tools"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    async with open_broker({"tools": [{"use": "python", "module": "shop_tools"}]}) as broker:
        assert [spec.name for spec in broker.list_tools()] == ["orders"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "my_tools.py did not import: ZeroDivisionError: division by zero"),
        ("x = 1", 'my_tools.py: it has no tools: mark its functions with @tool("name")'),
        (
            "from enclave_broker_core import tool\n@tool('a', timeout=-1)\ndef a(): ...\n",
            "tool 'a': timeout: Input should be greater than 0",
        ),
        (None, "there is no Python file"),
    ],
)
async def test_what_is_wrong_with_a_module_is_told_with_its_place(
    folder: Path, source: str | None, said: str
) -> None:
    path = folder / "my_tools.py"
    path.unlink() if source is None else path.write_text(source)
    with pytest.raises(BrokerError) as raised:
        async with open_broker(folder / "broker.toml"):
            pass
    assert raised.value.message.startswith(f"{folder / 'broker.toml'}:1: tools[0]: plugin 'core'")
    assert said in raised.value.message


async def test_a_module_that_does_not_import_is_named() -> None:
    with pytest.raises(BrokerError, match=r"the module 'no\.such' did not import"):
        async with open_broker({"tools": [{"use": "python", "module": "no.such"}]}):
            pass


async def test_two_providers_of_one_tool_are_refused(folder: Path) -> None:
    with (folder / "broker.toml").open("a") as file:
        file.write('[[tools]]\nuse = "python"\nname = "other"\nmodule = "my_tools.py"\n')
    with pytest.raises(ConfigError, match="other and mine both offer 'a', 'b'"):
        async with open_broker(folder / "broker.toml"):
            pass


async def test_the_program_can_add_its_own_beside_them(folder: Path) -> None:
    async def handler(name: str, args: dict[str, Any]) -> str:
        return name

    async with open_broker(folder / "broker.toml") as broker:
        with pytest.raises(ConfigError, match="'files:\\*' has a handler already"):
            broker.tool("files:*")(handler)
        broker.tool("more:*")(handler)
        assert broker.has_tool("more:x")
        assert broker.has_tool("files:x")
        assert broker.remove_tool("more:*")
        assert not broker.has_tool("more:x")
        assert broker.has_tool("files:x")


def test_marking_changes_nothing_about_a_function() -> None:
    def handler(id: int) -> int:
        return id + 1

    assert tool("a")(handler) is handler
    assert handler(1) == 2
