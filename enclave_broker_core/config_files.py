"""Reads a configuration, from a TOML file or a mapping, and knows where everything stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .places import Place, Places, written

_AT = re.compile(r" \(at line (\d+), column \d+\)$")


@dataclass(frozen=True)
class Document:
    """A configuration as it was written. ``base_dir`` is what its paths are relative to."""

    data: Mapping[str, Any]
    name: str = "the configuration"
    base_dir: Path = Path(".")
    places: Places | None = None

    def line(self, place: Place) -> int:
        """The line of a place; 0 when there are none."""
        return (self.places.line(place) if self.places else None) or 0

    def locate(self, place: Place) -> str:
        """The place for people: ``broker.toml:12: access.rules[1].pattern``."""
        path = written(place)
        if self.places is None:
            return path or self.name
        line = self.places.line(place)
        file = self.name if line is None else f"{self.name}:{line}"
        return f"{file}: {path}" if path else file


def read(config: str | Path | Mapping[str, Any] | None) -> Document:
    """A file's path, a mapping, or None for all defaults. ConfigError has file and line."""
    if config is None:
        return Document({})
    if isinstance(config, Mapping):
        return Document(config)
    path = Path(config)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except OSError as problem:
        raise ConfigError(f"{path} can't be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        line = path.read_bytes()[: problem.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8, as TOML is") from None
    text = text.replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        said = str(problem)
        at = _AT.search(said)
        line = int(at[1]) if at else text.count("\n") + 1
        raise ConfigError(f"{path}:{line}: this is not TOML: {_AT.sub('', said)}") from None
    return Document(data, str(path), path.parent, Places(text))
