"""The limiter named ``example-limiter``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import LimiterConfig
from .limiter import open_limiter


@hookimpl
def enclave_limiters() -> Iterable[Component]:
    return [Component("example-limiter", open_limiter, LimiterConfig, contract=1)]
