"""What of a server's tools is not as it was accepted, so that a person can judge it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from enclave_broker_core.build import open_one
from enclave_broker_core.errors import ConfigError, PluginError

from .definitions import Definition
from .pins import PinFile
from .provider import McpProvider
from .texts import is_hidden


@dataclass(frozen=True)
class Review:
    """``before`` is what was accepted, ``now`` what the server lists. ``chosen`` are the names
    that this is about: all that are new, changed or gone, or some of them.
    """

    server: str
    file: PinFile
    before: Mapping[str, Definition]
    now: Mapping[str, Definition]
    chosen: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return self.chosen

    @property
    def is_empty(self) -> bool:
        return not self.chosen

    def only(self, names: set[str]) -> Review:
        return replace(self, chosen=self.chosen & names)

    @property
    def new(self) -> list[str]:
        return sorted(name for name in self.chosen if name not in self.before)

    @property
    def changed(self) -> list[str]:
        return sorted(name for name in self.chosen if name in self.before and name in self.now)

    @property
    def gone(self) -> list[str]:
        return sorted(name for name in self.chosen if name not in self.now)

    def accept(self) -> None:
        """Write what is chosen as it is now, and all else as it was accepted."""
        chosen = {name: self.now[name] for name in self.chosen if name in self.now}
        kept = {name: one for name, one in self.before.items() if name not in self.chosen}
        self.file.write({**kept, **chosen}.values())

    def summary(self) -> str:
        counts = (("new", self.new), ("changed", self.changed), ("gone", self.gone))
        return ", ".join(f"{len(names)} {what}" for what, names in counts if names)

    def as_json(self, accepted: bool) -> dict[str, Any]:
        return {
            "server": self.server,
            "file": str(self.file.path),
            "accepted": accepted,
            "new": [self.now[name].as_json for name in self.new],
            "changed": [
                {"before": self.before[name].as_json, "now": self.now[name].as_json}
                for name in self.changed
            ],
            "gone": self.gone,
        }

    def lines(self) -> Iterator[str]:
        """For a terminal, which nothing of this can steer; what can't be seen is spelt out."""
        if self.is_empty:
            yield f"{self.server}: all tools are as they were accepted"
            return
        yield f"{self.server}: {self.summary()}"
        for name in self.new:
            yield from ("", f"new: {name}")
            yield from (f"+ {line}" for line in _written(self.now[name]))
        for name in self.changed:
            yield from ("", f"changed: {name}")
            yield from _difference(self.before[name], self.now[name])
        for name in self.gone:
            yield from ("", f"gone: {name}")
        yield ""


async def look(config: Sequence[Path] | None, name: str) -> Review:
    """Start a server of the configuration and compare. ConfigError when it has no pins."""
    paths = None if config is None else list(config)
    async with open_one(paths, "tools", name, environment=True) as provider:
        if not isinstance(provider, McpProvider):
            raise ConfigError(f"{name} is no MCP server")
        return review_of(name, provider)


def review_of(name: str, provider: McpProvider) -> Review:
    if provider.pins is None:
        raise ConfigError(f"the tools of {name} are not pinned: its table has no 'pin = true'")
    if provider.health.state != "healthy":
        raise PluginError(f"{name} can't be looked at: {provider.health.reason}")
    before = provider.pins.read()
    now = {one.definition.name: one.definition for one in provider.listed}
    differ = {
        one
        for one in {*before, *now}
        if one not in before or one not in now or before[one].digest != now[one].digest
    }
    return Review(name, provider.pins, before, now, frozenset(differ))


def _written(one: Definition) -> list[str]:
    """All that the digest is made of; a description with its own lines."""
    rest = {key: value for key, value in one.as_json.items() if key not in ("name", "description")}
    rest = {key: value for key, value in rest.items() if value}
    text = json.dumps(rest, indent=2, sort_keys=True, ensure_ascii=False)
    return [_shown(line) for line in (*one.description.split("\n"), *text.split("\n"))]


def _difference(before: Definition, now: Definition) -> Iterator[str]:
    compared = difflib.unified_diff(_written(before), _written(now), lineterm="", n=3)
    # The first two lines are for files. By their place: what a server wrote may begin like them.
    yield from (line for line in islice(compared, 2, None) if not line.startswith("@@"))


def _shown(text: str) -> str:
    """With what nobody sees, and what would steer a terminal, as its number."""
    return "".join(
        f"\\u{{{ord(char):x}}}" if is_hidden(char) or char == "\t" else char for char in text
    )
