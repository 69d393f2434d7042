"""Sessions and rate limits in one file that survives restarts: the parts named ``sqlite``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import FileConfig, SqliteConfig
from .limiter import open_limiter
from .store import open_store


@hookimpl
def enclave_session_stores() -> Iterable[Component]:
    return [Component("sqlite", open_store, SqliteConfig)]


@hookimpl
def enclave_limiters() -> Iterable[Component]:
    return [Component("sqlite", open_limiter, FileConfig)]
