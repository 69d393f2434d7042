"""Results and errors, for programs as JSON and for people."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from enclave_broker_core.errors import BrokerError

from .exits import exit_code
from .terminal import harmless


def put_json(value: Any, *, pretty: bool = False) -> None:
    """One JSON document on stdout, on one line unless it is ``pretty``."""
    # UTF-8 whatever the terminal's encoding is: in another one it would not be JSON.
    sys.stdout.flush()
    sys.stdout.buffer.write(to_json(value, indent=2 if pretty else None) + b"\n")
    sys.stdout.buffer.flush()


def complain(error: BrokerError, *, json: bool = False) -> int:
    """Say on stderr what is wrong, and with ``json`` on stdout too; the exit code for it."""
    if json:
        put_json({"error": error.to_wire()})
    lines = f"{error.code}: {error.message}".splitlines()
    sys.stderr.writelines(f"{harmless(line)}\n" for line in lines)
    return exit_code(error.code)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, as far as can be told without its command.

    That may be a plugin's, or fail before any of its options have been read.
    """
    return "--json" in itertools.takewhile(lambda argument: argument != "--", arguments)
