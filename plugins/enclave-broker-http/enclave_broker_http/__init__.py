"""Tools that are HTTP requests: the tool provider named ``http``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import HttpConfig
from .opening import open_http


@hookimpl
def enclave_tool_providers() -> Iterable[Component]:
    return [Component("http", open_http, HttpConfig)]
