"""The tool provider named ``sql``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import SqlConfig
from .provider import open_provider


@hookimpl
def enclave_tool_providers() -> Iterable[Component]:
    return [Component("sql", open_provider, SqlConfig, contract=1)]
