"""``enclave-broker key``: makes API keys."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_core import to_json

from enclave_broker_core.commands import Command

from .api_keys import ApiKey, hash_of, new_key

KEY_COMMAND_HELP = "Make API keys for the authenticator api_keys."


def key_command() -> Command:
    """The command ``key``, for the hook ``enclave_commands``."""
    return Command("key", KEY_COMMAND_HELP, key_commands)


def key_commands() -> typer.Typer:
    """The commands below ``key``."""
    application = typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=KEY_COMMAND_HELP
    )

    @application.callback()
    def key() -> None:
        """With a callback ``new`` stays a name of its own, though it is the only one."""

    application.command()(new)
    return application


def new(
    context: typer.Context,
    id: Annotated[str, typer.Option("--id", metavar="ID", help="Whose key it is.")],
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="A role of theirs; may be repeated."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="TENANT", help="Their tenant.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False,
) -> None:
    """Make a key, and print it this once with the line for the configuration.

    Nothing keeps the key: the configuration holds its hash.
    """
    key = new_key()
    try:
        entry = ApiKey(hash=hash_of(key), id=id, tenant=tenant, roles=frozenset(role or ()))
    except ValidationError as problem:
        [first, *_] = problem.errors(include_url=False, include_input=False)
        raise typer.BadParameter(first["msg"], param_hint=f"--{first['loc'][0]}") from None
    line = toml_line(entry)
    if json or context.find_root().params.get("json"):
        shown = {"key": key, "hash": entry.hash, "line": line}
        sys.stdout.write(to_json(shown).decode() + "\n")
        return
    sys.stdout.write(
        f"The key, which is shown only now:\n\n{key}\n\n"
        f'One of the keys of [[authenticators]] with use = "api_keys":\n\n{line}\n'
    )


def toml_line(key: ApiKey) -> str:
    """An item of ``keys``, as it stands in a TOML file."""
    parts = [f"hash = {_text(key.hash)}", f"id = {_text(key.id)}"]
    if key.tenant is not None:
        parts.append(f"tenant = {_text(key.tenant)}")
    if key.roles:
        parts.append(f"roles = [{', '.join(map(_text, sorted(key.roles)))}]")
    return f"{{ {', '.join(parts)} }},"


def _text(text: str) -> str:
    """JSON writes texts as TOML does, but for one control character."""
    return to_json(text).decode().replace("\x7f", "\\u007f")
