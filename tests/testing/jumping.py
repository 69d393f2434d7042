"""A loop on which what hangs is given up at once, however patient a suite is."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

# Where all tasks wait for something, its clock goes to the next time that one waits for.
_JUMPS = ("trio", {"clock": MockClock(autojump_threshold=0)})

jumping = pytest.mark.parametrize("anyio_backend", [pytest.param(_JUMPS, id="jumping")])
