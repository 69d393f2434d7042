"""The middleware named ``example-middleware``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import SlowCallsConfig
from .middleware import open_middleware


@hookimpl
def enclave_middleware() -> Iterable[Component]:
    return [Component("example-middleware", open_middleware, SlowCallsConfig, contract=1)]
