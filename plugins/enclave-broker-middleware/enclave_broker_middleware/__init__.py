"""Middleware: retry, cache, circuit breaker, concurrency, shape, redact, defaults, dry run."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .cache import CacheConfig, open_cache
from .circuit_breaker import CircuitBreakerConfig, open_circuit_breaker
from .concurrency import ConcurrencyConfig, open_concurrency
from .defaults import DefaultsConfig, open_defaults
from .dry_run import DryRunConfig, open_dry_run
from .redact import RedactConfig, open_redact
from .retry import RetryConfig, open_retry
from .shape import ShapeConfig, open_shape


@hookimpl
def enclave_middleware() -> Iterable[Component]:
    return [
        Component("retry", open_retry, RetryConfig),
        Component("cache", open_cache, CacheConfig),
        Component("circuit_breaker", open_circuit_breaker, CircuitBreakerConfig),
        Component("concurrency", open_concurrency, ConcurrencyConfig),
        Component("shape", open_shape, ShapeConfig),
        Component("redact", open_redact, RedactConfig),
        Component("defaults", open_defaults, DefaultsConfig),
        Component("dry_run", open_dry_run, DryRunConfig),
    ]
