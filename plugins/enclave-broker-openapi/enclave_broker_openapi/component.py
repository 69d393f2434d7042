"""Opens the provider ``openapi``. Every command loads this module, and few send requests."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from enclave_broker_core.contracts import OpenContext, ToolProvider

from .config import OpenapiConfig


def open_openapi(
    config: OpenapiConfig, context: OpenContext
) -> AbstractAsyncContextManager[ToolProvider]:
    """The tools of one document. PluginError when it is required and can't be had or used."""
    # Only who has such tools waits for what reads documents and sends requests.
    from . import opening

    return opening.open_source(config, context)
