"""``python -m enclave_broker_cli`` is the same as ``enclave-broker``."""

from .main import main

main()
