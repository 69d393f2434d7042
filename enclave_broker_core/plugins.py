"""Finds plugins, loads those that are allowed, and knows which part is whose."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import importlib_metadata
import pluggy

from . import hookspecs
from .commands import Command
from .contract_versions import CONTRACTS, Contract, Maker, deprecation, require_taken
from .contracts import Component
from .distributions import KNOWN_DISTRIBUTIONS
from .errors import PluginError
from .modules import import_file, is_file
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

# A kind as people say it, where its key would not do.
WORDS: Mapping[str, str] = {
    "store": "session store",
    "tools": "tool provider",
    "access": "access policy",
    "sink": "event sink",
    "secrets": "secret source",
}

# The kinds that are never optional: without one of them the broker would let too much pass.
FAIL_CLOSED = frozenset({"store", "access", "limiter", "authenticator"})


@dataclass(frozen=True)
class Plugin:
    """One plugin: where it comes from, and what became of it.

    ``state`` is "loaded", "blocked", "not allowed" or "failed"; ``error`` says why.
    ``parts`` is kind → names. What is ``optional`` may have failed. ``warnings`` say which
    parts are written for deprecated versions of their contracts, and what to upgrade.
    """

    name: str
    distribution: str
    version: str
    state: str
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None
    optional: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """Which plugins may load: patterns of names, local files and modules, and blocked names.

    An ``allow`` entry that ends in ``.py`` or contains a ``/`` is a file, relative to
    ``base_dir``; one with a dot in it that is no plugin's name is a module. What is in
    ``optional`` may fail to load.
    """

    allow: Sequence[str] = ("*",)
    block: Sequence[str] = ()
    optional: Sequence[str] = ()
    base_dir: Path = Path(".")


class Plugins:
    """The plugins of one broker: nothing of it is shared with another."""

    def __init__(self, contracts: Mapping[str, Contract] = CONTRACTS) -> None:
        self._contracts = contracts
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._parts: dict[tuple[str, str], tuple[Any, str]] = {}
        self._found: list[Plugin] = []

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._found)

    def warnings(self) -> list[str]:
        """What is said of the plugins that work, and will not for ever."""
        return [line for plugin in self._found for line in plugin.warnings]

    def load(self, choice: Choice) -> None:
        """Load every plugin that the choice allows. PluginError names all that fail."""
        failed = self.attempt(choice)
        if failed:
            raise PluginError("; ".join(failed))

    def attempt(self, choice: Choice) -> list[str]:
        """Load what can be loaded; why the others failed, those that are not optional."""
        allowed = [Pattern(text) for text in choice.allow if not is_file(text)]
        blocked = [Pattern(text) for text in choice.block if not is_file(text)]
        seen: list[str] = []
        before = len(self._found)
        for name, load, owner, version in _entry_points():
            seen.append(name)
            if any(pattern.matches(name) for pattern in blocked):
                self._found.append(Plugin(name, owner, version, "blocked"))
            elif not any(pattern.matches(name) for pattern in allowed):
                self._found.append(Plugin(name, owner, version, "not allowed"))
            else:
                self._try(load, name, owner, version, choice)
        for text in dict.fromkeys(choice.allow):
            if text in choice.block:
                if text not in seen:
                    self._found.append(Plugin(text, "-", "-", "blocked"))
            elif is_file(text):
                file = partial(import_file, choice.base_dir / text)
                self._try(file, text, "a local file", "-", choice)
            elif Pattern(text).exact and text not in seen:
                if "." in text:
                    module = partial(importlib.import_module, text)
                    self._try(module, text, "a local module", "-", choice)
                else:
                    self._missing(text, seen, optional=text in choice.optional)
        return [
            plugin.error
            for plugin in self._found[before:]
            if plugin.error is not None and not plugin.optional
        ]

    def add(
        self, plugin: object, name: str, owner: str = "the program", version: str = "-"
    ) -> None:
        """Take an object or a module as a plugin, without any packaging."""
        self._register(plugin, name, owner, version)

    def _try(
        self, load: Callable[[], object], name: str, owner: str, version: str, choice: Choice
    ) -> None:
        whose = _whose(name, owner, version)
        try:
            try:
                plugin = load()
            except PluginError as problem:
                raise PluginError(f"{whose}: {problem.message}") from problem
            except Exception as problem:
                raise PluginError(
                    f"{whose} did not import: {type(problem).__name__}: {problem}"
                ) from problem
            self._register(plugin, name, owner, version)
        except PluginError as problem:
            optional = name in choice.optional
            self._found.append(
                Plugin(name, owner, version, "failed", error=problem.message, optional=optional)
            )

    def _missing(self, name: str, seen: Sequence[str], *, optional: bool) -> None:
        near = difflib.get_close_matches(name, seen, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = (
            f"no installed plugin is named {name!r}{hint}"
            f" (the plugin of that name may be in enclave-broker-{name}: install it)"
        )
        self._found.append(Plugin(name, "-", "-", "failed", error=message, optional=optional))

    def _register(self, plugin: object, name: str, owner: str, version: str) -> None:
        whose = _whose(name, owner, version)
        holder = self._manager.get_plugin(name)
        if holder is not None and holder is not plugin:
            other = next(p for p in self._found if p.name == name and p.state == "loaded")
            raise PluginError(
                f"{whose} and {_whose(name, other.distribution, other.version)} have one name;"
                " block it or uninstall one of them"
            )
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as problem:
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(name=name)
            raise PluginError(f"{whose}: {_hook_problem(problem)}") from problem
        if not self._manager.get_hookcallers(plugin):
            self._manager.unregister(name=name)
            raise PluginError(f"{whose} implements no hook; mark its functions with @hookimpl")
        maker = Maker(whose, None if version == "-" else owner)
        parts: dict[str, tuple[str, ...]] = {}
        warnings: list[str] = []
        try:
            for kind, hook in KINDS.items():
                offered = self._collect(name, hook, whose)
                for part in offered:
                    self._take(kind, part, maker)
                if offered:
                    parts[kind] = tuple(part.name for part in offered)
                    warnings += self._deprecated(kind, offered, maker)
        except PluginError:
            self._manager.unregister(name=name)
            self._parts = {key: held for key, held in self._parts.items() if held[1] != whose}
            raise
        self._found.append(Plugin(name, owner, version, "loaded", parts, warnings=tuple(warnings)))

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

    def _deprecated(self, kind: str, offered: Sequence[Any], maker: Maker) -> Iterator[str]:
        by_version: dict[int, list[str]] = {}
        for part in offered:
            if isinstance(part, Component):
                by_version.setdefault(part.contract, []).append(part.name)
        for number, names in sorted(by_version.items()):
            said = deprecation(self._contracts[kind], number, names, _word(kind), maker)
            if said is not None:
                yield said

    def _take(self, kind: str, part: Any, maker: Maker) -> None:
        whose = maker.whose
        wanted: type[Command | Component] = Command if kind == "command" else Component
        if not isinstance(part, wanted):
            raise PluginError(
                f"{whose}: {KINDS[kind]}() returned {part!r}, which is not a {wanted.__name__}"
            )
        if isinstance(part, Component):
            contract = self._contracts[kind]
            require_taken(contract, part.contract, f"{_word(kind)} {part.name!r}", maker)
        other = self._parts.get((kind, part.name))
        if other is not None:
            raise PluginError(
                f"{other[1]} and {whose} both offer {_a(_word(kind))} named {part.name!r};"
                " block one of them"
            )
        if isinstance(part, Component):
            part = self._contracts[kind].adapted(part)
        self._parts[kind, part.name] = (part, whose)

    def find(self, kind: str, name: str) -> Component:
        """The component; PluginError says what is near, or what to install."""
        held = self._parts.get((kind, name))
        if held is not None:
            component: Component = held[0]
            return component
        raise PluginError(f"there is no {_word(kind)} named {name!r}; {self._hint(kind, name)}")

    def _hint(self, kind: str, name: str) -> str:
        for plugin in self._found:
            if plugin.state != "loaded" and _may_offer(plugin, kind, name):
                whose = _whose(plugin.name, plugin.distribution, plugin.version)
                return plugin.error or f"{whose} is {plugin.state}"
        if (kind, name) in KNOWN_DISTRIBUTIONS:
            return f"install {KNOWN_DISTRIBUTIONS[kind, name]}"
        installed = self.names(kind)
        known = [known for of_kind, known in KNOWN_DISTRIBUTIONS if of_kind == kind]
        near = difflib.get_close_matches(name, {*installed, *known}, n=1)
        if near and near[0] in installed:
            return f"did you mean {near[0]!r}?"
        if near:
            return f"did you mean {near[0]!r}, of {KNOWN_DISTRIBUTIONS[kind, near[0]]}?"
        return f"there are: {', '.join(installed)}" if installed else "no plugin offers one"

    def missing_optional(self, kind: str, name: str, optional: Sequence[str]) -> bool:
        """Whether a part is missing because a plugin that is marked optional did not load.

        Never so for stores, access policies, limiters and authenticators.
        """
        if kind in FAIL_CLOSED or (kind, name) in self._parts:
            return False
        loaded = {plugin.name for plugin in self._found if plugin.state == "loaded"}
        return any(
            _may_offer(Plugin(text, "-", "-", "failed"), kind, name)
            for text in optional
            if text not in loaded
        )

    def whose(self, kind: str, name: str) -> str:
        """The plugin and the distribution that a part comes from, in words."""
        return self._parts[kind, name][1]

    def names(self, kind: str) -> list[str]:
        return sorted(name for of_kind, name in self._parts if of_kind == kind)

    def commands(self) -> list[Command]:
        return [part for (kind, _), (part, _) in sorted(self._parts.items()) if kind == "command"]


def _entry_points() -> list[tuple[str, Callable[[], object], str, str]]:
    """Name, import, distribution and version of each, in a fixed order; nothing is imported."""
    found = importlib_metadata.entry_points(group=GROUP)
    unique = {(entry.name, entry.value): entry for entry in found}
    return [(key[0], entry.load, *_origin(entry.dist)) for key, entry in sorted(unique.items())]


def _origin(dist: importlib_metadata.Distribution | None) -> tuple[str, str]:
    # Taken once: the whole file is parsed whenever it is asked for.
    metadata = dist.metadata if dist else {"Name": "unknown", "Version": "?"}
    return metadata["Name"], metadata["Version"]


def _may_offer(plugin: Plugin, kind: str, name: str) -> bool:
    """Whether a plugin that did not load would offer a part: by its name, all there is."""
    known = KNOWN_DISTRIBUTIONS.get((kind, name))
    return plugin.name == name or known in (plugin.distribution, f"enclave-broker-{plugin.name}")


def _whose(name: str, owner: str, version: str) -> str:
    return f"plugin {name!r} of {owner}{'' if version == '-' else f' {version}'}"


def _word(kind: str) -> str:
    return WORDS.get(kind, kind)


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _hook_problem(problem: Exception) -> str:
    text = str(problem)
    if "unknown hook" in text:
        hook = text.split("'")[1] if "'" in text else "?"
        near = difflib.get_close_matches(hook, KINDS.values(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"it implements a hook that does not exist: {hook}{hint}"
    return text
