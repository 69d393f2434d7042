"""Which JSON the values of the sandbox have."""

from __future__ import annotations

import pytest

from enclave_broker_core.errors import RunError

POINT = """
from dataclasses import dataclass

@dataclass
class Point:
    x: int
    y: int

class Pair:
    def __init__(self, a, b):
        self.a = a
        self.b = b
"""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("None", None),
        ("[1, 2.5, True, 'é']", [1, 2.5, True, "é"]),
        ("2 ** 70", 2**70),
        ("(1, 2)", [1, 2]),
        ("{3}", [3]),
        ("{1: 'a'}", {"1": "a"}),
        ("b'ab'", "ab"),
        ("Point(1, 2)", {"x": 1, "y": 2}),
        ("[Pair(Point(1, 2), (3,))]", [{"a": {"x": 1, "y": 2}, "b": [3]}]),
        ("range(3)", "range(0, 3)"),
    ],
)
async def test_a_value_has_its_json_form(monty, host, expression, expected) -> None:
    async with monty() as runtime, runtime.session(host) as session:
        await session.run(POINT)
        assert await session.run(expression) == expected


@pytest.mark.anyio
async def test_dates_are_text(monty, host) -> None:
    code = "from datetime import datetime, timedelta\n[datetime(2026, 1, 2, 3), timedelta(days=1)]"
    async with monty() as runtime, runtime.session(host) as session:
        assert await session.run(code) == ["2026-01-02T03:00:00", "P1D"]


@pytest.mark.anyio
@pytest.mark.parametrize("expression", ["float('inf')", "..."])
async def test_what_json_cannot_hold_is_an_error(monty, host, expression) -> None:
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match="the result of the run is no JSON"):
            await session.run(expression)


@pytest.mark.anyio
async def test_a_value_that_is_nested_too_deep_is_an_error(monty, host) -> None:
    code = "value = []\nfor _ in range(2000):\n    value = [value]\nvalue"
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match="nested deeper than 100 levels"):
            await session.run(code)
