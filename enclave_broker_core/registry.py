"""The catalog of tools: an immutable snapshot, swapped whole when anything changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from .contracts import Tool
from .errors import ConfigError
from .models import ToolSpec
from .patterns import Pattern, is_exact
from .routing import Route, RouteTable

LONGEST_EXTERNAL = 64
LONGEST_NAME = 256
_NOT_EXTERNAL = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Catalog:
    """All tools at one moment. A call keeps the catalog that it began with.

    ``external`` is external name → own name, ``external_of`` the other way round.
    """

    version: int = 0
    tools: Mapping[str, Tool] = field(default_factory=dict)
    routes: RouteTable = field(default_factory=lambda: RouteTable(()))
    external: Mapping[str, str] = field(default_factory=dict)
    external_of: Mapping[str, str] = field(default_factory=dict)

    def canonical(self, name: str) -> str:
        """The tool's own name for either of its names; any other name as it is, within bounds."""
        if name in self.tools:
            return name
        name = bounded(name)
        return self.external.get(name, name)

    def find(self, name: str) -> Tool | None:
        """The tool that a call of this name goes to: an exact name, then a pattern."""
        tool = self.tools.get(name)
        return self.routes.find(name) if tool is None else tool

    def specs(self) -> list[ToolSpec]:
        return [tool.spec for tool in self.tools.values()]

    def with_tools(self, more: Mapping[str, Tool]) -> Catalog:
        """This catalog and some tools more, which take no name that is taken here."""
        added = {name: tool for name, tool in more.items() if name not in self.tools}
        outer = external_names(added, taken=self.external)
        return Catalog(
            version=self.version,
            tools=MappingProxyType({**self.tools, **added}),
            routes=self.routes,
            external=MappingProxyType({**self.external, **outer}),
            external_of=MappingProxyType(
                {**self.external_of, **{own: name for name, own in outer.items()}}
            ),
        )


def bounded(name: str) -> str:
    """A name that is not known, as it may stand in errors and events."""
    return name[:LONGEST_NAME].encode("utf-8", "replace").decode()


def external_names(names: Iterable[str], *, taken: Container[str] = ()) -> dict[str, str]:
    """External name → own name, for model APIs that allow only ``[A-Za-z0-9_-]{1,64}``.

    A name that fits is its own external name, and nobody can take it. Of those that
    collide, or are too long, each gets a suffix made from its own name: which one it is
    depends on the names, and not on their order. What is ``taken`` is given to none.
    """
    wanted: dict[str, list[str]] = {}
    for name in sorted(names):
        wanted.setdefault(_NOT_EXTERNAL.sub("_", name), []).append(name)
    external: dict[str, str] = {}
    left: list[str] = []
    for plain, owners in wanted.items():
        for name in owners:
            alone = len(owners) == 1 or name == plain
            if alone and len(plain) <= LONGEST_EXTERNAL and plain not in taken:
                external[plain] = name
            else:
                left.append(name)
    for name in left:
        plain, digest = _NOT_EXTERNAL.sub("_", name), hashlib.sha256(name.encode()).hexdigest()
        # Longer only for a name that was made to look like another's.
        for length in range(8, LONGEST_EXTERNAL):
            chosen = f"{plain[: LONGEST_EXTERNAL - 1 - length]}_{digest[:length]}"
            if chosen not in external and chosen not in taken:
                external[chosen] = name
                break
    return external


CatalogChange = Callable[[Catalog, Catalog], None]


