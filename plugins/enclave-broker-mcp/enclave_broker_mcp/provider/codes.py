"""Codes of errors that this side makes, of the range that JSON-RPC leaves to implementations."""

from __future__ import annotations

TOO_LARGE = -32010
"""The answer was not read."""
UNREACHABLE = -32011
"""The request did not arrive, or its answer did not."""
BUSY = -32012
"""The server answers later; ``retryAfter`` of the data is in seconds, when it said it."""
FAILED = -32013
"""The server answered with a status that is an error, and nothing else."""
