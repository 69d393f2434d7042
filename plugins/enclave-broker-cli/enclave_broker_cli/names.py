"""What a configuration has names for, to complete them in a shell.

Tab is pressed in the midst of typing: nothing is said about what is wrong, no store and no
sandbox is opened, and a provider that takes long is not waited for. Its plugins and the
modules of its tools are loaded, as by any command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import typer
from rich.markup import escape

from enclave_broker_core.config_files import read
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.draft import Draft, draft_of
from enclave_broker_core.export import FORMATS
from enclave_broker_core.parts import open_component
from enclave_broker_core.patterns import is_exact
from enclave_broker_core.plan import Part
from enclave_broker_core.redaction import Redactor

from .paths import config_paths
from .terminal import harmless

# How long, in seconds, a provider may take to say which tools it has.
PATIENCE = 2.0
# The characters of a description that are shown.
LONGEST = 200

Described = list[tuple[str, str]]


def tool_names(context: typer.Context, incomplete: str) -> Described:
    """The tools of the configuration, with the first lines of their descriptions."""
    found: dict[str, str] = {}
    with unheard():
        try:
            draft, base_dir = _draft(context)
            anyio.run(_ask_all, draft.plan.tools, base_dir, found)
        except Exception:
            return []
    return [
        # Typer takes descriptions for markup.
        (name, escape(harmless(description.partition("\n")[0][:LONGEST])))
        for name, description in found.items()
        if name.startswith(incomplete) and is_exact(name)
    ]


def runtime_names(context: typer.Context, incomplete: str) -> list[str]:
    """The runtimes of the configuration."""
    with unheard():
        try:
            draft, _ = _draft(context)
        except Exception:
            return []
    return [part.name for part in draft.plan.runtimes if part.name.startswith(incomplete)]


def format_names(incomplete: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(incomplete)]


@contextmanager
def unheard() -> Iterator[None]:
    """In this block nothing that is printed reaches stdout, which a shell reads."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _draft(context: typer.Context) -> tuple[Draft, Path]:
    """The configuration that the command line names; its error when it has a mistake."""
    document = read(config_paths(context, _given(context)), os.environ)
    draft = draft_of(document, os.environ, Redactor())
    if draft.mistakes:
        raise draft.error()
    return draft, document.base_dir


def _given(context: typer.Context) -> list[Path] | None:
    """--config as given to the command or to one above it: while completing none has run."""
    above: Any = context
    while above is not None:
        if given := above.params.get("config"):
            return [Path(path) for path in given]
        above = above.parent
    return None


async def _ask_all(parts: list[Part], base_dir: Path, found: dict[str, str]) -> None:
    async with anyio.create_task_group() as tasks:
        for part in parts:
            tasks.start_soon(_ask, part, OpenContext(part.name, str(base_dir)), found)


async def _ask(part: Part, context: OpenContext, found: dict[str, str]) -> None:
    with anyio.move_on_after(PATIENCE):
        try:
            async with open_component(part.component, part.config, context) as provider:
                found.update(
                    {tool.spec.name: tool.spec.description for tool in await provider.tools()}
                )
        except Exception:
            return