class Registry:
    """Holds the current catalog and makes the next one from what its sources publish.

    A source is a name for where tools come from: "the program" for those of the program
    itself, else a provider's. ConfigError when two sources offer tools of one name. A
    tool whose name is a pattern is a route, whoever offers it.
    """

    def __init__(self) -> None:
        self._current = Catalog()
        self._stale = False
        self._sources: dict[str, dict[str, Tool]] = {}
        self._routes: dict[str, Route] = {}
        self._listener: CatalogChange | None = None

    @property
    def current(self) -> Catalog:
        """The catalog as it is now; made anew only when something changed since."""
        if self._stale:
            self._rebuild()
        return self._current

    def on_change(self, listener: CatalogChange | None) -> None:
        """Call ``listener(old, new)`` after each change from now on; None for nobody any more."""
        if self._stale:
            self._rebuild()
        self._listener = listener

    def publish(self, source: str, tools: Sequence[Tool]) -> None:
        """Replace all that ``source`` offers, in one step."""
        offered: dict[str, Tool] = {}
        for tool in tools:
            if tool.spec.name in offered:
                raise ConfigError(f"{source} offers two tools named {tool.spec.name!r}")
            offered[tool.spec.name] = tool
        self._refuse_taken(source, offered)
        _routes(offered)  # refuses a malformed pattern
        self._sources[source] = offered
        self._swap()

    def replace(self, sources: Mapping[str, Sequence[Tool]], *, keep: str) -> None:
        """Replace what all sources but ``keep`` offer, in one step; nothing on an error."""
        before, listener = self._sources, self._listener
        self._sources = {keep: before[keep]} if keep in before else {}
        self._listener = None
        try:
            for source, tools in sources.items():
                self.publish(source, tools)
        except BaseException:
            self._sources = before
            raise
        finally:
            self._listener = listener
        self._swap()

    def add(self, source: str, tool: Tool) -> None:
        """Add one tool. ConfigError when its name is taken."""
        name = tool.spec.name
        if name in self._sources.get(source, {}):
            raise ConfigError(
                f"there is a tool named {name!r} already; remove_tool({name!r}) takes it away"
            )
        self._refuse_taken(source, {name: tool})
        _routes({name: tool})  # refuses a malformed pattern
        self._sources.setdefault(source, {})[name] = tool
        self._swap()

    def add_route(self, route: Route) -> None:
        """Add a handler of a pattern. ConfigError when the pattern is there already."""
        text = route.pattern.text
        if text in self._routes or any(text in tools for tools in self._sources.values()):
            raise ConfigError(
                f"{text!r} has a handler already; remove_tool({text!r}) takes it away"
            )
        self._routes[text] = route
        self._swap()

    def remove(self, source: str, name: str) -> bool:
        """Take a tool or a pattern away; False when there was none."""
        found = self._routes.pop(name, None) is not None
        found |= self._sources.get(source, {}).pop(name, None) is not None
        if found:
            self._swap()
        return found

    def withdraw(self, source: str) -> None:
        """Take away all that ``source`` offers."""
        if self._sources.pop(source, None):
            self._swap()

    def _refuse_taken(self, source: str, offered: Mapping[str, Tool]) -> None:
        handled = sorted(self._routes.keys() & offered.keys())
        if handled:
            raise ConfigError(f"{', '.join(map(repr, handled))} has a handler already")
        for other, tools in self._sources.items():
            taken = sorted(tools.keys() & offered.keys()) if other != source else []
            if taken:
                raise ConfigError(
                    f"{source} and {other} both offer {', '.join(map(repr, taken))};"
                    " give one of them another name"
                )

    def _swap(self) -> None:
        # Before anybody listens, thousands of tools may be added one by one.
        self._stale = True
        if self._listener is not None:
            old, new = self._current, self.current
            self._listener(old, new)

    def _rebuild(self) -> None:
        tools = {
            name: tool
            for offered in self._sources.values()
            for name, tool in offered.items()
            if is_exact(name)
        }
        external = external_names(tools)
        self._current = Catalog(
            version=self._current.version + 1,
            tools=MappingProxyType(tools),
            routes=RouteTable([*self._routes.values(), *self._published_routes()]),
            external=MappingProxyType(external),
            external_of=MappingProxyType({own: outer for outer, own in external.items()}),
        )
        self._stale = False

    def _published_routes(self) -> list[Route]:
        return [route for offered in self._sources.values() for route in _routes(offered)]


def _routes(offered: Mapping[str, Tool]) -> list[Route]:
    """Of what a source offers, what takes the calls of many names."""
    return [Route(Pattern(name), tool) for name, tool in offered.items() if not is_exact(name)]
