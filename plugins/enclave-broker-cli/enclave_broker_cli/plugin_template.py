"""Makes a plugin of a template: a plugin that works, under another name.

The templates are plugins as they would be for the names ``enclave-broker-example-KIND``, so
that they can be tested, linted and type-checked where they stand. Made is what stands in the
folder of a kind and in the one that all kinds share, with these names replaced; a file that
both have is the kind's and then the shared one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

PREFIX = "enclave-broker-"
SHARED = "shared"

# The kinds that there is a template for, and what such a plugin is.
KINDS: Mapping[str, str] = {
    "store": "A session store",
    "provider": "Tools",
    "policy": "An access policy",
    "limiter": "A limiter",
    "middleware": "A middleware",
    "runtime": "A runtime",
    "sink": "An event sink",
    "secrets": "A secret source",
    "authenticator": "An authenticator",
}

# What would have another meaning under its own name before it is copied.
_DOTTED: Mapping[str, str] = {"gitignore": ".gitignore"}


@dataclass(frozen=True, slots=True)
class Names:
    """How a plugin is called: as a distribution, in Python, and in a configuration."""

    distribution: str
    package: str
    component: str

    @classmethod
    def of(cls, distribution: str, component: str | None = None) -> Names:
        """Those that follow from the normalised name of a distribution."""
        own = distribution.removeprefix(PREFIX)
        return cls(distribution, distribution.replace("-", "_"), component or own)


def files_of(kind: str, names: Names, license: str | None = None) -> dict[str, str]:
    """All files of a new plugin, by their paths in its folder.

    ``license`` is an SPDX expression; without one nothing says what it is.
    """
    folder = resources.files(__package__).joinpath("plugin-templates")
    found: dict[str, str] = {}
    for part in (kind, SHARED):
        for path, text in _files(folder.joinpath(part)):
            place = _renamed(path, part, names)
            found[place] = found.get(place, "") + _renamed(text, part, names)
    project = found["pyproject.toml"].replace("A plugin for", f"{KINDS[kind]} for", 1)
    if license is not None:
        readme = 'readme = "README.md"\n'
        project = project.replace(readme, f'{readme}license = "{license}"\n', 1)
    return found | {"pyproject.toml": project}


def _files(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    """Each file with its path, without what Python and linters leave in a folder."""
    for item in folder.iterdir():
        if item.name == "__pycache__" or item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _files(item, f"{above}{item.name}/")
        else:
            name = _DOTTED.get(item.name, item.name)
            yield f"{above}{name}", item.read_text(encoding="utf-8")


def _renamed(text: str, part: str, names: Names) -> str:
    """A text of the template with the plugin's own names."""
    template = Names.of(f"{PREFIX}example-{part}")
    own = {
        template.distribution: names.distribution,
        template.package: names.package,
        template.component: names.component,
    }
    return re.sub("|".join(own), lambda found: own[found[0]], text)
