"""The secret source named ``example-secrets``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import EnvFileConfig
from .source import open_source


@hookimpl
def enclave_secret_sources() -> Iterable[Component]:
    return [Component("example-secrets", open_source, EnvFileConfig, contract=1)]
