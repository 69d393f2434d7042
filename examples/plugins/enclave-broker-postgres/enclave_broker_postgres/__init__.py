"""The session store named ``postgres``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import PostgresConfig
from .opening import open_postgres


@hookimpl
def enclave_session_stores() -> Iterable[Component]:
    return [
        Component(
            "postgres", open_postgres, PostgresConfig, contract=1, loops=frozenset({"asyncio"})
        )
    ]
