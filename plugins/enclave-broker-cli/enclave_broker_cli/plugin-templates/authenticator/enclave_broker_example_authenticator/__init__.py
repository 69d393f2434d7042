"""The authenticator named ``example-authenticator``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .authenticator import open_authenticator
from .config import TokensConfig


@hookimpl
def enclave_authenticators() -> Iterable[Component]:
    return [Component("example-authenticator", open_authenticator, TokensConfig, contract=1)]
