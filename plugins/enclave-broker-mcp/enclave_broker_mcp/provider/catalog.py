"""Makes tools of the broker from what a server lists, and says of the rest why not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from enclave_broker_core.models import TOOL_NAME, ToolSpec
from enclave_broker_core.patterns import Pattern
from enclave_broker_core.schema_tools import Check

from .config import McpConfig
from .definitions import Definition
from .schemas import SchemaError, patterns_in, usable
from .texts import line, visible

# What a tool's name may have here, besides being a name of the broker's with its source ahead.
_NAME = re.compile(r"[A-Za-z0-9_.:/-]+")
LONGEST_SHOWN = 60
# Of all tools together: what their checks hold is bounded, too.
MOST_PATTERNS = 500


@dataclass(frozen=True)
class Compiled:
    """A tool of the broker, and the tool of the server that it stands for."""

    spec: ToolSpec
    definition: Definition
    check: Check = field(compare=False, repr=False)
    output_check: Check | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Outcome:
    """``left_out`` is what can't be a tool, as it can be shown, and why; ``notes`` is of tools."""

    made: Sequence[Compiled] = ()
    left_out: Sequence[tuple[str, str]] = ()
    notes: Sequence[tuple[str, str]] = ()


def compile_tools(definitions: Sequence[Definition], config: McpConfig) -> Outcome:
    """The tools that are wanted and can be had."""
    include = [Pattern(text) for text in config.include]
    exclude = [Pattern(text) for text in config.exclude]
    patterns = 0
    times = Counter(one.name for one in definitions)
    made, left_out, notes = [], dict[str, str](), list[tuple[str, str]]()
    for one in definitions:
        if any(pattern.matches(one.name) for pattern in exclude):
            continue
        if include and not any(pattern.matches(one.name) for pattern in include):
            continue
        shown = line(one.name, LONGEST_SHOWN)
        name = f"{config.name}:{one.name}"
        if not (_NAME.fullmatch(one.name) and TOOL_NAME.fullmatch(name)):
            left_out[shown] = "its name has other characters than a tool's may have, or too many"
        elif times[one.name] > 1:
            # Which one would be called nobody here can say.
            left_out[shown] = "there is more than one of this name"
        elif not one.is_json:
            left_out[shown] = "it has numbers that JSON does not have"
        elif patterns + (own := patterns_in([one.input_schema, one.output_schema])) > MOST_PATTERNS:
            left_out[shown] = f"all schemas together have more than {MOST_PATTERNS} patterns"
        else:
            patterns += own
            try:
                made.append(_compiled(name, one, config, notes))
            except SchemaError as problem:
                left_out[shown] = f"its input schema {problem}"
    return Outcome(made, list(left_out.items()), notes)


def _compiled(
    name: str, one: Definition, config: McpConfig, notes: list[tuple[str, str]]
) -> Compiled:
    schema, check = usable({"type": "object", **one.input_schema})
    if schema["type"] != "object":
        raise SchemaError("is not that of an object")
    output, output_check = None, None
    if one.output_schema is not None:
        try:
            output, output_check = usable(one.output_schema)
        except SchemaError as problem:
            notes.append((one.name, f"its output schema is not used: it {problem}"))
    hints = one.annotations if config.hints else {}
    read_only = hints.get("readOnlyHint") is True
    # A server is believed that a tool does harm, whether it is believed in the rest or not.
    destroys = one.annotations.get("destructiveHint") is True or hints.get("destructiveHint")
    spec = ToolSpec(
        name=name,
        description=visible(one.description),
        input_schema=schema,
        output_schema=output,
        read_only=read_only,
        destructive=destroys if isinstance(destroys, bool) and not read_only else None,
        idempotent=hints.get("idempotentHint") is True,
        timeout=config.timeout,
        source=config.name,
    )
    return Compiled(spec, one, check, output_check)
