"""Opens the provider ``http``. Every command loads this module, and few send requests."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from enclave_broker_core.contracts import OpenContext, ToolProvider

from .config import HttpConfig


def open_http(
    config: HttpConfig, context: OpenContext
) -> AbstractAsyncContextManager[ToolProvider]:
    """The tools of one source, for the life of a broker."""
    # Only who has such tools waits for what sends their requests.
    from . import provider

    return provider.open_http(config, context)
