"""The page with every command and option, made of the program itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from enclave_broker_cli.main import build

USUAL = frozenset({"config", "json", "help"})
START = """# Every command

What they print, with examples, is told in [Command line](../cli.md). These are the commands of all
plugins of this repository. Each also takes `--json`, `--help`, and unless
it says otherwise `--config PATH`, once for each file of the configuration.
"""


def page() -> str:
    """The page as Markdown."""
    return START + "\n".join(_lines()) + "\n"


def commands() -> dict[str, Any]:
    """Each command by the words that name it; the program itself has none."""
    root: Any = typer.main.get_command(build())
    context = root.make_context("enclave-broker", [], resilient_parsing=True)
    return dict(_below(root, context))


def _below(command: Any, context: Any, *above: str) -> Iterator[tuple[str, Any]]:
    yield " ".join(above), command
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        one = command.get_command(context, name)
        inner = type(context)(one, info_name=name, parent=context)
        yield from _below(one, inner, *above, name)


def _lines() -> Iterator[str]:
    for words, command in commands().items():
        name = f"enclave-broker {words}".strip()
        yield from ("", f"## {name}", "", inspect.cleandoc(command.help or ""))
        parameters = [one for one in command.params if one.name not in USUAL]
        yield from _usage(name, command, parameters)
        yield from _table(parameters)


def _usage(name: str, command: Any, parameters: list[Any]) -> Iterator[str]:
    if not hasattr(command, "list_commands"):
        usage = " ".join(
            f"[{one.metavar}]" if not one.required else str(one.metavar)
            for one in parameters
            if one.param_type_name == "argument"
        )
        yield from ("", "```text", f"{name} [OPTIONS] {usage}".rstrip(), "```")


def _table(parameters: list[Any]) -> Iterator[str]:
    if not parameters:
        return
    yield ""
    yield "| argument, option | what it is |"
    yield "|---|---|"
    for one in parameters:
        told = " ".join((one.help or "").split()).replace("|", "\\|")
        metavar = one.metavar or one.name.upper()
        names = [metavar]
        if one.param_type_name == "option":
            value = "" if one.is_flag else f" {metavar}"
            names = [f"{name}{value}" for name in [*one.opts, *one.secondary_opts]]
        # A bar within backticks would end the cell on some forges.
        shown = ", ".join(f"<code>{name}</code>" for name in names).replace("|", "&#124;")
        yield f"| {shown} | {told} |"
