"""The middleware from configurations, right and wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from enclave_broker_core import Principal, check, open_broker

pytestmark = pytest.mark.anyio

CONFIG = """
[[tools]]
use = "python"
module = "tools.py"

[[middleware]]
use = "defaults"
rules = [{ tools = ["users:*"], fixed_from = { who = "/principal/id" } }]

[[middleware]]
use = "redact"
kinds = ["email"]

[[middleware]]
use = "shape"
omit = ["/internal"]
max_bytes = 1000

[[middleware]]
use = "cache"

[[middleware]]
use = "retry"

[[middleware]]
use = "circuit_breaker"

[[middleware]]
use = "concurrency"
max_calls = 4

[[middleware]]
use = "dry_run"
tools = ["mail:*"]
"""

TOOLS = '''
from enclave_broker_core import tool


@tool("users:me", read_only=True)
async def me(who: str) -> dict[str, object]:
    """Who is asking?"""
    return {"who": who, "mail": f"{who}@example.org", "internal": 1, "text": "x" * 5000}
'''


async def test_all_of_them_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    path = tmp_path / "enclave-broker.toml"
    path.write_text(CONFIG)
    async with (
        open_broker(path) as broker,
        broker.session(principal=Principal(id="ada")) as session,
    ):
        found = await session.call("users:me", {"who": "eve"})
    assert (found["who"], found["mail"]) == ("ada", "[email]")
    assert found["text"].endswith("characters left out]")
    assert set(found) == {"who", "mail", "text"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('use = "cache"\nshared = true\nper_session = true', "can't be for one session"),
        ('use = "retry"\ntools = ["{a"]', "without its"),
        ('use = "retry"\ncodes = ["late"]', "should match pattern"),
        ('use = "concurrency"', "max_calls"),
        ('use = "shape"', "say what to do"),
        ('use = "redact"\npatterns = { a = "(?=x)" }', "patterns.a is not a regular expression"),
        ('use = "redact"\npointers = ["a"]', "begins with '/'"),
        ('use = "defaults"\nrules = [{ tools = [] }]', "there is no pattern in it"),
        ('use = "defaults"\nrules = [{ tools = ["a"], fixed_from = { a = "/x" } }]', "is none of"),
        ('use = "circuit_braker"', "circuit_breaker"),
    ],
)
def test_mistakes_are_told_before_anything_opens(table: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "enclave-broker.toml"
    path.write_text(f"[[middleware]]\n{table}\n")
    (mistake,) = check(path)
    assert said in mistake
