"""Kinds of values that both tables of the configuration have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.patterns import Pattern


def _pattern(text: str) -> str:
    try:
        Pattern(text)
    except ConfigError as problem:
        raise ValueError(problem.message) from None
    return text


PatternText = Annotated[str, AfterValidator(_pattern)]
"""A pattern of tools' names."""
