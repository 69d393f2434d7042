"""Tools from a Python module: functions marked by ``@tool``, named in a configuration."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, Unpack, cast

from pydantic import Field

from .contracts import Component, OpenContext, Publish, Tool, ToolProvider
from .declaration import ToolOptions, declare
from .errors import ConfigError, PluginError
from .models import Frozen
from .modules import import_file, is_file
from .routing import Route
from .threads import Threads

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

ATTRIBUTE = "__enclave_broker_tools__"


@dataclass(frozen=True, slots=True)
class ToolDeclaration:
    """What ``@tool`` notes on a function: it changes nothing else about it."""

    name: str
    options: ToolOptions


def tool(name: str, **options: Unpack[ToolOptions]) -> Callable[[HandlerT], HandlerT]:
    """Mark a function as a tool for ``[[tools]] use = "python"``.

    The options are those of ``Broker.tool``. Nothing is registered anywhere: a
    configuration that names the module takes the marked functions. Mark one twice for
    two names.
    """

    def mark(handler: HandlerT) -> HandlerT:
        before: tuple[ToolDeclaration, ...] = getattr(handler, ATTRIBUTE, ())
        setattr(handler, ATTRIBUTE, (*before, ToolDeclaration(name, options)))
        return handler

    return mark


class PythonToolsConfig(Frozen):
    """Tools that are functions of a Python module."""

    module: str = Field(min_length=1)
    """A dotted module, or a ``.py`` file relative to the configuration."""
    prefix: str = ""
    """What is put before each tool's name."""


class PythonTools:
    """The marked functions of one module, in the order in which they are defined.

    A package also offers what it imports from its own submodules; what a module imports
    from elsewhere is not its own to offer.
    """

    def __init__(self, module: ModuleType, source: str, prefix: str = "") -> None:
        threads = Threads()
        self._tools: list[Tool] = []
        for handler, declared in _marked(module):
            options = cast("ToolOptions", {**declared.options, "source": source})
            made = declare(prefix + declared.name, handler, threads, options)
            self._tools.append(made.tool if isinstance(made, Route) else made)
        if not self._tools:
            raise ConfigError('it has no tools: mark its functions with @tool("name")')

    async def tools(self) -> Sequence[Tool]:
        return tuple(self._tools)

    async def watch(self, publish: Publish) -> None:
        """A module that is imported does not change."""


def _marked(module: ModuleType) -> list[tuple[Callable[..., Any], ToolDeclaration]]:
    found: list[tuple[Callable[..., Any], ToolDeclaration]] = []
    seen: set[int] = set()
    for item in vars(module).values():
        home = getattr(item, "__module__", None) or ""
        own = home == module.__name__ or home.startswith(f"{module.__name__}.")
        if own and id(item) not in seen:
            seen.add(id(item))
            found += [(item, declared) for declared in getattr(item, ATTRIBUTE, ())]
    return found


def _import(text: str, base_dir: str) -> ModuleType:
    if is_file(text):
        return import_file(Path(base_dir) / text)
    try:
        return importlib.import_module(text)
    except Exception as problem:
        raise PluginError(
            f"the module {text!r} did not import: {type(problem).__name__}: {problem}"
        ) from problem


@asynccontextmanager
async def open_python_tools(
    config: PythonToolsConfig, context: OpenContext
) -> AsyncIterator[ToolProvider]:
    module = _import(config.module, context.base_dir)
    try:
        tools = PythonTools(module, context.name, config.prefix)
    except ConfigError as problem:
        raise ConfigError(f"{config.module}: {problem.message}") from None
    yield tools


PYTHON = Component("python", open_python_tools, PythonToolsConfig)
