"""Parts that a test has in its hands, as a plugin that a configuration can name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from enclave_broker_core.contract_versions import CONTRACTS
from enclave_broker_core.contracts import Component, NoConfig, OpenContext, OpenPart
from enclave_broker_core.hookspecs import hookimpl


class Offered:
    """A plugin that offers these parts: ``Offered(access={"scripted": policy})``.

    By kind, each is name → part; an async context manager is entered when it is opened.
    """

    def __init__(self, **kinds: Mapping[str, Any]) -> None:
        unknown = kinds.keys() - CONTRACTS.keys()
        if unknown:
            raise TypeError(f"no kind of part: {', '.join(sorted(unknown))}")
        self._kinds = kinds

    def _of(self, kind: str) -> list[Component]:
        return [Component(name, _opens(part)) for name, part in self._kinds.get(kind, {}).items()]

    @hookimpl
    def enclave_session_stores(self) -> list[Component]:
        return self._of("store")

    @hookimpl
    def enclave_tool_providers(self) -> list[Component]:
        return self._of("tools")

    @hookimpl
    def enclave_access_policies(self) -> list[Component]:
        return self._of("access")

    @hookimpl
    def enclave_limiters(self) -> list[Component]:
        return self._of("limiter")

    @hookimpl
    def enclave_middleware(self) -> list[Component]:
        return self._of("middleware")

    @hookimpl
    def enclave_runtimes(self) -> list[Component]:
        return self._of("runtime")

    @hookimpl
    def enclave_event_sinks(self) -> list[Component]:
        return self._of("sink")

    @hookimpl
    def enclave_secret_sources(self) -> list[Component]:
        return self._of("secrets")

    @hookimpl
    def enclave_authenticators(self) -> list[Component]:
        return self._of("authenticator")

    @hookimpl
    def enclave_routes(self) -> list[Component]:
        return self._of("routes")


def _opens(part: Any) -> OpenPart[NoConfig, Any]:
    @asynccontextmanager
    async def opened(config: NoConfig, context: OpenContext) -> AsyncIterator[Any]:
        if isinstance(part, AbstractAsyncContextManager):
            async with part as entered:
                yield entered
        else:
            yield part

    return opened
