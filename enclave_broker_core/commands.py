"""A command that a plugin adds to the ``enclave-broker`` program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the ``enclave-broker`` program: ``build`` returns a Typer application.

    A ``name`` of two words stands below a command of the program's own: ``tools import``.
    ``server_model`` is of the one that puts the broker on a network: what may stand in
    ``[server]``.
    """

    name: str
    help: str
    build: Callable[[], Any]
    server_model: type[BaseModel] | None = None


def server_model(commands: Iterable[Command]) -> type[BaseModel] | None:
    """What may stand in ``[server]``; None when none of the commands serves."""
    models = (command.server_model for command in commands)
    return next((model for model in models if model is not None), None)
