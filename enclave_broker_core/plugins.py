"""Finds plugins, loads those that are allowed, and knows which part is whose."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import importlib_metadata
import pluggy

from . import hookspecs
from .contracts import CONTRACT_VERSION, Command, Component
from .errors import PluginError
from .patterns import Pattern

GROUP = "enclave_broker"

KINDS: Mapping[str, str] = {
    "store": "enclave_session_stores",
    "tools": "enclave_tool_providers",
    "access": "enclave_access_policies",
    "limiter": "enclave_limiters",
    "middleware": "enclave_middleware",
    "runtime": "enclave_runtimes",
    "sink": "enclave_event_sinks",
    "secrets": "enclave_secret_sources",
    "authenticator": "enclave_authenticators",
    "command": "enclave_commands",
    "routes": "enclave_routes",
}

FAIL_CLOSED = frozenset({"store", "access", "limiter", "authenticator"})

# What to install for a part that is not there, by kind and name.
KNOWN_DISTRIBUTIONS: Mapping[tuple[str, str], str] = {
    ("store", "memory"): "enclave-broker-memory",
    ("limiter", "memory"): "enclave-broker-memory",
    ("store", "redis"): "enclave-broker-redis",
    ("limiter", "redis"): "enclave-broker-redis",
    ("store", "sqlite"): "enclave-broker-sqlite",
    ("limiter", "sqlite"): "enclave-broker-sqlite",
    ("runtime", "monty"): "enclave-broker-monty",
    ("runtime", "quickjs"): "enclave-broker-quickjs",
    ("tools", "http"): "enclave-broker-http",
    ("tools", "openapi"): "enclave-broker-openapi",
    ("tools", "mcp"): "enclave-broker-mcp",
    ("sink", "otel"): "enclave-broker-otel",
}


@dataclass(frozen=True)
class Plugin:
    """One plugin: where it comes from, and what became of it.

    ``state`` is "loaded", "blocked", "not allowed" or "failed"; ``error`` says why.
    ``parts`` is kind → names.
    """

    name: str
    distribution: str
    version: str
    state: str
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Choice:
    """Which plugins may load: patterns of names, local files and modules, and blocked names.

    An ``allow`` entry that ends in ``.py`` or contains a ``/`` is a file, relative to
    ``base_dir``. What is in ``optional`` may fail to load.
    """

    allow: Sequence[str] = ("*",)
    block: Sequence[str] = ()
    optional: Sequence[str] = ()
    base_dir: Path = Path(".")


class Plugins:
    """The plugins of one broker: nothing of it is shared with another."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._parts: dict[tuple[str, str], tuple[Any, str]] = {}
        self._found: list[Plugin] = []

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._found)

    def load(self, choice: Choice) -> None:
        """Load every plugin that the choice allows. PluginError names the one that fails."""
        names = [text for text in choice.allow if not _is_file(text)]
        allowed = [Pattern(text) for text in names]
        blocked = [Pattern(text) for text in choice.block]
        seen: set[str] = set()
        for entry in _entry_points():
            name, owner = entry.name, entry.dist.name if entry.dist else "unknown"
            version = entry.dist.version if entry.dist else "?"
            seen.add(name)
            if any(pattern.matches(name) for pattern in blocked):
                self._found.append(Plugin(name, owner, version, "blocked"))
            elif not any(pattern.matches(name) for pattern in allowed):
                self._found.append(Plugin(name, owner, version, "not allowed"))
            else:
                self._load_entry(entry, name, owner, version, name in choice.optional)
        for text in choice.allow:
            if _is_file(text):
                self._register(_module_of(choice.base_dir / text), text, "local file", "-")
            elif Pattern(text).exact and text not in seen:
                self._missing(text, seen, optional=text in choice.optional)

    def add(self, plugin: object, name: str) -> None:
        """Take an object or a module as a plugin, without any packaging."""
        self._register(plugin, name, "given in the program", "-")

    def _load_entry(
        self,
        entry: importlib_metadata.EntryPoint,
        name: str,
        owner: str,
        version: str,
        may_fail: bool,
    ) -> None:
        try:
            try:
                module = entry.load()
            except Exception as problem:
                raise PluginError(
                    f"plugin {name!r} of {owner} {version} did not import:"
                    f" {type(problem).__name__}: {problem}"
                ) from problem
            self._register(module, name, owner, version)
        except PluginError as problem:
            if not may_fail:
                raise
            self._found.append(Plugin(name, owner, version, "failed", error=problem.message))

    def _missing(self, name: str, seen: Iterable[str], *, optional: bool) -> None:
        try:
            module = importlib.import_module(name) if "." in name else None
        except ImportError as problem:
            raise PluginError(f"plugin module {name!r} did not import: {problem}") from problem
        if module is not None:
            self._register(module, name, "local module", "-")
            return
        near = difflib.get_close_matches(name, list(seen), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = (
            f"no installed plugin is named {name!r}{hint}"
            f" (the plugin of that name may be in enclave-broker-{name}: install it)"
        )
        if not optional:
            raise PluginError(message)
        self._found.append(Plugin(name, "-", "-", "failed", error=message))

    def _register(self, plugin: object, name: str, owner: str, version: str) -> None:
        whose = f"plugin {name!r} of {owner}"
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as problem:
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(name=name)
            raise PluginError(f"{whose}: {_hook_problem(problem)}") from problem
        parts: dict[str, tuple[str, ...]] = {}
        try:
            for kind, hook in KINDS.items():
                offered = self._collect(name, hook, whose)
                for part in offered:
                    self._take(kind, part, whose)
                if offered:
                    parts[kind] = tuple(part.name for part in offered)
        except PluginError:
            self._manager.unregister(name=name)
            self._parts = {key: held for key, held in self._parts.items() if held[1] != whose}
            raise
        self._found.append(Plugin(name, owner, version, "loaded", parts))

    def _collect(self, name: str, hook: str, whose: str) -> list[Any]:
        caller = getattr(self._manager.hook, hook)
        offered: list[Any] = []
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name == name:
                try:
                    offered += list(implementation.function())
                except Exception as problem:
                    raise PluginError(
                        f"{whose}: {hook}() failed: {type(problem).__name__}: {problem}"
                    ) from problem
        return offered

    def _take(self, kind: str, part: Any, whose: str) -> None:
        wanted: type[Command | Component] = Command if kind == "command" else Component
        if not isinstance(part, wanted):
            raise PluginError(
                f"{whose}: {KINDS[kind]}() returned {part!r}, which is not a {wanted.__name__}"
            )
        if isinstance(part, Component) and part.contract != CONTRACT_VERSION:
            newer = part.contract > CONTRACT_VERSION
            raise PluginError(
                f"{whose}: its {kind} {part.name!r} is written for contract version"
                f" {part.contract}, this core knows version {CONTRACT_VERSION};"
                f" upgrade {'enclave-broker-core' if newer else 'the plugin'}"
            )
        other = self._parts.get((kind, part.name))
        if other is not None:
            raise PluginError(
                f"{whose} and {other[1]} both offer a {kind} named {part.name!r}; block one of them"
            )
        self._parts[kind, part.name] = (part, whose)

    def find(self, kind: str, name: str) -> Component:
        """The component; PluginError says what is near, or what to install."""
        held = self._parts.get((kind, name))
        if held is not None:
            component: Component = held[0]
            return component
        names = self.names(kind)
        near = difflib.get_close_matches(name, names, n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif (kind, name) in KNOWN_DISTRIBUTIONS:
            hint = f"install {KNOWN_DISTRIBUTIONS[kind, name]}"
        else:
            hint = f"there are: {', '.join(names)}" if names else "no plugin offers one"
        raise PluginError(f"there is no {kind} named {name!r}; {hint}")

    def whose(self, kind: str, name: str) -> str:
        """The plugin and the distribution that a part comes from, in words."""
        return self._parts[kind, name][1]

    def names(self, kind: str) -> list[str]:
        return sorted(name for of_kind, name in self._parts if of_kind == kind)

    def commands(self) -> list[Command]:
        return [part for (kind, _), (part, _) in sorted(self._parts.items()) if kind == "command"]


def _entry_points() -> list[importlib_metadata.EntryPoint]:
    """All entry points of the group, in a fixed order. Nothing is imported yet."""
    found = importlib_metadata.entry_points(group=GROUP)
    unique = {(entry.name, entry.value): entry for entry in found}
    return [unique[key] for key in sorted(unique)]


def _is_file(text: str) -> bool:
    return text.endswith(".py") or "/" in text


def _module_of(path: Path) -> ModuleType:
    name = f"enclave_broker_local_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PluginError(f"there is no plugin file {path}")
    module = importlib.util.module_from_spec(spec)
    # Needed while it is executed, by dataclasses and by pydantic's look-up of hints.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        raise PluginError(
            f"plugin file {path} did not import: {type(problem).__name__}: {problem}"
        ) from problem
    return module


def _hook_problem(problem: Exception) -> str:
    text = str(problem)
    if "unknown hook" in text:
        hook = text.split("'")[1] if "'" in text else "?"
        near = difflib.get_close_matches(hook, KINDS.values(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"it implements a hook that does not exist: {hook}{hint}"
    return text
