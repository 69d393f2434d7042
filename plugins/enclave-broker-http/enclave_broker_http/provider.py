"""The tools of one source, for the life of a broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from enclave_broker_network.outbound import open_outbound

from enclave_broker_core.contracts import OpenContext, Publish, Tool

from .config import HttpConfig
from .shape import RequestShape
from .tool import HttpTool


class HttpTools:
    """A ToolProvider whose tools never change: a reload makes another."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tuple(tools)

    async def tools(self) -> Sequence[Tool]:
        return self._tools

    async def watch(self, publish: Publish) -> None:
        return


@asynccontextmanager
async def open_http(config: HttpConfig, context: OpenContext) -> AsyncIterator[HttpTools]:
    shapes = [RequestShape(config, request) for request in config.requests]
    rules = config.network
    if rules.ca_file is not None:
        ca_file = str(Path(context.base_dir, rules.ca_file))
        rules = rules.model_copy(update={"ca_file": ca_file})
    origins = {shape.origin for shape in shapes}
    async with open_outbound(
        rules, origins=origins, more_headers=lambda request: tuple(context.trace_headers())
    ) as outbound:
        yield HttpTools(
            [HttpTool(shape, context.name, outbound, config.progress) for shape in shapes]
        )
