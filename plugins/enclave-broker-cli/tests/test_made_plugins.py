"""What ``new-plugin`` makes, outside of this repository: a plugin of each kind, as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
from enclave_broker_cli.new_plugin import LONGEST_NAME, write
from enclave_broker_cli.plugin_template import KINDS, Names, files_of
from forked_program import ForkedProgram, forked_program

SECONDS = 300
NAMES = {kind: f"enclave-broker-{kind}-of-mine" for kind in KINDS}
BLOCK = re.compile(r"```(?P<language>\w+)\n(?:# (?P<file>[\w.]+)\n)?(?P<text>.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, forked: ForkedProgram) -> Path:
    """A folder with a plugin of each kind; what pip made of them is in ``site``."""
    made = tmp_path_factory.mktemp("made")
    for kind, name in NAMES.items():
        options = ("--into", str(made), "--license", "mit")
        done = forked.run(["new-plugin", name, "--kind", kind, *options], os.environ)
        assert done.returncode == 0, done.stderr
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--target", "site")
    run(made, "pip", "install", "--quiet", *options, *(f"./{name}" for name in NAMES.values()))
    return made


@pytest.fixture(scope="module")
def installed(place: Path) -> Iterator[ForkedProgram]:
    """The program where the plugins are installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(place / "site"))
        with forked_program() as program:
            yield program


def run(place: Path, module: str, *arguments: str, below: str = ".") -> str:
    """What a program prints, which has to succeed, where the plugins are installed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=place / below,
        env={**os.environ, "PYTHONPATH": str(place / "site"), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_pip_installs_them_and_a_broker_finds_them(
    place: Path, installed: ForkedProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    done = installed.run(["plugins", "--json"], os.environ)
    found = {plugin["distribution"]: plugin for plugin in json.loads(done.stdout)}
    for kind, name in NAMES.items():
        own = name.removeprefix("enclave-broker-")
        assert found[name]["state"] == "loaded"
        assert list(found[name]["parts"].values()) == [[own]], kind
        package = name.replace("-", "_")
        metadata = (place / "site" / f"{package}-0.1.0.dist-info" / "METADATA").read_text()
        assert "License-Expression: MIT\n" in metadata
        assert (place / "site" / package / "py.typed").is_file()


def test_their_tests_pass(place: Path) -> None:
    """All in one process, by the settings that one of them has, as all have."""
    first, *others = NAMES.values()
    settings = [(place / name / "pyproject.toml").read_text() for name in (first, *others)]
    assert len({text[text.index("[tool.pytest") :] for text in settings}) == 1
    run(
        place,
        *("pytest", "-p", "no:cacheprovider", "-q", "-c", "pyproject.toml"),
        *("--junit-xml", "../passed.xml", "tests", *(f"../{name}/tests" for name in others)),
        below=first,
    )
    cases = ElementTree.parse(place / "passed.xml").iter("testcase")
    passed = {case.attrib["classname"].removeprefix("tests.") for case in cases}
    modules = [path.stem for path in place.glob("*/tests/test_*.py")]
    assert len(modules) == 2 * len(KINDS)
    assert passed >= set(modules)
    # The suite of each kind is a class in the first of its two modules.
    assert len([one for one in passed if ".Test" in one]) == len(KINDS)


@pytest.mark.skipif(not find_spec("mypy"), reason="mypy: pip install mypy")
def test_they_are_typed(place: Path) -> None:
    """All in one run, which knows each core module once."""
    folders = [
        f"../{name}/{part}" for name in NAMES.values() for part in (name.replace("-", "_"), "tests")
    ]
    printed = run(place, "mypy", "--cache-dir", "../mypy", *folders, below=NAMES["policy"])
    assert printed.startswith("Success: no issues found in ")


@pytest.mark.skipif(not find_spec("ruff"), reason="ruff: pip install ruff")
def test_they_are_linted_and_formatted_however_long_their_names_are(tmp_path: Path) -> None:
    names = ("x", "enclave-broker-" + "x" * LONGEST_NAME, "y" * LONGEST_NAME)
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        for name in names:
            write(tmp_path / kind / name, files_of(kind, Names.of(name), "MIT"))
    run(tmp_path, "ruff", "check", "--no-cache", ".")
    run(tmp_path, "ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.parametrize("kind", KINDS)
def test_what_their_readme_shows_happens(
    kind: str,
    place: Path,
    installed: ForkedProgram,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = 0
    for block in BLOCK.finditer((place / NAMES[kind] / "README.md").read_text()):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"])
        if block["language"] == "console":
            for command, expected in re.findall(
                r"^\$ enclave-broker (.+)\n((?:[^$].*\n)*)", block["text"], re.MULTILINE
            ):
                done = installed.run(shlex.split(command), os.environ, merged=True)
                pattern = ".*".join(map(re.escape, expected.split("...")))
                assert re.fullmatch(pattern, done.stdout), done.stdout
                shown += 1
    assert shown
