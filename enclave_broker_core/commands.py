"""A command that a plugin adds to the ``enclave-broker`` program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the ``enclave-broker`` program: ``build`` returns a Typer application."""

    name: str
    help: str
    build: Callable[[], Any]
