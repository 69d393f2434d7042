"""Every block of code in the pages runs, and prints what the page says.

The rules, for those who write pages:

- ``python``: a page's blocks run in order in one namespace and one temporary directory;
  ``await`` may stand at the top level. A ``text`` block right behind one is its output.
- ``toml``: is a configuration, or a part of one, without a mistake.
- ``console``: each line with ``$`` is run in the same directory; the lines after it are its
  output. One that needs no shell is run by a program that is imported already.
- A block whose first line is ``# some/name.py`` (or .toml, .md) is a file of that name in
  the directory; Python in it runs when something imports it.
- In an expected output ``...`` stands for anything within the line, and on a line of its own
  for any number of lines.
- ``<!-- not run: the reason -->`` before a block leaves it out; the tests list these.
- ``<!-- run by name -->`` before a block calls ``name(text)`` of the page's namespace.
- ``<!-- python`` and, on a later line, ``-->``: Python that runs and is not shown.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from forked_program import ForkedProgram, forked_program

from enclave_broker_core.build import check

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
LANGUAGES = {"python", "toml", "console"}
OPENING = re.compile(r"(?P<indent> *)```(?P<language>\w*)\s*")
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
RUN_BY = re.compile(r"<!-- run by (\w+) -->")
# What a shell would give to the program as it stands.
PLAIN = re.compile(r"enclave-broker(?: [\w.:/=-]+| '[^']*')*")
FILE = re.compile(r"# ([\w./-]+\.(?:py|toml|md))")
SECONDS = 60


@dataclass
class Block:
    """``line`` is that of the first line of ``text`` in its page, counted from 1."""

    language: str
    text: str
    line: int
    directive: str = ""
    output: str | None = None

    @property
    def reason(self) -> str | None:
        found = NOT_RUN.fullmatch(self.directive)
        return found[1] if found else None

    @property
    def runner(self) -> str | None:
        found = RUN_BY.fullmatch(self.directive)
        return found[1] if found else None

    @property
    def file(self) -> str | None:
        found = FILE.fullmatch(self.text.partition("\n")[0])
        return found[1] if found else None


def blocks_of(page: str) -> list[Block]:
    """All blocks that can be run, each with the output that the page promises."""
    found: list[Block] = []
    lines = iter(enumerate(page.splitlines(), 1))
    before, behind = "", None
    for number, line in lines:
        opening = OPENING.fullmatch(line)
        if line.strip() == "<!-- python":
            found.append(Block("python", _until(lines, "-->", 0), number + 1))
            before, behind = "", None
        elif opening:
            block = Block(
                opening["language"],
                _until(lines, "```", len(opening["indent"])),
                number + 1,
                before,
            )
            if block.language == "text" and behind is not None and not before:
                behind.output = block.text
            elif block.language in LANGUAGES:
                found.append(block)
            before, behind = "", block if block.language == "python" else None
        elif line.strip():
            before = line.strip() if line.startswith("<!-- ") else ""
            behind = behind if before else None
    return found


def _until(lines: Iterator[tuple[int, str]], end: str, indent: int) -> str:
    text: list[str] = []
    for _, line in lines:
        if line.strip() == end:
            return "".join(f"{line[indent:]}\n" for line in text)
        text.append(line)
    raise ValueError(f"a block has no {end!r}")


def matches(expected: str, printed: str) -> bool:
    """Whether the output is as the page says; trailing spaces don't count."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.rstrip().split("...")) + r"\n"
    lines = [line.rstrip() for line in printed.rstrip().splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


class Page:
    """Runs the blocks of one page, one after the other."""

    def __init__(self, name: str, directory: Path, forked: ForkedProgram | None = None) -> None:
        self.name = name
        self.directory = directory
        self.forked = forked
        self.namespace: dict[str, Any] = {"__name__": "__main__"}

    def run(self, block: Block) -> None:
        place = f"{self.name}:{block.line}"
        if block.file is not None:
            path = self.directory / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if block.runner is not None:
                self._call(self.namespace[block.runner](block.text))
            elif block.language == "toml":
                self._check(block, place)
            elif block.language == "console":
                self._console(block.text, place)
            elif block.file is None:
                self._python(block)
        if block.output is not None and not matches(block.output, printed.getvalue()):
            pytest.fail(f"{place} printed\n{printed.getvalue()}\nand not\n{block.output}")

    def _python(self, block: Block) -> None:
        code = compile(
            "\n" * (block.line - 1) + block.text,
            self.name,
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        self._call(eval(code, self.namespace))

    def _call(self, pending: Any) -> None:
        async def finish() -> None:
            with anyio.fail_after(SECONDS):
                await pending

        if inspect.iscoroutine(pending):
            anyio.run(finish)

    def _check(self, block: Block, place: str) -> None:
        path = self.directory / (block.file or "part.toml")
        path.write_text(block.text)
        if mistakes := check(path):
            pytest.fail(f"{place}: " + "\n".join(mistakes))

    def _console(self, text: str, place: str) -> None:
        for command, expected in commands_of(text):
            done = self._done(command)
            if not matches(expected, done.stdout):
                pytest.fail(f"{place}: {command} printed\n{done.stdout}\nand not\n{expected}")

    def _done(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }
        if self.forked is not None and PLAIN.fullmatch(command):
            return self.forked.run(shlex.split(command)[1:], environment, merged=True)
        return subprocess.run(
            command,
            shell=True,
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output after it."""
    first, *parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not first.strip(), "a console block begins with a command"
    for part in parts:
        command, _, output = part.partition("\n")
        yield command, output


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedProgram]:
    with forked_program() as program:
        yield program


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_blocks_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked: ForkedProgram
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    page = Page(str(path), tmp_path, forked)
    for block in blocks_of(path.read_text()):
        if block.reason is None:
            page.run(block)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{name_of(path)}:{block.line}")
        for path in PAGES
        for block in blocks_of(path.read_text())
        if block.reason is not None
    ],
)
def test_blocks_that_do_not_run(block: Block) -> None:
    pytest.skip(str(block.reason))


# The runner itself

EXAMPLE = """
# A page

```python
import anyio
x = 20
```

Later:

```python
await anyio.lowlevel.checkpoint()
print("it is", x + 1)
```

```text
it is ...1
```

<!-- not run: it never ends -->
```python
while True: pass
```

```python
# lib/more.py
y = 3
```

<!-- python
from lib.more import y
def shout(text): print(text.upper())
-->

<!-- run by shout -->
```python
hello
```
```text
HELLO
```

```console
$ python -c "print(1); print(2)"
1
...
$ python -c "print(3)"
3
```
"""


def test_an_example_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    blocks = blocks_of(EXAMPLE)
    assert [block.line for block in blocks if block.reason == "it never ends"] == [22]
    page = Page("example.md", tmp_path)
    for block in blocks:
        if block.reason is None:
            page.run(block)
    assert page.namespace["y"] == 3
    assert len(blocks) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        "```python\nprint(1)\n```\n```text\n2\n```\n",
        "```console\n$ python -c 'print(1)'\n2\n```\n",
        "```python\nprint(1)\n```\n\n```text\n\n```\n",
    ],
)
def test_a_wrong_output_is_found(wrong: str, tmp_path: Path) -> None:
    (block,) = blocks_of(wrong)
    with pytest.raises(pytest.fail.Exception, match="printed\n1"):
        Page("wrong.md", tmp_path).run(block)


def test_a_mistake_in_a_configuration_is_found(tmp_path: Path) -> None:
    (block,) = blocks_of('```toml\n[store]\nuse = "memory"\nmax_event = 1\n```\n')
    with pytest.raises(pytest.fail.Exception, match="max_event"):
        Page("wrong.md", tmp_path).run(block)


def test_an_error_has_the_line_of_the_page(tmp_path: Path) -> None:
    (block,) = blocks_of("\n\n```python\nx = 1\nx / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        Page("wrong.md", tmp_path).run(block)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == ("wrong.md", 5)
