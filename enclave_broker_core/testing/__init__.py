"""For authors of plugins: suites that hold a part to its contract, and what to test it with."""

import pytest

# So that a suite in somebody's tests shows the values of an assert that fails. By module:
# this package itself is being imported already, which pytest would warn about.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "admission_suite",
            "authenticators",
            "cancelling",
            "checks",
            "command_suite",
            "durable_runtimes",
            "durable_store_suite",
            "harness",
            "hosts",
            "lease_suite",
            "lives",
            "limiters",
            "middleware",
            "policies",
            "providers",
            "replica_suite",
            "runtimes",
            "samples",
            "secret_sources",
            "session_bounds",
            "session_claimants",
            "session_claims",
            "session_logs",
            "session_readers",
            "session_records",
            "sinks",
            "stores",
        )
    )
)
