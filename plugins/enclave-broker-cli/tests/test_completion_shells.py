"""Real shells complete the command line, each with its own script."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# What makes a shell start as quickly and as plainly as it can.
SHELLS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
SOURCE = {
    "bash": 'bind "set enable-bracketed-paste off"; source <(enclave-broker completion bash)',
    "zsh": "autoload -Uz compinit; compinit -D -u; source <(enclave-broker completion zsh)",
    "fish": "enclave-broker completion fish | source",
}

# What is typed before Tab, and the words that are then on the line.
LINES = [
    ("enclave-broker expl", "explain "),
    ("enclave-broker gre", "greet "),
    ("enclave-broker call us", "call users:get "),
    ("enclave-broker call users:", "call users:get "),
    ("enclave-broker explain --config broker.toml users:g", "broker.toml users:get "),
    ("enclave-broker run --runtime=mon", "--runtime=monty "),
    ("enclave-broker tools --format anth", "--format anthropic "),
    ("enclave-broker tools --conf", "--config "),
    ("enclave-broker explain host", "explain hostile:one "),
    ("enclave-broker run agen", "run agent.py "),
]


# A description that a shell must not evaluate, however it is quoted.
HOSTILE = r"""

@tool("hostile:one")
async def hostile() -> None:
    '''[/x] \$(touch pwned) `touch pwned` ';touch pwned;' \";touch pwned;\" ${x:-$(touch pwned)}'''
"""
CLEAR = "\x15"  # Ctrl-U


@pytest.mark.parametrize("name", SHELLS)
def test_tab(name: str, place: Path, terminal: Callable[..., Any]) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"install {name}")
    (place / "agent.py").write_text("1")
    with (place / "tools.py").open("a") as tools:
        tools.write(HOSTILE)
    shell = terminal(command=[name, *SHELLS[name]], TERM="dumb", HOME=str(place), PS1="$ ")
    shell.type(f"{SOURCE[name]}; printf '%s-%s\\n' is ready\n")
    shell.wait_for("is-ready\r?\n")
    for typed, completed in LINES:
        shell.shown = ""
        shell.type(f"{typed}\t")
        shell.wait_for(completed)
        shell.type(CLEAR)
    # Several: bash and zsh list them, fish puts the first one on the line.
    shell.shown = ""
    shell.type("enclave-broker explain \t\t")
    shell.wait_for("admin:reset")
    assert not (place / "pwned").exists()
