"""The tool provider named ``example-provider``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import NotesConfig
from .provider import open_provider


@hookimpl
def enclave_tool_providers() -> Iterable[Component]:
    return [Component("example-provider", open_provider, NotesConfig, contract=1)]
