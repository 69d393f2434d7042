"""The configuration of a broker: its tables, before any plugin has had its say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from .audit import AuditConfig
from .limits import OnError
from .logs import LogSettings
from .models import Frozen, Rate, SessionLimits, SessionSettings
from .modules import is_file
from .patterns import pattern_text

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
    """The component that plays this part; the rest of the table is that one's own."""

    @property
    def rest(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class NamedPart(Chosen):
    """A part that has a name of its own."""

    name: str | None = Field(default=None, min_length=1)
    """Its own name; the component's unless given."""

    @property
    def own_name(self) -> str:
        return self.name or self.use


class StoreTable(Chosen):
    use: str = Field(default=DEFAULT_USE["store"], min_length=1)


class AccessTable(Chosen):
    use: str = Field(default=DEFAULT_USE["access"], min_length=1)


class RateLimitTable(Frozen, populate_by_name=True):
    """``[rate_limit]``: windows; a call must find room in all that it falls under."""

    global_: Rate | None = Field(default=None, alias="global")
    """For all calls together."""
    per_session: Rate | None = None
    """For each session."""
    per_principal: Rate | None = None
    """For each principal, id and tenant together."""
    per_tenant: Rate | None = None
    """For each tenant."""
    per_tool: Mapping[str, Rate] = Field(default_factory=dict)
    """For all calls of the tools that a pattern matches, by pattern."""
    backend: Chosen | None = None
    """What counts; without one, the limiter of the store's own plugin."""
    on_error: OnError = "deny"
    """What becomes of calls while the backend fails: they are refused, or go uncounted."""

    @field_validator("per_tool")
    @classmethod
    def _patterns(cls, rates: Mapping[str, Rate]) -> Mapping[str, Rate]:
        for text in rates:
            pattern_text(text)
        return rates


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, Mapping) else given


# One table or an array of them.
AccessTables = Annotated[tuple[AccessTable, ...], BeforeValidator(_listed)]
RuntimeTables = Annotated[tuple[NamedPart, ...], BeforeValidator(_listed)]


class Config(Frozen):
    """A whole configuration."""

    plugins: tuple[str, ...] = ("*",)
    """Which plugins may load: names, patterns of names, ``.py`` files and dotted modules."""
    block_plugins: tuple[str, ...] = ()
    """Names or patterns of plugins that may not."""
    optional_plugins: tuple[str, ...] = ()
    """Plugins that may fail to load; any other that fails stops the start."""
    secrets: tuple[Chosen, ...] | None = None
    """Where secrets are looked up, in this order; the environment unless given."""
    store: StoreTable = StoreTable()
    """Where sessions, events and histories are kept."""
    access: AccessTables = ()
    """Who may use which tool: one policy, or several that must all allow."""
    rate_limit: RateLimitTable = RateLimitTable()
    """How many calls there may be in a time, by session, principal, tenant and tool."""
    limits: SessionLimits = SessionLimits()
    """The limits of a session that asks for no others."""
    sessions: SessionSettings = SessionSettings()
    """How many sessions there may be, who sees all, and what holds for durable ones."""
    tools: tuple[NamedPart, ...] = ()
    """Where tools come from."""
    middleware: tuple[Chosen, ...] = ()
    """Wrappers of every call, the first outermost."""
    runtime: RuntimeTables = ()
    """Where agents' code runs: one runtime, or several of which the first is the default."""
    audit: AuditConfig | None = None
    """Who called what and was told what, as JSON lines; not written unless given."""
    sinks: tuple[Chosen, ...] = ()
    """Others that see every call."""
    authenticators: tuple[Chosen, ...] = ()
    """Who callers are: each is asked in this order, when the broker is on a network."""
    routes: tuple[Chosen, ...] = ()
    """Pages of plugins on the server."""
    logging: LogSettings = LogSettings()
    """How the ``enclave-broker`` program logs."""
    server: Mapping[str, Any] = Field(default_factory=dict)
    """The broker on a network; what may stand here the server itself says."""

    @field_validator("plugins", "block_plugins")
    @classmethod
    def _plugin_patterns(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text if is_file(text) else pattern_text(text) for text in texts)
