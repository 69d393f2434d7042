"""What a worker process runs. It imports nothing of the broker, and has none of its secrets."""
