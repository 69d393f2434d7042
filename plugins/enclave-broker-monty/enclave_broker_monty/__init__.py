"""Agent-written Python in pydantic-monty's sandbox: the runtime ``monty``."""

from __future__ import annotations

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import MontyConfig
from .runtime import open_monty


@hookimpl
def enclave_runtimes() -> list[Component]:
    return [
        Component(
            name="monty",
            open=open_monty,
            config_model=MontyConfig,
            loops=frozenset({"asyncio"}),
        )
    ]
