"""Opens the provider ``openapi``: connections, the document, and what may be reached by it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from enclave_broker_network.guard import Guard
from enclave_broker_network.outbound import open_outbound
from enclave_broker_network.urls import parse_url

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import BrokerError, PluginError

from .authorising import Authoriser
from .config import OpenapiConfig
from .document import Document
from .fetching import Fetcher, Loaded
from .freshness import Pace
from .loading import Source, root_uri, written_origins
from .operations import Operation, read_operations
from .problems import OperationError
from .provider import OpenapiProvider
from .security import Security
from .sending import Sender
from .servers import server_of


@asynccontextmanager
async def open_source(
    config: OpenapiConfig, context: OpenContext
) -> AsyncIterator[OpenapiProvider]:
    """The provider. PluginError when the document is required and can't be had or used."""
    async with AsyncExitStack() as stack:
        origins = written_origins(config)
        rules = config.network
        of_documents = rules.model_copy(update={"max_bytes": config.max_bytes})
        outbound = await stack.enter_async_context(open_outbound(of_documents, origins=origins))
        fetcher = Fetcher(outbound, root_uri(config, context.base_dir), config.max_bytes)
        source = Source(config, fetcher, Authoriser(outbound), context.secret)
        loaded: Loaded | None = None
        failed: BrokerError | None = None
        try:
            loaded = await source.load()
        except BrokerError as problem:
            if config.required:
                raise _required(config, problem) from None
            failed = problem
        if loaded is not None and config.kind != "url":
            # The operator's own file: what it names was written here, not by a service.
            origins += named_origins(loaded.document, config)
        calls = await stack.enter_async_context(
            open_outbound(
                rules, origins=origins, more_headers=lambda request: tuple(context.trace_headers())
            )
        )
        sender = Sender(calls, Authoriser(calls), config.retries)
        refused = judge(config, origins)
        pace = Pace(config.refresh, random.random)
        provider = OpenapiProvider(config, source, sender, refused, pace)
        if loaded is not None:
            try:
                await provider.take(loaded)
            except BrokerError as problem:
                if config.required:
                    raise _required(config, problem) from None
                failed = problem
        if failed is not None:
            provider.failed(failed)
        yield provider


def judge(config: OpenapiConfig, origins: list[str]) -> Callable[[str], str | None]:
    """Says of a URL why no request may go there; None when one may."""
    guard = Guard(config.network, origins)

    def refused(url: str) -> str | None:
        try:
            guard.admit(parse_url(url))
        except BrokerError as problem:
            return f"{problem.message}; 'network' or 'server' may allow it"
        return None

    return refused


def named_origins(document: Document, config: OpenapiConfig) -> list[str]:
    """The servers that a document names, and those of its tokens."""
    found = set(Security(document, config.auth).token_urls())
    for operation in read_operations(document):
        if not isinstance(operation, Operation):
            continue
        layers = [
            operation.node.get("servers"),
            operation.nearest("servers"),
            document.root.get("servers"),
        ]
        try:
            found.add(
                server_of(document, layers, config.server_variables, config.server, operation.node)
            )
        except OperationError:
            continue  # told where the operation is compiled
    return sorted(url for url in found if _is_url(url))


def _is_url(text: str) -> bool:
    try:
        parse_url(text)
    except BrokerError:
        return False
    return True


def _required(config: OpenapiConfig, problem: BrokerError) -> PluginError:
    return PluginError(f"the document of {config.name} can't be used: {problem.message}")
