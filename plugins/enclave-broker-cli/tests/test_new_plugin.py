"""``new-plugin``: what it says, what it refuses, and that it changes nothing that is there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from enclave_broker_cli import plugin_template
from enclave_broker_cli.new_plugin import write
from enclave_broker_cli.plugin_template import KINDS, Names, files_of

Program = Callable[..., subprocess.CompletedProcess[str]]
TEMPLATES = Path(plugin_template.__file__).parent / "plugin-templates"


def test_it_says_what_it_made(program: Program, place: Path) -> None:
    done = program("new-plugin", "Acme_Notes.Policy", "--kind", "policy")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        "acme-notes-policy is a plugin that brings a policy",
        "  distribution  acme-notes-policy",
        "  package       acme_notes_policy",
        "  entry point   acme-notes-policy = acme_notes_policy",
        '  in a file     use = "acme-notes-policy"',
        "  licence       none is named: it is for you to choose",
        "How to install it and to run its tests is in its README.md",
    ]
    assert (place / "acme-notes-policy/acme_notes_policy/__init__.py").is_file()


def test_as_json(program: Program, place: Path) -> None:
    (place / "below").mkdir()
    arguments = ["enclave-broker-notes", "--kind", "policy", "--into", "below", "--json"]
    made = json.loads(program("new-plugin", *arguments).stdout)
    files = made.pop("files")
    assert made == {
        "folder": "below/enclave-broker-notes",
        "kind": "policy",
        "distribution": "enclave-broker-notes",
        "package": "enclave_broker_notes",
        "use": "notes",
    }
    folder = place / made["folder"]
    there = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert files == sorted(there)
    assert ".gitignore" in files
    assert "enclave_broker_notes/py.typed" in files


def test_its_names_and_its_licence_can_be_chosen(program: Program, place: Path) -> None:
    done = program(
        *("new-plugin", "acme", "--kind", "policy", "--use", "owners", "--license", "mit or 0bsd")
    )
    assert "licence" not in done.stdout
    project = (place / "acme/pyproject.toml").read_text()
    assert '\nlicense = "MIT OR 0BSD"\n' in project
    assert '\nowners = "acme"\n' in project
    assert '"owners"' in (place / "acme/acme/__init__.py").read_text()
    program("new-plugin", "other", "--kind", "policy")
    assert "license" not in (place / "other/pyproject.toml").read_text().lower()


def test_what_is_there_stays_as_it_is(program: Program, place: Path) -> None:
    (place / "acme").mkdir()
    (place / "acme/README.md").write_text("mine")
    for name in ("acme", "Acme"):
        done = program("new-plugin", name, "--kind", "policy")
        assert done.returncode == 2
        assert done.stderr.endswith(" for NAME: acme is there already; nothing was changed\n")
    assert [path.name for path in (place / "acme").iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x!", "--kind", "policy"], "for NAME: 'x!' is no name: "),
        (["../x", "--kind", "policy"], "for NAME: '../x' is no name: "),
        (["-x", "--kind", "policy"], "No such option"),
        (["x" * 29, "--kind", "policy"], "has more than 28 characters"),
        (["x", "--kind", "policy", "--use", "x" * 29], "has more than 28 characters"),
        (["3d", "--kind", "policy"], "could not import a package named '3d'"),
        (["class", "--kind", "policy"], "could not import a package named 'class'"),
        (["json", "--kind", "policy"], "there is a module named 'json' already"),
        (["anyio", "--kind", "policy"], "there is a module named 'anyio' already"),
        (["tests", "--kind", "sink"], "for NAME: 'tests' is a folder that it has for"),
        (["dist", "--kind", "sink"], "for NAME: 'dist' is a folder that it has for"),
        (["core", "--kind", "sink"], "plugin is named 'core': choose one by --use"),
        (["memory", "--kind", "store"], "for NAME: another plugin is named 'memory'"),
        (["x", "--kind", "policy", "--use", "http"], "for --use: another plugin is named 'http'"),
        (["x", "--kind", "policy", "--use", "rules"], "for --use: another policy is named 'rules'"),
        (["x", "--kind", "middleware", "--use", "retry"], "another middleware is named"),
        (["enclave-broker", "--kind", "policy"], "does not say what it is"),
        (["x", "--kind", "polcy"], "there is no kind 'polcy'; did you mean 'policy'?"),
        (["x", "--kind", ""], "there is no kind ''; there are: "),
        (["x"], "Missing option '--kind'"),
        (["x", "--kind", "policy", "--use", "a b"], "for --use: 'a b' is no name: "),
        (["x", "--kind", "policy", "--license", "MITT"], "for --license: 'MITT' is no SPDX"),
        (["x", "--kind", "policy", "--into", "none"], "for --into: none/x can't be made: "),
        (["x", "--kind", "policy", "--into", "tools.py"], "for --into: tools.py/x can't be"),
    ],
)
def test_what_it_refuses(program: Program, place: Path, arguments: list[str], said: str) -> None:
    before = sorted(place.rglob("*"))
    done = program("new-plugin", *arguments)
    assert said in " ".join(done.stderr.split())
    assert (done.stdout, done.returncode) == ("", 2)
    assert sorted(place.rglob("*")) == before


def test_a_folder_that_can_be_filled_in_part_is_taken_away(place: Path) -> None:
    with pytest.raises(typer.BadParameter, match="acme can't be filled: File exists"):
        write(Path("acme"), {"one": "a file", "one/two": "below a file"})
    assert not (place / "acme").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_a_plugin_under_its_own_name(kind: str) -> None:
    """By that name nothing of it is changed: what is checked where it stands is what is made."""
    made = files_of(kind, Names.of(f"enclave-broker-example-{kind}"))
    folder = TEMPLATES / kind
    for path in folder.rglob("*"):
        # Python, and linters, leave folders of their own.
        if path.is_file() and not re.search(r"/(\.|__pycache__)", str(path.relative_to(TEMPLATES))):
            assert made[str(path.relative_to(folder))].startswith(path.read_text())
    shared = {"README.md", "pyproject.toml", ".gitignore"}
    assert shared <= made.keys()
    left = re.compile(r"example.shared")
    assert [place for place, text in made.items() if left.search(place + text)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_templates_names_is_left(kind: str) -> None:
    made = files_of(kind, Names.of("acme"))
    left = re.compile(rf"broker.example|example.({kind}|shared)")
    assert [place for place, text in made.items() if left.search(place + text)] == []


def test_every_template_is_of_a_kind() -> None:
    folders = {path.name for path in TEMPLATES.glob("[!.]*") if path.is_dir()}
    assert folders == {*KINDS, "shared"}


def test_kinds_are_completed(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ENCLAVE_BROKER_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "enclave-broker new-plugin x --kind pol")
    assert program().stdout == "policy\tAn access policy.\n"
