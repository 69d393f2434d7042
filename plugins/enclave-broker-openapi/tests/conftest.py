"""Real servers on loopback, each in a thread of its own, and sources opened on them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import uvicorn
from enclave_broker_openapi.config import OpenapiConfig
from enclave_broker_openapi.opening import open_source
from enclave_broker_openapi.provider import OpenapiProvider
from hypothesis import settings
from openapi_changing import LOCAL, Service

from enclave_broker_core.contracts import OpenContext

settings.register_profile("any machine", deadline=None, max_examples=60)
settings.load_profile("any machine")

Serve = Callable[[Any], str]
Open = Callable[..., AbstractAsyncContextManager[OpenapiProvider]]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


class Servers:
    """ASGI applications, each on a port of its own."""

    def __init__(self) -> None:
        self._running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def __call__(self, app: Any) -> str:
        """Serve one: its URL."""
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        self._running.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def stop(self) -> None:
        for server, _ in self._running:
            server.should_exit = True
        for _, thread in self._running:
            thread.join()


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Serves applications until the module's tests are over."""
    servers = Servers()
    yield servers
    servers.stop()


@pytest.fixture
def open_tools() -> Open:
    """Opens a source by its configuration, which may use plain HTTP on this machine."""

    def opened(**config: Any) -> AbstractAsyncContextManager[OpenapiProvider]:
        context = config.pop("context", OpenContext("api"))
        settings = {"name": "api", "network": LOCAL, "refresh": 0, **config}
        return open_source(OpenapiConfig.model_validate(settings), context)

    return opened


@pytest.fixture
def call() -> Callable[..., Any]:
    """Calls a tool of a provider by its name, as the broker would."""
    from pydantic_core import to_json

    from enclave_broker_core.testing.contexts import RecordingContext

    async def called(
        provider: OpenapiProvider,
        name: str,
        arguments: dict[str, Any] | None = None,
        secrets: dict[str, str] | None = None,
    ) -> Any:
        [tool] = [tool for tool in await provider.tools() if tool.spec.name == name]
        checked = tool.validate(to_json(arguments or {}))
        return await tool.invoke(checked, RecordingContext(name, secrets=secrets))

    return called


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(serve: Callable[[Any], str], service: Service) -> str:
    return serve(service)
