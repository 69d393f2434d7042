"""Sessions and rate limits in the memory of one process: the parts named ``memory``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import MemoryStoreConfig
from .limiter import open_limiter
from .store import open_store


@hookimpl
def enclave_session_stores() -> Iterable[Component]:
    return [Component("memory", open_store, MemoryStoreConfig)]


@hookimpl
def enclave_limiters() -> Iterable[Component]:
    return [Component("memory", open_limiter)]
