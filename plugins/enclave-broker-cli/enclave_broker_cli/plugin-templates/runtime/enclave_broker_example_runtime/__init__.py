"""The runtime named ``example-runtime``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import RuntimeConfig
from .runtime import open_runtime


@hookimpl
def enclave_runtimes() -> Iterable[Component]:
    return [Component("example-runtime", open_runtime, RuntimeConfig, contract=1)]
