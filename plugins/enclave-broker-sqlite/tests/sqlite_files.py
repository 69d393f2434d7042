"""What the tests of this package share."""

from __future__ import annotations

from collections.abc import Callable

from enclave_broker_sqlite.config import SqliteConfig

Configure = Callable[..., SqliteConfig]
"""Makes the configuration of the test's file, with the settings given."""
