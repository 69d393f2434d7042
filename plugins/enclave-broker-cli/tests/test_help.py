"""The help texts: each command and option has one, and a change of any is seen in a diff."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_program import ForkedProgram

HELP = Path(__file__).parent / "help"
SENTENCE = re.compile(r"[A-Z0-9].*[^\s.]\.", re.DOTALL)


def test_everything_has_a_help_text_of_whole_sentences(
    find_commands: Callable[[], dict[str, Any]],
) -> None:
    commands = find_commands()
    assert {"", "run", "config show", "greet"} <= set(commands)
    texts = {words: command.help for words, command in commands.items()}
    for words, command in commands.items():
        texts |= {f"{words} {param.opts[0]}": param.help for param in command.params}
    wrong = {whose: text for whose, text in texts.items() if not _is_good(text)}
    assert wrong == {}


def _is_good(text: str | None) -> bool:
    """Whether the first paragraph is of whole sentences."""
    first = (text or "").partition("\n\n")[0]
    return SENTENCE.fullmatch(first) is not None and "  " not in first


def test_every_value_has_a_name_in_capitals(find_commands: Callable[[], dict[str, Any]]) -> None:
    """Else Typer writes the type of Python there, which nobody asked for."""
    wrong = [
        f"{words} {param.opts[0]}"
        for words, command in find_commands().items()
        if (HELP / f"{_file_of(words)}.txt").exists()
        for param in command.params
        if not getattr(param, "is_flag", False) and param.metavar is None
    ]
    assert wrong == []


@pytest.mark.parametrize("path", sorted(HELP.glob("*.txt")), ids=lambda path: path.stem)
def test_help_is_as_before(
    path: Path,
    place: Path,
    forked: ForkedProgram,
    find_commands: Callable[[], dict[str, Any]],
    plain_environment: Callable[..., dict[str, str]],
) -> None:
    # The first page lists the commands of plugins too.
    (place / "broker.toml").write_text("plugins = []\n")
    words = {_file_of(words): words for words in find_commands()}[path.stem]
    done = forked.run([*words.split(), "--help"], plain_environment(COLUMNS="80"))
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == path.read_text(), (
        f"if this is meant: COLUMNS=80 enclave-broker {words} --help > {path}"
    )


def test_every_command_of_its_own_has_a_file(
    place: Path, find_commands: Callable[[], dict[str, Any]]
) -> None:
    (place / "broker.toml").write_text("plugins = []\n")
    names = {_file_of(words) for words in find_commands()}
    assert {path.stem for path in HELP.glob("*.txt")} == names


def _file_of(words: str) -> str:
    return words.replace(" ", "-") or "enclave-broker"
