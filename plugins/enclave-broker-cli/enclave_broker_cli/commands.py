"""The program's commands, with those that plugins add."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import typer
import typer.core

from enclave_broker_core.build import load_plugins
from enclave_broker_core.errors import BrokerError

from .names import unheard
from .paths import config_paths
from .terminal import harmless

# What Typer adds to every application unless told not to: it would be a program of its own.
_INSTALLS = frozenset({"install_completion", "show_completion"})

# The commands of which plugins may add more: the others never wait for plugins to load.
_EXTENDED = frozenset({"tools"})


class Commands(typer.core.TyperGroup):
    """The built-in commands and, looked up only when they are needed, those of plugins."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + sorted(set(self._added(ctx, quiet=True)) - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or self._added(ctx).get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A plugin's command may have two words, the first of which is ``tools``."""
        if len(args) > 1 and args[0] in _EXTENDED and not args[1].startswith("-"):
            words = " ".join(args[:2])
            # What keeps plugins from loading is said by the command itself, once.
            with suppress(BrokerError):
                found = self._added(ctx).get(words)
                if found is not None:
                    return words, found, args[2:]
        return super().resolve_command(ctx, args)

    def _added(self, ctx: Any, *, quiet: bool = False) -> dict[str, Any]:
        """Loaded once for a command line: help and completion ask for each of them."""
        known: dict[str, Any] | None = ctx.meta.get(__name__)
        if known is None:
            try:
                known = self._completed(ctx) if ctx.resilient_parsing else self._load(ctx)
            except BrokerError as error:
                if not quiet:
                    raise
                said = harmless(error.message)
                sys.stderr.write(f"the commands of plugins are not shown: {said}\n")
                return {}
            ctx.meta[__name__] = known
        return known

    def _completed(self, ctx: Any) -> dict[str, Any]:
        """While a shell waits, plugins print nothing, and what fails has no commands."""
        with unheard():
            try:
                return self._load(ctx)
            except Exception:
                return {}

    def _load(self, ctx: Any) -> dict[str, Any]:
        paths = config_paths(ctx, ctx.params.get("config"))
        commands = {}
        for command in load_plugins(paths, environment=True).commands():
            application = command.build()
            # All commands look the same, and none has its own colours.
            application.rich_markup_mode = None
            made = typer.main.get_command(application)
            made.name, made.help = command.name, command.help
            made.params = [param for param in made.params if param.name not in _INSTALLS]
            commands[command.name] = made
        return commands
