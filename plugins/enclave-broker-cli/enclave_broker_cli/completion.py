"""``enclave-broker completion``: has a shell complete the command line.

All scripts ask as Typer's own one for fish does, with the line up to the cursor, and get on
each line a name and its description. Typer's for bash and zsh are no good here: bash parts
words at the colons of tool names, and zsh would evaluate descriptions, which anybody may
have written.
"""

from __future__ import annotations

import enum
import os
import sys
from importlib import resources
from typing import Annotated, NoReturn

import typer
import typer.completion

from .exits import WRONG, leave
from .options import JsonOption
from .reporting import put_json

VARIABLE = "_ENCLAVE_BROKER_COMPLETE"
# More columns than any description has.
WIDE = 10_000


class Shell(enum.StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[
        Shell, typer.Argument(metavar="SHELL", help="The shell that the script is for.")
    ],
    json: JsonOption = False,
) -> None:
    """Print the script that has a shell complete the command line.

    It completes commands, options, and what the configuration has names for. No file is
    changed: source the script, or write it where the shell looks for completions.

    \b
    bash: ~/.local/share/bash-completion/completions/enclave-broker
    zsh:  _enclave-broker in a directory of $fpath
    fish: ~/.config/fish/completions/enclave-broker.fish
    """
    script = resources.files(__package__).joinpath("scripts", f"completion.{shell}").read_text()
    if json:
        put_json({"shell": shell.value, "script": script})
    else:
        sys.stdout.write(script)


def answer(application: typer.Typer) -> NoReturn:
    """Print what the line that a shell's script asks about may go on with, and nothing else."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    # Typer has Rich break descriptions at the width of a terminal, and each line is a name.
    os.environ["COLUMNS"] = str(WIDE)
    typer.completion.completion_init()  # type: ignore[attr-defined]
    try:
        application(prog_name="enclave-broker")
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else WRONG)
    except Exception:
        leave(WRONG)
    leave(WRONG)
