"""Tools from the OpenAPI documents of services, kept fresh."""

from collections.abc import Iterable

from enclave_broker_core.commands import Command
from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .component import open_openapi
from .config import OpenapiConfig
from .import_command import import_command


@hookimpl
def enclave_tool_providers() -> Iterable[Component]:
    return [Component("openapi", open_openapi, OpenapiConfig)]


@hookimpl
def enclave_commands() -> Iterable[Command]:
    return [import_command()]
