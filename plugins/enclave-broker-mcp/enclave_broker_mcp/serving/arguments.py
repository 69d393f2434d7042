"""What the server's own tools take; a mistake is told as that of any other tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError

from enclave_broker_core.functions import arguments_error
from enclave_broker_core.models import Frozen


class OwnArguments(Frozen):
    """The base of them: nothing else is taken, and nothing is converted."""

    model_config = ConfigDict(strict=True)

    @classmethod
    def of(cls, tool: str, given: Mapping[str, Any]) -> Self:
        """ArgumentsError, which names each wrong field."""
        try:
            return cls.model_validate(dict(given))
        except ValidationError as problem:
            raise arguments_error(tool, problem) from None


class Search(OwnArguments):
    query: Annotated[str, Field(max_length=1000)] = ""
    """Words of what is wanted; none for the first tools of the catalog."""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """The most tools that are wanted."""


class Describe(OwnArguments):
    names: Annotated[list[str], Field(min_length=1, max_length=20)]
    """Names of tools, as search_tools gives them."""


class RunCode(OwnArguments):
    code: Annotated[str, Field(min_length=1)]
    """The code."""
