"""The Python client of an Enclave Broker server."""
