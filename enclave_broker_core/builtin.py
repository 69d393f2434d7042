"""The parts that are always there: the plugin ``core``."""

from __future__ import annotations

from collections.abc import Iterable

from .access import RULES
from .audit import AUDIT
from .contracts import Component
from .hookspecs import hookimpl
from .logs import LOGGING
from .python_tools import PYTHON
from .secrets import ENVIRONMENT


@hookimpl
def enclave_tool_providers() -> Iterable[Component]:
    return [PYTHON]


@hookimpl
def enclave_access_policies() -> Iterable[Component]:
    return [RULES]


@hookimpl
def enclave_middleware() -> Iterable[Component]:
    return [LOGGING]


@hookimpl
def enclave_event_sinks() -> Iterable[Component]:
    return [AUDIT]


@hookimpl
def enclave_secret_sources() -> Iterable[Component]:
    return [ENVIRONMENT]
