"""What a server says of a tool, and the digest by which it is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mcp_types as types


@dataclass(frozen=True)
class Definition:
    """A tool as its server describes it, word for word."""

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    output_schema: Mapping[str, Any] | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, tool: types.Tool) -> Definition:
        hints = tool.annotations
        return cls(
            tool.name,
            tool.description or "",
            tool.input_schema,
            tool.output_schema,
            {} if hints is None else hints.model_dump(by_alias=True, exclude_none=True),
        )

    @property
    def as_json(self) -> dict[str, Any]:
        """All that the digest is made of, by the names that the protocol has for it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": self.input_schema,
            "outputSchema": self.output_schema,
            "annotations": self.annotations,
        }

    @property
    def is_json(self) -> bool:
        """Whether it can be written down: infinite numbers can be read, and are no JSON."""
        try:
            return bool(self.digest)
        except ValueError:
            return False

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the definition as JSON with sorted keys and without spaces.

        ValueError for what is not JSON.
        """
        text = json.dumps(self.as_json, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
