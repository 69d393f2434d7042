"""The access policy named ``opa``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import OpaConfig
from .policy import open_policy


@hookimpl
def enclave_access_policies() -> Iterable[Component]:
    return [Component("opa", open_policy, OpaConfig, contract=1)]
