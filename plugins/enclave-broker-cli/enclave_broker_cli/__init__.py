"""The ``enclave-broker`` command."""
