"""Parts the tests in two: what the version of Python can change, and what it hardly can."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from enclave_broker_core import plugins

ROOT = Path(__file__).parent

# Programs as processes, pages, the benchmarks, suites that are run on parts that are broken,
# whatever needs servers, other programs and many examples, and what only changes one form of
# data into another: once is enough.
ONCE = (
    "examples/plugins",
    "tests/architecture",
    "tests/docs",
    "tests/durable",
    "tests/test_bench.py",
    "tests/test_compose_example.py",
    "tests/test_config_schema.py",
    "tests/test_demo.py",
    "tests/test_export.py",
    "tests/test_model_calls.py",
    "tests/test_patterns.py",
    "tests/test_redaction_forms.py",
    "tests/test_windows.py",
    "tests/testing",
    "plugins/enclave-broker-cli/tests",
    "plugins/enclave-broker-client/tests",
    "plugins/enclave-broker-http/tests",
    "plugins/enclave-broker-mcp/tests",
    "plugins/enclave-broker-middleware/tests/test_cache_key.py",
    "plugins/enclave-broker-middleware/tests/test_cache_model.py",
    "plugins/enclave-broker-middleware/tests/test_circuit.py",
    "plugins/enclave-broker-middleware/tests/test_redact.py",
    "plugins/enclave-broker-middleware/tests/test_shape.py",
    "plugins/enclave-broker-monty/tests/test_exit.py",
    "plugins/enclave-broker-network/tests",
    "plugins/enclave-broker-quickjs/tests",
    "plugins/enclave-broker-openapi/tests",
    "plugins/enclave-broker-otel/tests",
    "plugins/enclave-broker-redis/tests",
    "plugins/enclave-broker-server/tests",
    "plugins/enclave-broker-sqlite/tests/test_bounds.py",
    "plugins/enclave-broker-sqlite/tests/test_durable.py",
    "plugins/enclave-broker-sqlite/tests/test_kill.py",
    "plugins/enclave-broker-sqlite/tests/test_model.py",
    "plugins/enclave-broker-sqlite/tests/test_opening.py",
)
# But of these, what goes through most of the code at little cost, on every version.
EACH = (
    "tests/durable/test_keeping.py",
    "tests/durable/test_states.py",
    "plugins/enclave-broker-cli/tests/test_run.py",
    "plugins/enclave-broker-client/tests/test_runs.py",
    "plugins/enclave-broker-client/tests/test_sync.py",
    "plugins/enclave-broker-http/tests/test_provider.py",
    "plugins/enclave-broker-network/tests/test_addresses.py",
    "plugins/enclave-broker-network/tests/test_bodies.py",
    "plugins/enclave-broker-network/tests/test_urls.py",
    "plugins/enclave-broker-quickjs/tests/test_language.py",
    "plugins/enclave-broker-openapi/tests/test_bodies.py",
    "plugins/enclave-broker-openapi/tests/test_operations.py",
    "plugins/enclave-broker-openapi/tests/test_reading.py",
    "plugins/enclave-broker-openapi/tests/test_schemas.py",
    "plugins/enclave-broker-openapi/tests/test_styles.py",
    "plugins/enclave-broker-server/tests/test_catalog.py",
    "plugins/enclave-broker-server/tests/test_sessions.py",
    "plugins/enclave-broker-server/tests/test_streams.py",
    "plugins/enclave-broker-server/tests/test_tool_calls.py",
    "plugins/enclave-broker-server/tests/test_websocket.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        choices=("all", "each", "once"),
        default="all",
        help="'once': what is run on one version of Python only; 'each': the rest.",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    part = config.getoption("--part")
    if part == "all":
        return None
    path = collection_path.relative_to(ROOT).as_posix()
    once = path not in EACH and any(path == one or path.startswith(f"{one}/") for one in ONCE)
    if collection_path.name.startswith("test_"):
        return True if once is (part == "each") else None
    # What a folder has for its tests, such as servers, is not even read without one.
    if part == "each" and once and not any(one.startswith(f"{path}/") for one in EACH):
        return True
    return None


@pytest.fixture(autouse=True, scope="module")
def entry_points_are_read_once() -> Iterator[None]:
    """Most tests open brokers: each would read the metadata of all that is installed anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_entry_points", functools.cache(plugins._entry_points))
        yield
