"""Texts, colours and tables for people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console

WIDE = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text with its control characters spelt out, so that it can't steer a terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def coloured(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether texts on a stream have colours, bold and the like.

    ``NO_COLOR`` goes over all, then ``FORCE_COLOR`` and ``CLICOLOR_FORCE``; without them a
    terminal has colours unless ``CLICOLOR`` is 0 or ``TERM`` is dumb.
    """
    if environment.get("NO_COLOR"):
        return False
    if any(
        environment.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")
    ):
        return True
    dumb = environment.get("TERM", "").lower() in ("dumb", "unknown")
    return stream.isatty() and not dumb and environment.get("CLICOLOR") != "0"


def console(stream: TextIO, *, width: int | None = None) -> Console:
    """What prints on a stream; lines are not broken unless a width is given."""
    terminal = stream.isatty()
    colours = coloured(stream, os.environ)
    return Console(
        file=stream,
        # Rich would keep what is bold, and knows fewer of the variables.
        color_system=None if not colours else "auto" if terminal else "standard",
        force_terminal=terminal or colours,
        no_color=not colours,
        highlight=False,
        soft_wrap=width is None,
        width=width,
    )


def table_console() -> Console:
    """For tables on stdout; what reads a pipe gets them without broken lines."""
    terminal = Console(file=sys.stdout)
    return console(sys.stdout, width=terminal.width if sys.stdout.isatty() else WIDE)
