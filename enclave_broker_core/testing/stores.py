"""The conformance suite for session stores."""

from __future__ import annotations

import inspect

import pytest

from .session_bounds import SessionBoundSuite
from .session_claimants import SessionClaimantSuite
from .session_claims import SessionClaimSuite
from .session_logs import SessionLogSuite
from .session_readers import SessionReaderSuite
from .session_records import SessionRecordSuite

METHODS = (
    "create",
    "get",
    "list",
    "append",
    "end",
    "read",
    "history",
    "claim",
    "settle",
    "release",
    "delete",
    "sweep",
    "check",
)


@pytest.mark.anyio
class SessionStoreSuite(
    SessionRecordSuite,
    SessionBoundSuite,
    SessionLogSuite,
    SessionReaderSuite,
    SessionClaimSuite,
    SessionClaimantSuite,
):
    """Every sentence of the SessionStore contract as a test.

    Subclass it as ``class TestMyStore(SessionStoreSuite)`` and override ``open_store``;
    also ``loops``, ``grace``, ``patience`` and ``max_claims`` where they differ::

        class TestMyStore(SessionStoreSuite):
            @asynccontextmanager
            async def open_store(self):
                async with connect(...) as connection:
                    yield MyStore(connection)
    """

    async def test_every_method_is_a_coroutine_function(self) -> None:
        async with self.open_store() as store:
            sync = [
                name for name in METHODS if not inspect.iscoroutinefunction(getattr(store, name))
            ]
            assert sync == []

    async def test_check_is_content_with_a_store_that_works(self) -> None:
        async with self.open_store() as store:
            await store.check()
