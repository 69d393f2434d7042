"""What all conformance suites share: they run on each event loop that a part declares."""

from __future__ import annotations

from typing import ClassVar

import pytest


class Suite:
    """The base of the suites. A subclass whose name begins with ``Test`` runs them all.

    ``loops`` names the event loops that the part under test declares. To leave a test
    out, override it with one that calls ``pytest.skip`` with the reason.
    """

    loops: ClassVar[tuple[str, ...]] = ("asyncio", "trio")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "anyio_backend" in metafunc.fixturenames:
            metafunc.parametrize("anyio_backend", self.loops, scope="function")
