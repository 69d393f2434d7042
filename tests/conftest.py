"""What all tests of the core and of whole brokers share."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# Its asserts are to show their values like those of the tests that import it.
pytest.register_assert_rewrite("serving")

# How long an example takes says something of the machine, and nothing of what is tested.
settings.register_profile("any machine", deadline=None, max_examples=60)
settings.load_profile("any machine")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops, named here so that a missing one is an error and not left out."""
    backend: str = request.param
    return backend


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let reports hold texts that UTF-8 can't: pytest-xdist would stop at the first one."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_encodable(item) for item in value)
    return value
