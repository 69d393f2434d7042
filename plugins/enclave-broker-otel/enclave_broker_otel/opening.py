"""Opens the tracer for the life of a broker, with what it needs beside the broker."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
from importlib_metadata import version

from enclave_broker_core.contracts import OpenContext

from .config import OtelConfig
from .exporting import SCOPE, Providers, Variables, make_providers
from .meters import Meters
from .spans import Spans
from .tracer import OtelTracer
from .where import log_records_are_placed

_log = logging.getLogger(__name__)

# Seconds between two looks at the event loop and at the broker.
PERIOD = 1.0
# Seconds that the last export may take.
PATIENCE = 10.0


@asynccontextmanager
async def open_otel(config: OtelConfig, context: OpenContext) -> AsyncIterator[OtelTracer | None]:
    """The tracer; None when nothing is exported, so that nothing of it is in the chain."""
    providers = make_providers(config, Variables())
    if providers.tracing is None and providers.metering is None:
        yield None
        return
    tracer = _tracer(config, providers)
    try:
        with ExitStack() as stack:
            if config.logs:
                stack.enter_context(log_records_are_placed())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_watch, tracer)
                try:
                    yield tracer
                finally:
                    tasks.cancel_scope.cancel()
    finally:
        tracer.close()
        await _shut_down(providers)


def _tracer(config: OtelConfig, providers: Providers) -> OtelTracer:
    own = version("enclave-broker-otel")
    spans = meters = None
    if providers.tracer is not None:
        spans = Spans(providers.tracer)
    if providers.metering is not None:
        meter = providers.metering.get_meter(SCOPE, own)
        meters = Meters(meter, providers.tallies, config.max_values)
    return OtelTracer(config, spans, meters, providers.registry)


async def _watch(tracer: OtelTracer) -> None:
    """Measure how late this task is woken, and have the gauges show how the broker is."""
    while True:
        due = anyio.current_time() + PERIOD
        await anyio.sleep_until(due)
        try:
            tracer.lagged(max(0.0, anyio.current_time() - due))
            tracer.sample()
        except Exception:
            _log.exception("the broker could not be looked at")


async def _shut_down(providers: Providers) -> None:
    """A collector that does not answer is not waited for longer than ``PATIENCE``."""
    with anyio.move_on_after(PATIENCE, shield=True) as waiting:
        await anyio.to_thread.run_sync(providers.shut_down, abandon_on_cancel=True)
    if waiting.cancelled_caught:
        _log.warning("the last spans and measurements were not exported in %g s", PATIENCE)
