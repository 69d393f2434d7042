"""What all tests of the core and of whole brokers share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops, named here so that a missing one is an error and not left out."""
    backend: str = request.param
    return backend
