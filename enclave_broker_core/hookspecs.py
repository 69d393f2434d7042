"""The hooks of a plugin: one for each kind of part, called once while a broker is built.

Each hook is synchronous, takes nothing and returns the components of its kind that the
plugin offers. Which of them are used, and in which order, is decided by configuration.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from .commands import Command
from .contracts import Component

PROJECT = "enclave_broker"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks the function of a plugin that implements the hook of its name."""


@hookspec
def enclave_session_stores() -> Iterable[Component]:
    """Stores for sessions, events and histories: ``open`` yields a SessionStore."""
    raise NotImplementedError


@hookspec
def enclave_tool_providers() -> Iterable[Component]:
    """Sources of tools, named by ``use`` in ``[[tools]]``: ``open`` yields a ToolProvider."""
    raise NotImplementedError


@hookspec
def enclave_access_policies() -> Iterable[Component]:
    """Policies for ``[access]``: ``open`` yields an AccessPolicy."""
    raise NotImplementedError


@hookspec
def enclave_limiters() -> Iterable[Component]:
    """Backends for ``[rate_limit]``: ``open`` yields a Limiter."""
    raise NotImplementedError


@hookspec
def enclave_middleware() -> Iterable[Component]:
    """Wrappers of every call, for ``[[middleware]]``: ``open`` yields a Middleware."""
    raise NotImplementedError


@hookspec
def enclave_runtimes() -> Iterable[Component]:
    """Sandboxes for code, for ``[runtime]``: ``open`` yields a Runtime."""
    raise NotImplementedError


@hookspec
def enclave_event_sinks() -> Iterable[Component]:
    """Observers of calls and sessions, for ``[[sinks]]``: ``open`` yields an EventSink."""
    raise NotImplementedError


@hookspec
def enclave_secret_sources() -> Iterable[Component]:
    """Places where secrets are kept, for ``[[secrets]]``: ``open`` yields a SecretSource."""
    raise NotImplementedError


@hookspec
def enclave_authenticators() -> Iterable[Component]:
    """Ways to find out who calls, for ``[[authenticators]]``: ``open`` yields an Authenticator."""
    raise NotImplementedError


@hookspec
def enclave_commands() -> Iterable[Command]:
    """Commands of the ``enclave-broker`` program."""
    raise NotImplementedError


@hookspec
def enclave_routes() -> Iterable[Component]:
    """Routes for the HTTP face: ``open`` yields a sequence of ASGI routes."""
    raise NotImplementedError
