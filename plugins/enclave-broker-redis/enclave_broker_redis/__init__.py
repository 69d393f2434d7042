"""Sessions and rate limits on Redis or Valkey, shared by any number of brokers."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl


@hookimpl
def enclave_session_stores() -> Iterable[Component]:
    return []
