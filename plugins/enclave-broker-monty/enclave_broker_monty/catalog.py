"""The tools of a session as the sandbox sees them, made anew only when they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.models import ToolSpec

from .signatures import Signature, signatures
from .stubs import module_stubs


@dataclass(frozen=True, slots=True)
class ToolModule:
    """The functions of the module ``tools`` and, for the type checker, their stubs."""

    functions: Mapping[str, Signature]
    stubs: str | None


class Catalog:
    """``current`` is the module of the tools that the session may use now."""

    def __init__(self, host: RuntimeHost, *, with_stubs: bool) -> None:
        self._host = host
        self._with_stubs = with_stubs
        self._tools: dict[str, ToolSpec] | None = None
        self._module = ToolModule({}, None)

    def current(self) -> ToolModule:
        tools = self._host.tools()
        if self._tools is None or not _same(self._tools, tools):
            functions = signatures(tools)
            stubs = module_stubs(functions) if self._with_stubs else None
            self._tools = dict(tools)
            self._module = ToolModule(functions, stubs)
        return self._module


def _same(one: Mapping[str, ToolSpec], other: Mapping[str, ToolSpec]) -> bool:
    """Whether these are the same objects: specs are immutable, and comparing them is slow."""
    return len(one) == len(other) and all(other.get(name) is spec for name, spec in one.items())
