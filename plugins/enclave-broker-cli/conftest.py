"""The templates' tests are run where plugins have been made of them: tests/test_made_plugins.py."""

collect_ignore = ["enclave_broker_cli"]
