"""A configuration on its way to a broker: read, its plugins loaded, its mistakes found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import importlib_metadata

from . import builtin
from .config import BEFORE_SECRETS, Config
from .config_files import Document
from .distributions import CORE
from .errors import BrokerError, PluginError
from .mistakes import Mistakes
from .plan import Plan, make_plan
from .plugins import Choice, Plugins
from .redaction import Redactor
from .references import Expanded, Lookup, expand


@dataclass
class Draft:
    """What is known of a configuration without opening anything.

    Where there are ``mistakes`` the settings hold defaults and the plan has gaps.
    ``names`` are those of the secrets that it asks for.
    """

    settings: Config
    plugins: Plugins
    plan: Plan
    mistakes: Mistakes
    names: Sequence[str]
    failed_plugins: Sequence[str] = ()

    @property
    def knows_sources(self) -> bool:
        """Whether the secret sources, and so the secrets, can be had."""
        return not self.failed_plugins and not self.mistakes.within(BEFORE_SECRETS)

    def error(self) -> BrokerError:
        """All mistakes; a PluginError when plugins that did not load are the only ones."""
        if self.failed_plugins and len(self.mistakes.texts()) == len(self.failed_plugins):
            return PluginError("; ".join(self.failed_plugins))
        return self.mistakes.error()

    def warnings(self) -> list[str]:
        """What was left out because it is optional, and what is written for old contracts."""
        failed = [plugin.error for plugin in self.plugins if plugin.error is not None]
        return [*failed, *self.plan.skipped, *self.plugins.warnings()]


def draft_of(
    document: Document,
    environment: Mapping[str, str],
    redactor: Redactor,
    given: Sequence[object] = (),
    *,
    plugins: Plugins | None = None,
    secret: Lookup | None = None,
) -> Draft:
    """Check a document as far as that goes without opening anything.

    ``given`` are plugins besides the installed ones; ``plugins`` are all of them, when
    they have been loaded before. ``secret`` looks a secret up; without it, what depends
    on secrets is not judged.
    """
    expanded = expand(document.data, environment, secret, without_secrets=BEFORE_SECRETS)
    mistakes = Mistakes(document, expanded, redactor)
    data, settings = _settings(expanded, mistakes)
    draft = Draft(settings, plugins or Plugins(), Plan(), mistakes, list(expanded.names))
    if plugins is None:
        if mistakes.within(BEFORE_SECRETS - {"secrets"}):
            return draft
        draft.failed_plugins = _load(draft.plugins, settings, document, given)
        for message in draft.failed_plugins:
            mistakes.add(("plugins",), message)
    if not draft.failed_plugins:
        draft.plan = make_plan(settings, data, draft.plugins, mistakes)
    return draft


def plugins_of(
    document: Document, environment: Mapping[str, str], given: Sequence[object] = ()
) -> Plugins:
    """The plugins of a document, those that failed too; ConfigError if it can't say which."""
    expanded = expand(document.data, environment, without_secrets=BEFORE_SECRETS)
    mistakes = Mistakes(document, expanded, Redactor())
    _, settings = _settings(expanded, mistakes)
    if mistakes.within(BEFORE_SECRETS - {"secrets"}):
        raise mistakes.error()
    plugins = Plugins()
    _load(plugins, settings, document, given)
    return plugins


def _settings(expanded: Expanded, mistakes: Mistakes) -> tuple[Mapping[str, Any], Config]:
    """The settings, and the data that they are made from: what is wrong is left out."""
    good = {
        key: value
        for key, value in expanded.data.items()
        if mistakes.validate(Config, {key: value}, ()) is not None
    }
    return good, Config.model_validate(good)


def _load(
    plugins: Plugins, settings: Config, document: Document, given: Sequence[object]
) -> list[str]:
    """Load the core's own plugin, the given ones and the chosen ones; why some failed."""
    plugins.add(builtin, "core", CORE, importlib_metadata.version(CORE))
    failed = []
    for plugin in given:
        name = plugin.__name__ if isinstance(plugin, ModuleType | type) else type(plugin).__name__
        try:
            plugins.add(plugin, name)
        except PluginError as problem:
            failed.append(problem.message)
    choice = Choice(
        allow=settings.plugins,
        block=settings.block_plugins,
        optional=settings.optional_plugins,
        base_dir=document.base_dir,
    )
    return failed + plugins.attempt(choice)
