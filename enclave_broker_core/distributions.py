"""The core's own distribution, and which one to install for a part that is not there."""

from __future__ import annotations

from collections.abc import Mapping

CORE = "enclave-broker-core"

# By kind and name of the part.
KNOWN_DISTRIBUTIONS: Mapping[tuple[str, str], str] = {
    ("store", "memory"): "enclave-broker-memory",
    ("limiter", "memory"): "enclave-broker-memory",
    ("store", "redis"): "enclave-broker-redis",
    ("limiter", "redis"): "enclave-broker-redis",
    ("store", "sqlite"): "enclave-broker-sqlite",
    ("limiter", "sqlite"): "enclave-broker-sqlite",
    ("runtime", "monty"): "enclave-broker-monty",
    ("runtime", "quickjs"): "enclave-broker-quickjs",
    ("tools", "http"): "enclave-broker-http",
    ("tools", "openapi"): "enclave-broker-openapi",
    ("tools", "mcp"): "enclave-broker-mcp",
    ("sink", "otel"): "enclave-broker-otel",
    ("middleware", "otel"): "enclave-broker-otel",
    ("middleware", "retry"): "enclave-broker-middleware",
    ("middleware", "cache"): "enclave-broker-middleware",
    ("middleware", "circuit_breaker"): "enclave-broker-middleware",
    ("middleware", "concurrency"): "enclave-broker-middleware",
    ("middleware", "shape"): "enclave-broker-middleware",
    ("middleware", "redact"): "enclave-broker-middleware",
    ("middleware", "defaults"): "enclave-broker-middleware",
    ("middleware", "dry_run"): "enclave-broker-middleware",
    ("secrets", "files"): "enclave-broker-secrets",
    ("secrets", "toml"): "enclave-broker-secrets",
    ("secrets", "keyring"): "enclave-broker-secrets",
    ("authenticator", "api_keys"): "enclave-broker-server",
    ("authenticator", "jwt"): "enclave-broker-server",
}
