"""The access policy named ``example-policy``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import OwnerConfig
from .policy import open_policy


@hookimpl
def enclave_access_policies() -> Iterable[Component]:
    return [Component("example-policy", open_policy, OwnerConfig, contract=1)]
