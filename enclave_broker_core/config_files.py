"""Reads a configuration, from files, mappings and variables, and knows where everything stands."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .overlay import WrongVariable, laid, merged, place_of, variable_for, variables_in
from .places import Place, Places, written

Source = str | Path | Mapping[str, Any]
ConfigLike = Source | Sequence[Source] | None

# What a command uses that names no files.
FILES_VARIABLE = "ENCLAVE_BROKER_CONFIG"
DEFAULT_FILE = Path("broker.toml")
# What is said of the option that names them.
FILES_HELP = (
    "The broker's configuration; of several, the later ones go over the earlier."
    f" Else ${FILES_VARIABLE}, else {DEFAULT_FILE} if there is one."
)

_AT = re.compile(r" \(at line (\d+), column \d+\)$")


def chosen_files(named: Sequence[Path] | None) -> list[Path] | None:
    """The files of a command's configuration, None for defaults. ConfigError for a missing one.

    Those that were named, else those in ``$ENCLAVE_BROKER_CONFIG``, parted as in ``$PATH``,
    else ``broker.toml`` in the current directory, if there is one.
    """
    variable = os.environ.get(FILES_VARIABLE, "")
    files = list(named or (Path(name) for name in variable.split(os.pathsep) if name))
    if not files:
        return [DEFAULT_FILE] if DEFAULT_FILE.is_file() else None
    missing = [f"there is no configuration file {path}" for path in files if not path.is_file()]
    if missing:
        raise ConfigError("\n".join(missing), problems=missing)
    return files


@dataclass(frozen=True)
class Origin:
    """Where a value was written: in a line of a file, in a variable, or else in the program."""

    file: str | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None:
            return self.variable
        if self.file is None:
            return "the program"
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Layer:
    """What one file, one mapping or one variable says of the place ``at`` and what is below."""

    data: Any
    file: str | None = None
    places: Places | None = None
    variable: str | None = None
    at: Place = ()

    def holds(self, place: Place) -> bool:
        if place[: len(self.at)] != self.at:
            return False
        data = self.data
        for part in place[len(self.at) :]:
            inside = part in data if isinstance(data, Mapping) else _has_item(data, part)
            if not inside:
                return False
            data = data[part]
        return True

    def names(self, place: Place) -> bool:
        """Whether this is a variable that has the place in its name."""
        return self.variable is not None and self.at[: len(place)] == place

    def origin(self, place: Place) -> Origin:
        line = self.places.line(place) if self.places else None
        return Origin(self.file, line, self.variable)


@dataclass(frozen=True)
class Document:
    """A configuration as it was written, one layer over the other.

    ``base_dir`` is what its paths are relative to: where the first file is. ``problems`` are
    the variables that could not be laid over the rest, each with its place.
    """

    data: Mapping[str, Any]
    name: str = "the configuration"
    base_dir: Path = Path(".")
    layers: tuple[Layer, ...] = ()
    problems: tuple[tuple[Place, str], ...] = ()

    def origin(self, place: Place) -> Origin:
        """Where a place, or what is nearest around it, was written last."""
        number = self._layer(place)
        return Origin() if number is None else self.layers[number].origin(place)

    def order(self, place: Place) -> tuple[int, int]:
        """A key to sort places by: as they stand in the files, then the variables."""
        return (self._layer(place) or 0, self.origin(place).line or 0)

    def locate(self, place: Place) -> str:
        """The place for people: ``broker.toml:12: access.rules[1].pattern``."""
        path, number = written(place), self._layer(place)
        if number is None:
            in_files = any(layer.file is not None for layer in self.layers)
            around = self.name if in_files or not path else ""
        else:
            layer = self.layers[number]
            around = "" if layer.file is layer.variable is None else str(layer.origin(place))
            if layer.names(place):
                return around
        return f"{around}: {path}" if around and path else around or path

    def spelt(self, place: Place, key: str) -> str:
        """How another key at this place is spelt where it stands: a variable has it in its name."""
        number = self._layer(place)
        layer = None if number is None else self.layers[number]
        if layer is None or not layer.names(place):
            return repr(key)
        return variable_for((*place[:-1], key, *layer.at[len(place) :]))

    def _layer(self, place: Place) -> int | None:
        """The number of the layer that wrote a place last, or else what is around it."""
        for length in range(len(place), 0, -1):
            around = place[:length]
            for number, layer in reversed(list(enumerate(self.layers))):
                if layer.holds(around):
                    return number
            # A table that only variables made.
            for number, layer in enumerate(self.layers):
                if layer.at[:length] == around:
                    return number
        return None


def reads_variables(config: ConfigLike) -> bool:
    """Whether environment variables go over this unless somebody says otherwise: over files."""
    return any(not isinstance(source, Mapping) for source in _sources(config))


def read(config: ConfigLike, variables: Mapping[str, str] | None = None) -> Document:
    """The sources in their order, and over them the ``variables`` that begin with the prefix.

    A source is a file's path or a mapping; None has no source at all. ConfigError has the
    file and the line of each source that can't be read.
    """
    layers: list[Layer] = []
    problems: list[str] = []
    for source in _sources(config):
        try:
            layers.append(Layer(source) if isinstance(source, Mapping) else _file(Path(source)))
        except ConfigError as problem:
            problems.append(problem.message)
    if problems:
        raise ConfigError("\n".join(problems), problems=problems)
    data: Mapping[str, Any] = {}
    for layer in layers:
        data = merged(data, layer.data)
    files = [layer.file for layer in layers if layer.file is not None]
    wrong: list[tuple[Place, str]] = []
    for name, keys, value in variables_in(variables or {}):
        try:
            place = place_of(data, keys)
        except WrongVariable as problem:
            wrong.append((keys, str(problem)))
            layers.append(Layer(value, variable=name, at=keys))
        else:
            data = laid(data, place, value)
            layers.append(Layer(value, variable=name, at=place))
    return Document(
        data,
        ", ".join(files) or "the configuration",
        Path(files[0]).parent if files else Path("."),
        tuple(layers),
        tuple(wrong),
    )


def _sources(config: ConfigLike) -> Sequence[Source]:
    if config is None:
        return ()
    return (config,) if isinstance(config, str | Path | Mapping) else config


def _file(path: Path) -> Layer:
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
    return Layer(data, str(path), Places(text))


def _has_item(data: Any, part: str | int) -> bool:
    return isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
