"""What the site has besides the folder docs: the READMEs, and links that lead there.

Pages link to each other as files of the repository, so that they can be read on a forge. What a
link leads to that the site does not have is told and not linked.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[(?P<text>[^\[\]]*)\]\((?P<path>[^\s()#:]+)(?P<anchor>#[^\s()]*)?\)")


def readmes(root: Path) -> dict[str, str]:
    """The pages that are made of READMEs, and which."""
    found = {"index.md": "README.md"}
    for path in sorted(root.glob("plugins/*/README.md")):
        found[f"packages/{path.parent.name}.md"] = path.relative_to(root).as_posix()
    return found


def on_config(config: MkDocsConfig) -> None:
    """A star in the navigation is all pages of its folder that it does not name."""
    docs = Path(config.docs_dir)
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    pages |= set(readmes(_root(config)))
    config.nav = _expanded(config.nav, sorted(pages), set(_named(config.nav)))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = _root(config)
    for uri, path in readmes(root).items():
        files.append(File.generated(config, uri, content=(root / path).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    root = _root(config)
    sources = readmes(root)
    pages = {path: uri for uri, path in sources.items()}
    own = page.file.src_uri
    source = sources.get(own, f"docs/{own}")

    def led(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
        uri = path.removeprefix("docs/") if path.startswith("docs/") else None
        uri = uri or pages.get(path) or pages.get(f"{path}/README.md")
        if uri is None and (root / path).exists():
            return link["text"]
        if uri is None:
            return link[0]  # which leads nowhere, and the build says so
        there = posixpath.relpath(uri, posixpath.dirname(own))
        return f"[{link['text']}]({there}{link['anchor'] or ''})"

    parts: list[str] = []
    end = 0
    for block in FENCED.finditer(markdown):
        parts += [LINK.sub(led, markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, LINK.sub(led, markdown[end:])])


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent


def _expanded(entry: Any, pages: Sequence[str], named: Set[str]) -> Any:
    if isinstance(entry, dict):
        return {title: _expanded(below, pages, named) for title, below in entry.items()}
    if not isinstance(entry, list):
        return entry
    found: list[Any] = []
    for one in entry:
        if isinstance(one, str) and one.endswith("/*"):
            folder = one.removesuffix("/*")
            found += [uri for uri in pages if posixpath.dirname(uri) == folder and uri not in named]
        else:
            found.append(_expanded(one, pages, named))
    return found


def _named(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for below in entry.values() if isinstance(entry, dict) else entry:
            yield from _named(below)
