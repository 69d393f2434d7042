"""The middleware is tested on both event loops."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes says something of the machine, and nothing of what is tested.
settings.register_profile("middleware", deadline=None, max_examples=60)
settings.load_profile("middleware")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend
