"""Chooses the component of each part that a configuration names, and checks its own table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from .audit import AUDIT
from .commands import server_model
from .config import Chosen, Config, NamedPart
from .contracts import Component
from .errors import PluginError
from .mistakes import Mistakes
from .places import Place, written
from .plugins import Plugins


@dataclass(frozen=True)
class Part:
    """A component with its validated configuration: ready to be opened."""

    kind: str
    component: Component
    config: BaseModel
    name: str
    whose: str
    place: Place


@dataclass
class Plan:
    """All parts of a broker, none of them open. What is None or missing has a mistake."""

    store: Part | None = None
    limiter: Part | None = None
    audit: Part | None = None
    secrets: list[Part] = field(default_factory=list)
    access: list[Part] = field(default_factory=list)
    tools: list[Part] = field(default_factory=list)
    middleware: list[Part] = field(default_factory=list)
    runtimes: list[Part] = field(default_factory=list)
    sinks: list[Part] = field(default_factory=list)
    authenticators: list[Part] = field(default_factory=list)
    routes: list[Part] = field(default_factory=list)
    server: BaseModel | None = None
    skipped: list[str] = field(default_factory=list)

    def parts(self) -> list[Part]:
        """All of them, in the order in which they open."""
        single = [part for part in (self.audit, self.limiter, self.store) if part is not None]
        many = (self.access, self.middleware, self.tools, self.runtimes, self.sinks)
        more = (self.authenticators, self.routes)
        return [*self.secrets, *single, *(part for parts in (*many, *more) for part in parts)]


def make_plan(
    settings: Config, data: Mapping[str, Any], plugins: Plugins, mistakes: Mistakes
) -> Plan:
    """The plan of a configuration; ``data`` is what the settings were made from."""
    return _Planner(settings, data, plugins, mistakes).plan


class _Planner:
    def __init__(
        self, settings: Config, data: Mapping[str, Any], plugins: Plugins, mistakes: Mistakes
    ) -> None:
        self._optional = settings.optional_plugins
        self._plugins = plugins
        self._mistakes = mistakes
        self.plan = plan = Plan()
        sources = (Chosen(use="env"),) if settings.secrets is None else settings.secrets
        plan.secrets = self._many("secrets", sources, "secrets")
        plan.store = self._part("store", settings.store, ("store",), "store")
        plan.limiter = self._limiter(settings)
        plan.audit = self._audit(settings)
        single_policy = isinstance(data.get("access"), Mapping)
        plan.access = self._many("access", settings.access, "access", single=single_policy)
        plan.middleware = self._many("middleware", settings.middleware, "middleware")
        plan.tools = self._named("tools", settings.tools, "tools")
        single_runtime = isinstance(data.get("runtime"), Mapping)
        plan.runtimes = self._named("runtime", settings.runtime, "runtime", single=single_runtime)
        plan.sinks = self._many("sink", settings.sinks, "sinks")
        plan.authenticators = self._many("authenticator", settings.authenticators, "authenticators")
        plan.routes = self._many("routes", settings.routes, "routes")
        model = server_model(plugins.commands())
        if model is not None:
            plan.server = mistakes.validate(model, settings.server, ("server",))

    def _many(
        self, kind: str, tables: Sequence[Chosen], key: str, *, single: bool = False
    ) -> list[Part]:
        places: list[Place] = [(key,) if single else (key, n) for n in range(len(tables))]
        parts = [
            self._part(kind, table, place, written(place))
            for table, place in zip(tables, places, strict=True)
        ]
        return [part for part in parts if part is not None]

    def _named(
        self, kind: str, tables: Sequence[NamedPart], key: str, *, single: bool = False
    ) -> list[Part]:
        parts: list[Part] = []
        first: dict[str, Place] = {}
        for number, table in enumerate(tables):
            place: Place = (key,) if single else (key, number)
            name = table.own_name
            if name in first:
                self._mistakes.add(
                    place, f"{written(first[name])} is named {name!r} too; give one another name"
                )
            first.setdefault(name, place)
            part = self._part(kind, table, place, name)
            parts += [part] if part is not None else []
        return parts

    def _part(self, kind: str, table: Chosen, place: Place, name: str) -> Part | None:
        component = self._component(kind, table.use, place)
        if component is None:
            return None
        rest = table.rest
        if isinstance(table, NamedPart) and "name" in component.config_model.model_fields:
            rest["name"] = table.own_name
        config = self._mistakes.validate(component.config_model, rest, place)
        if config is None:
            return None
        return Part(kind, component, config, name, self._plugins.whose(kind, table.use), place)

    def _component(self, kind: str, use: str, place: Place) -> Component | None:
        try:
            return self._plugins.find(kind, use)
        except PluginError as problem:
            if self._plugins.missing_optional(kind, use, self._optional):
                self.plan.skipped.append(f"{written(place)} is left out: {problem.message}")
            else:
                self._mistakes.add((*place, "use"), problem.message)
        return None

    def _limiter(self, settings: Config) -> Part | None:
        """The backend of the rate limits: what is named, else the store's own, else memory."""
        place: Place = ("rate_limit", "backend")
        chosen = settings.rate_limit.backend
        if chosen is None:
            store = settings.store
            if store.use not in self._plugins.names("limiter"):
                chosen = Chosen(use="memory")
            else:
                known = _keys(self._plugins.find("limiter", store.use).config_model)
                shared = {key: value for key, value in store.rest.items() if key in known}
                chosen = Chosen(use=store.use, **shared)
                # A mistake in what both share is told once, where it stands.
                if self.plan.store is None:
                    return None
        return self._part("limiter", chosen, place, written(place))

    def _audit(self, settings: Config) -> Part | None:
        if settings.audit is None:
            return None
        return Part("sink", AUDIT, settings.audit, "audit", "the core", ("audit",))


def _keys(model: type[BaseModel]) -> set[str]:
    fields = model.model_fields
    return {field.alias for field in fields.values() if field.alias is not None} | set(fields)
