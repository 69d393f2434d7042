"""Sessions and rate limits on Redis or Valkey, shared by any number of brokers."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import RedisConfig, ServerConfig
from .limiter import open_limiter
from .store import open_store


@hookimpl
def enclave_session_stores() -> Iterable[Component]:
    return [Component("redis", open_store, RedisConfig, loops=frozenset({"asyncio"}))]


@hookimpl
def enclave_limiters() -> Iterable[Component]:
    return [Component("redis", open_limiter, ServerConfig, loops=frozenset({"asyncio"}))]
