"""Nothing is without documentation: what the code has, the pages of the reference say.

Hooks are compared with their page in ``test_hooks_page.py``, metrics with theirs by
enclave-broker-otel, names of Python in ``tests/architecture``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands_page
import errors_page
import pytest
from configuration_page import our_plugins
from enclave_broker_server.answers import CODES
from enclave_broker_server.openapi_answers import _MORE_CODES
from made_pages import FOLDER, PAGES, made

from enclave_broker_core.config_schema import config_schema

ROOT = Path(__file__).parents[2]
WIRE = (ROOT / "docs" / "wire.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_made_page_is_as_the_code_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENCLAVE_BROKER_CONFIG", raising=False)
    assert (FOLDER / name).read_text() == made(name), "run: python reference/made_pages.py"


def test_every_key_says_what_it_is_for() -> None:
    schema = config_schema(our_plugins())
    keys = dict(keys_in("", schema))
    for name, table in schema["$defs"].items():
        keys |= keys_in(f"{name}.", table)
    assert len(keys) > 400
    assert [name for name, node in keys.items() if not sentence(node.get("description"))] == []


def keys_in(above: str, table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, node in table.get("properties", {}).items():
        if above + key != "unsettled.use":
            yield above + key, node


def sentence(text: str | None) -> bool:
    return bool(text) and text.rstrip().endswith(".") and "``" not in text


def test_every_error_says_what_it_is() -> None:
    page = (FOLDER / "errors.md").read_text()
    kinds = [kind for kinds in errors_page.error_classes().values() for kind in kinds]
    assert len(kinds) > 50
    assert [kind.__name__ for kind in kinds if not sentence(first_line(kind))] == []
    assert {kind.code for kind in kinds} <= set(re.findall(r"^\| `([A-Z_]+)`", page, re.MULTILINE))


def first_line(kind: type) -> str | None:
    told: str | None = vars(kind).get("__doc__")
    return told and told.partition("\n")[0].replace("``", "")


def test_every_code_that_the_code_writes_is_on_a_page() -> None:
    told = (FOLDER / "errors.md").read_text() + WIRE + (ROOT / "docs" / "events.md").read_text()
    packages = [ROOT / "enclave_broker_core", *sorted(ROOT.glob("plugins/*/enclave_broker_*"))]
    written = {
        code: path.relative_to(ROOT).as_posix()
        for package in packages
        for path in sorted(package.rglob("*.py"))
        if "testing" not in path.parts
        for code in codes_in(path.read_text())
    }
    assert {"EVENTS_DROPPED", "PAYLOAD_TOO_LARGE", "CIRCUIT_OPEN"} <= set(written)
    assert {
        code: where for code, where in written.items() if not re.search(rf"\b{code}\b", told)
    } == {}


def codes_in(source: str) -> Iterator[str]:
    """The codes that are an attribute ``code``, an argument of this name, or of an event."""
    yield from re.findall(r'\bcode(?:: ClassVar\[str\])? ?= ?"([A-Z_]+)"', source)
    yield from re.findall(r'\bevents\.error\([^"()]*"([A-Z_]+)"', source)


def test_every_status_of_the_server_is_on_the_page_of_the_wire() -> None:
    section = WIRE.split("\n## Refusals\n", 1)[1].split("\n## ", 1)[0]
    told: set[tuple[int, str]] = set()
    for statuses, codes in re.findall(r"^\| ([\d, ]+) \| ([A-Z_, ]+) \|", section, re.MULTILINE):
        told |= {
            (int(status), code) for status in statuses.split(", ") for code in codes.split(", ")
        }
    given = set(CODES.items())
    given |= {(status, code) for status, codes in _MORE_CODES.items() for code in codes}
    assert given - told == set()


def test_every_command_and_option_says_what_it_is() -> None:
    found = commands_page.commands()
    assert {"", "run", "serve", "tools import"} <= set(found)
    told = {words: command.help for words, command in found.items()}
    for words, command in found.items():
        told |= {f"{words} {one.opts[0]}": one.help for one in command.params}
    assert [name for name, text in told.items() if not text] == []
