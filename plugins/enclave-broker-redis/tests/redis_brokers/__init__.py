"""Brokers on a real server: in this process, and as processes that a test kills."""
