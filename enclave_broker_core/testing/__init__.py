"""For authors of plugins: the suites that a part must pass to keep its contract."""
