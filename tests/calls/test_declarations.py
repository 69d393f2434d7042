"""Tools that can't be declared, and what their author is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from enclave_broker_core import Broker, ConfigError


class Address(BaseModel):
    city: str


async def async_add(a: int, b: int = 2) -> int:
    return a + b


def plain_add(a: int, b: int = 2) -> int:
    return a + b


def positional(a: int, /) -> None: ...
def many(*a: int) -> None: ...
def generator() -> Iterator[int]:
    yield 1


def unreadable(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def opaque(a: Broker) -> None: ...


@pytest.mark.parametrize(
    ("handler", "options", "said"),
    [
        (positional, {}, "parameter 'a' can't be given by name"),
        (many, {}, "parameter 'a' can't be given by name"),
        (generator, {}, "a plain generator can't be a handler"),
        (unreadable, {}, "its type hints can't be read: name 'Nowhere'"),
        (opaque, {}, "no schema from its type hints"),
        (plain_add, {"model": Address}, "takes one argument, the model; this one takes 2"),
        (lambda a: a, {"model": int}, "the arguments must be a JSON object"),
        (lambda **a: a, {"model": Address}, "takes the model, not \\*\\*arguments"),
        (plain_add, {"timeout": -1}, "timeout: Input should be greater than 0"),
        (plain_add, {"tags": "abc"}, "tags is a list of names, not one text"),
        (plain_add, {"secrets": "KEY"}, "secrets is a list of names, not one text"),
        (plain_add, {"speed": 3}, "speed: Extra inputs are not permitted"),
        (5, {}, "is 5, which can't be called"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(
    handler: Any, options: dict[str, Any], said: str
) -> None:
    broker = Broker()
    with pytest.raises(ConfigError, match=said) as caught:
        broker.tool("t", **options)(handler)
    assert "'t'" in caught.value.message
    assert broker.list_tools() == []


@pytest.mark.parametrize("name", ["", "a b", "-a", "ä", "a" * 129, "a\n"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a tool name"):
        Broker(tools={name: plain_add})


def test_a_name_that_is_taken() -> None:
    broker = Broker(tools={"t": plain_add})
    with pytest.raises(ConfigError, match="there is a tool named 't' already"):
        broker.tool("t")(async_add)
    assert broker.remove_tool("t")
    assert not broker.remove_tool("t")
    assert not broker.has_tool("t")
    broker.tool("t")(async_add)
    assert broker.has_tool("t")


@pytest.mark.anyio
async def test_a_call_in_flight_finishes_on_the_tool_that_it_began_with() -> None:
    broker = Broker()

    async def replace_me() -> str:
        assert broker.remove_tool("t")
        broker.tool("t")(second)
        return "first"

    async def second() -> str:
        return "second"

    broker.tool("t")(replace_me)
    async with broker, broker.session() as session:
        assert await session.call("t") == "first"
        assert await session.call("t") == "second"
