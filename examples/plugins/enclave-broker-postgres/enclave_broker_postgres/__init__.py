"""The session store named ``postgres``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import StoreConfig
from .store import open_store


@hookimpl
def enclave_session_stores() -> Iterable[Component]:
    return [Component("postgres", open_store, StoreConfig, contract=1)]
