"""The event sink named ``example-sink``."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import SinkConfig
from .sink import open_sink


@hookimpl
def enclave_event_sinks() -> Iterable[Component]:
    return [Component("example-sink", open_sink, SinkConfig, contract=1)]
