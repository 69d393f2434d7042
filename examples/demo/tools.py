"""Tools over real data: the distributions that are installed where the demo runs."""

from __future__ import annotations

import hashlib
import re
from importlib import metadata
from pathlib import Path
from typing import TypedDict

from enclave_broker_core import tool


class Installed(TypedDict):
    name: str
    version: str


class File(TypedDict):
    """``size`` is in bytes."""

    path: str
    size: int


def normal(name: str) -> str:
    """The form in which names of distributions are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


@tool("dist:list", read_only=True)
def list_distributions() -> list[Installed]:
    """All installed distributions."""
    found = {normal(dist.name): dist.version for dist in metadata.distributions()}
    return [Installed(name=name, version=found[name]) for name in sorted(found)]


@tool("dist:requires", read_only=True)
def requires(name: str) -> list[str]:
    """The names of what a distribution needs, without what only its extras need."""
    lines = metadata.distribution(name).requires or []
    needed = [re.match(r"[\w.-]+", line) for line in lines if "extra ==" not in line]
    return sorted({normal(found[0]) for found in needed if found})


@tool("dist:files", read_only=True)
def files(name: str, limit: int = 3) -> list[File]:
    """The largest files of a distribution, the largest first."""
    paths = [(str(path), Path(str(path.locate()))) for path in metadata.files(name) or []]
    sizes = [File(path=name, size=path.stat().st_size) for name, path in paths if path.is_file()]
    return sorted(sizes, key=lambda file: (-file["size"], file["path"]))[:limit]


@tool("dist:remove")
def remove(name: str) -> None:
    """Remove a distribution. The demo's rules let nobody but an admin do this."""
    raise NotImplementedError("and not even an admin, in a demo")


@tool("disk:digest", read_only=True)
def digest(name: str, path: str) -> str:
    """The SHA-256 of one file of a distribution."""
    for file in metadata.files(name) or []:
        if str(file) == path:
            return hashlib.sha256(Path(str(file.locate())).read_bytes()).hexdigest()
    raise LookupError(f"{name} has no file {path}")
