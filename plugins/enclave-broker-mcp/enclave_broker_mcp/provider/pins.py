"""Which tools were accepted, and what they were when they were: a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.models import Frozen

from .config import McpConfig
from .definitions import Definition

VERSION = 1

Stamp = tuple[int, int, int] | None
"""By what a file is known to be another than it was; None when there is none."""


class _Pin(Frozen):
    digest: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, Any]


class _File(Frozen):
    version: int
    tools: dict[str, _Pin]


class PinFile:
    """The file of one server. It holds whole definitions, so that a change can be shown."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, config: McpConfig, base_dir: str) -> PinFile | None:
        """The server's, if its tools are pinned."""
        if not config.pin:
            return None
        return cls(Path(base_dir, config.pin_file or f"{config.name}.pins.json"))

    def stamp(self) -> Stamp:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> Mapping[str, Definition]:
        """What was accepted, by name; nothing when there is no file.

        ConfigError for what is no such file, and when a digest is not that of its tool.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as problem:
            raise ConfigError(f"{self.path} can't be read: {problem.strerror}") from None
        try:
            held = _File.model_validate_json(text)
        except ValidationError:
            raise ConfigError(f"{self.path} is no file of accepted tools") from None
        if held.version != VERSION:
            raise ConfigError(f"{self.path} has the version {held.version}, {VERSION} is known")
        accepted = {}
        for name, pin in held.tools.items():
            one = Definition(
                name, pin.description, pin.input_schema, pin.output_schema, pin.annotations
            )
            if not one.is_json or one.digest != pin.digest:
                raise ConfigError(f"{self.path}: the digest of {name} is not that of what it holds")
            accepted[name] = one
        return accepted

    def write(self, accepted: Iterable[Definition]) -> None:
        """Replace the file, in one step: who reads it meanwhile has the old or the new one."""
        pins = {
            one.name: _Pin(
                digest=one.digest,
                description=one.description,
                input_schema=dict(one.input_schema),
                output_schema=None if one.output_schema is None else dict(one.output_schema),
                annotations=dict(one.annotations),
            )
            for one in sorted(accepted, key=lambda one: one.name)
        }
        text = to_json(_File(version=VERSION, tools=pins), indent=2) + b"\n"
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        except OSError as problem:
            raise ConfigError(f"{self.path} can't be written: {problem.strerror}") from None
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # It holds no secret, and others may have to read it.
            Path(name).chmod(0o644)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
