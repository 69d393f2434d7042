"""What the exit code says of an error, by the error's code."""

from __future__ import annotations

import pytest
from enclave_broker_cli.exits import exit_code


@pytest.mark.parametrize(
    ("code", "left_with"),
    [
        ("TOOL_ERROR", 1),
        ("ACCESS_DENIED", 1),
        ("CONFIG_ERROR", 2),
        ("RATE_LIMITED", 3),
        ("STORE_UNAVAILABLE", 3),
        ("LIMITER_UNAVAILABLE", 3),
        ("CIRCUIT_OPEN", 3),
        ("TOO_MANY_CALLS", 3),
        ("WHAT_A_PLUGIN_MADE_UP", 1),
    ],
)
def test_what_may_work_later_is_told_from_what_is_wrong(code: str, left_with: int) -> None:
    assert exit_code(code) == left_with
