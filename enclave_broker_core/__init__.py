"""Enclave Broker: stands between agents and the tools that they may use."""
