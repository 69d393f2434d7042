"""What can be wrong with a document, and with one operation in it."""

from __future__ import annotations

from enclave_broker_core.errors import ConfigError

MOST_SHOWN = 200


class DocumentError(ConfigError):
    """The document as a whole can't be used; the message says why."""


class OperationError(Exception):
    """One operation can't become a tool; the others can. The message says why."""


def shown(text: object) -> str:
    """What a document holds, as it may stand in a message."""
    said = str(text)
    if len(said) > MOST_SHOWN:
        said = f"{said[:MOST_SHOWN]}…"
    return repr(said)
