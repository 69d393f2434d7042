"""The configuration of a broker: its tables, before any plugin has had its say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from .audit import AuditConfig
from .errors import ConfigError
from .limits import OnError
from .logs import LogSettings
from .models import Frozen, Rate, SessionLimits, SessionSettings
from .modules import is_file
from .patterns import Pattern

# What is read before the secrets are, and so can't hold any.
BEFORE_SECRETS = frozenset({"plugins", "block_plugins", "optional_plugins", "secrets"})

# The keys that choose components: the kind, and whether they hold one table, several or either.
CHOOSING: Mapping[str, tuple[str, Literal["one", "several", "either"]]] = {
    "secrets": ("secrets", "several"),
    "store": ("store", "one"),
    "access": ("access", "either"),
    "tools": ("tools", "several"),
    "middleware": ("middleware", "several"),
    "runtime": ("runtime", "either"),
    "sinks": ("sink", "several"),
    "authenticators": ("authenticator", "several"),
    "routes": ("routes", "several"),
}
# What ``use`` is where it may be left out, by kind.
DEFAULT_USE: Mapping[str, str] = {"store": "memory", "access": "rules"}


class Chosen(Frozen, extra="allow"):
    """A table for one part: ``use`` names its component, the rest is that one's own."""

    use: str = Field(min_length=1)

    @property
    def rest(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class NamedPart(Chosen):
    """A part that has a name of its own; the component's name unless given."""

    name: str | None = Field(default=None, min_length=1)

    @property
    def own_name(self) -> str:
        return self.name or self.use


class StoreTable(Chosen):
    use: str = Field(default=DEFAULT_USE["store"], min_length=1)


class AccessTable(Chosen):
    use: str = Field(default=DEFAULT_USE["access"], min_length=1)


def _pattern(text: str) -> str:
    try:
        Pattern(text)
    except ConfigError as problem:
        raise ValueError(problem.message) from None
    return text


class RateLimitTable(Frozen, populate_by_name=True):
    """``[rate_limit]``. ``backend`` counts; without one, what the store's plugin has for it."""

    global_: Rate | None = Field(default=None, alias="global")
    per_session: Rate | None = None
    per_principal: Rate | None = None
    per_tenant: Rate | None = None
    per_tool: Mapping[str, Rate] = Field(default_factory=dict)
    backend: Chosen | None = None
    on_error: OnError = "deny"

    @field_validator("per_tool")
    @classmethod
    def _patterns(cls, rates: Mapping[str, Rate]) -> Mapping[str, Rate]:
        for text in rates:
            _pattern(text)
        return rates


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, Mapping) else given


# One table or an array of them.
AccessTables = Annotated[tuple[AccessTable, ...], BeforeValidator(_listed)]
RuntimeTables = Annotated[tuple[NamedPart, ...], BeforeValidator(_listed)]


class Config(Frozen):
    """A whole configuration.

    ``plugins`` are names, patterns of names, ``.py`` files and dotted modules that may
    load. ``access`` and ``runtime`` may be one table or several; all policies must allow,
    and the first runtime is the default one. ``secrets`` is ``use = "env"`` unless given.
    ``authenticators``, ``routes`` and ``server`` are for those who put the broker on a
    network; what may stand in ``server`` the server itself says.
    """

    plugins: tuple[str, ...] = ("*",)
    block_plugins: tuple[str, ...] = ()
    optional_plugins: tuple[str, ...] = ()
    secrets: tuple[Chosen, ...] | None = None
    store: StoreTable = StoreTable()
    access: AccessTables = ()
    rate_limit: RateLimitTable = RateLimitTable()
    limits: SessionLimits = SessionLimits()
    sessions: SessionSettings = SessionSettings()
    tools: tuple[NamedPart, ...] = ()
    middleware: tuple[Chosen, ...] = ()
    runtime: RuntimeTables = ()
    audit: AuditConfig | None = None
    sinks: tuple[Chosen, ...] = ()
    authenticators: tuple[Chosen, ...] = ()
    routes: tuple[Chosen, ...] = ()
    logging: LogSettings = LogSettings()
    server: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("plugins", "block_plugins")
    @classmethod
    def _plugin_patterns(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text if is_file(text) else _pattern(text) for text in texts)
