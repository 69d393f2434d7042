"""Composes stages into one function. It is done once; a call then runs straight through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .calls import ToolCall
from .contracts import CallNext, Middleware

Stage = Callable[[CallNext], CallNext]


def compose(stages: Sequence[Stage], innermost: CallNext) -> CallNext:
    """The stages around ``innermost``, the first of them outermost."""
    chain = innermost
    for stage in reversed(stages):
        chain = stage(chain)
    return chain


def middleware_stage(middleware: Middleware) -> Stage:
    """A middleware ``(call, call_next)`` as a stage."""

    def around(call_next: CallNext) -> CallNext:
        def run(call: ToolCall) -> Any:
            return middleware(call, call_next)

        return run

    return around
