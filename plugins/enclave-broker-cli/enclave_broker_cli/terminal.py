"""Texts and tables for people."""

from __future__ import annotations

import re
import sys

from rich.console import Console

WIDE = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text with its control characters spelt out, so that it can't steer a terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def table_console() -> Console:
    """For tables on stdout; what reads a pipe gets them without broken lines."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
