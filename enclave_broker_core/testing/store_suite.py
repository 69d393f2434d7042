"""What the parts of the suite for session stores share: how a store is opened."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from enclave_broker_core.session_store import SessionStore

from .suite import Suite


class StoreSuite(Suite):
    """``open_store`` gives each test a new and empty store, and takes it away again.

    ``grace`` is how many seconds such a store keeps ended sessions. ``patience`` is after
    how many seconds a reader that should have been woken counts as forgotten: no test that
    passes takes so long. ``max_claims`` is how many claims it keeps of a session, None where
    nothing bounds them.
    """

    grace: ClassVar[float] = 60.0
    patience: ClassVar[float] = 10.0
    max_claims: ClassVar[int | None] = None

    def open_store(self) -> AbstractAsyncContextManager[SessionStore]:
        raise NotImplementedError("the subclass says how its store is opened")
