"""Agent-written JavaScript in quickjs-rs's WebAssembly sandbox: the runtime ``quickjs``."""

from __future__ import annotations

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import QuickJSConfig
from .runtime import open_quickjs


@hookimpl
def enclave_runtimes() -> list[Component]:
    return [
        Component(
            name="quickjs",
            open=open_quickjs,
            config_model=QuickJSConfig,
            loops=frozenset({"asyncio"}),
        )
    ]
