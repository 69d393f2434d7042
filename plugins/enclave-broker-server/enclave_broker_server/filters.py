"""Which events a client wants to see: the filters of the wire protocol.

A filter takes events out of what one client sees, never out of the log. ``final`` can't be
taken out, nor can heartbeats: a client that gets none takes its stream for dead.

Without rules nothing matches, so that ``include`` leaves what is always allowed and
``exclude`` leaves everything. A rule without ``types`` and ``content`` matches every event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json, to_json

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.events import PROTOCOL_VERSION, Event
from enclave_broker_core.json_form import NotJsonError, TooLargeError, json_text
from enclave_broker_core.models import Frozen

from .filter_patterns import Kind, TextPattern, compile_pattern

EventType = Literal[
    "session_init",
    "stdout",
    "log",
    "tool_call",
    "tool_progress",
    "tool_result_applied",
    "partial_result",
    "heartbeat",
    "error",
    "deadline_exceeded",
    "catalog_changed",
    "final",
]

MAX_RULES = 50
MAX_TYPES = 50
MAX_PATTERNS = 100
MAX_PATTERN = 512
MAX_FIELD = 256
MAX_DEPTH = 32
# The programs of a filter together, in RE2's instructions; \pL is 1200, an ASCII letter 1.
MAX_PROGRAM = 1600
# What one event may cost: instructions times bytes, a tenth of a second at the very worst.
MAX_STEPS = 2**24
# The filter as JSON, and its patterns together, in bytes and in characters.
MAX_BYTES = 64 * 1024
MAX_PATTERN_TEXT = 8192
MOST_REPORTED = 20
# Patterns that are wrong, which can take long to be found out.
MOST_WRONG = 5
LONGEST_PLACE = 200

Path = tuple[str, ...]


class InvalidFilterError(BrokerError):
    """The filter is not one; the message says where and why, of every mistake."""

    code = "INVALID_FILTER"
    status: ClassVar[int] = 400


class _Given(Frozen):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=False, strict=True)


class _Types(_Given):
    types: Annotated[list[EventType], Field(max_length=MAX_TYPES)]


class _Pattern(_Given):
    type: Kind
    pattern: Annotated[str, StringConstraints(max_length=MAX_PATTERN)]
    field: Annotated[str, StringConstraints(max_length=MAX_FIELD)] | None = None
    case_insensitive: bool = False


class _Content(_Given):
    patterns: Annotated[list[_Pattern], Field(max_length=MAX_PATTERNS)]
    match: Literal["any", "all"] = "any"


class _Rule(_Given):
    types: _Types | None = None
    content: _Content | None = None


class _Filter(_Given):
    mode: Literal["include", "exclude"]
    rules: Annotated[list[_Rule], Field(max_length=MAX_RULES)]
    always_allow: Annotated[list[EventType], Field(max_length=MAX_TYPES)] | None = None
    # The stock client may send it, for an engine that needs a clock to be stopped by.
    regex_timeout_ms: float | None = None


class _Test(NamedTuple):
    """One pattern, and the field that it is for; None for the payload."""

    pattern: TextPattern
    path: Path | None

    def holds(self, texts: _Texts) -> bool:
        text = texts.of(self.path)
        if text is None:
            return False
        return self.pattern.matches(text[: texts.reach] if self.pattern.cost else text)


class _ContentRule(NamedTuple):
    types: frozenset[str] | None
    tests: tuple[_Test, ...]
    all: bool

    def matches(self, event: Event, texts: _Texts) -> bool:
        if self.types is not None and event.type not in self.types:
            return False
        results = (test.holds(texts) for test in self.tests)
        return all(results) if self.all else any(results)


class EventFilter:
    """Chooses events. Made by ``parse_filter``; knows nothing of the events before.

    Of a text that is very long for the patterns of a filter, glob and regex see only the
    first ``reach`` bytes, which are 10,000 or more.
    """

    __slots__ = ("_always", "_content", "_every", "_include", "_types", "reach")

    def __init__(
        self,
        *,
        include: bool,
        always: frozenset[str],
        types: Sequence[frozenset[str] | None],
        content: Sequence[_ContentRule],
    ) -> None:
        self._include = include
        self._always = always | {"final", "heartbeat"}
        self._every = None in types
        self._types: frozenset[str] = frozenset().union(*(named for named in types if named))
        self._content = tuple(content)
        program = sum(test.pattern.cost for rule in content for test in rule.tests)
        self.reach = MAX_STEPS // max(1, program)

    def allows(self, event: Event) -> bool:
        """Whether the client wants to see it. Its payload is parsed only for a field in it."""
        if event.type in self._always:
            return True
        return self._matches(event) is self._include

    def _matches(self, event: Event) -> bool:
        if self._every or event.type in self._types:
            return True
        if not self._content:
            return False
        texts = _Texts(event, self.reach)
        return any(rule.matches(event, texts) for rule in self._content)


class _Texts:
    """The texts in one event that patterns look at, each made once."""

    __slots__ = ("_event", "_found", "_payload", "reach")

    def __init__(self, event: Event, reach: int) -> None:
        self._event = event
        self._payload: Any = None
        self._found: dict[Path, bytes | None] = {}
        self.reach = reach

    def of(self, path: Path | None) -> bytes | None:
        """The text of a field, or JSON text when it is no string; None when it is missing."""
        if path is None or path == ("payload",):
            return self._event.payload_json
        if path not in self._found:
            self._found[path] = self._text(path)
        return self._found[path]

    def _text(self, path: Path) -> bytes | None:
        event = self._event
        name, *rest = path
        value: Any
        if name == "payload":
            if self._payload is None:
                self._payload = from_json(event.payload_json)
            value = self._payload
        elif name == "type":
            value = event.type
        elif name == "seq":
            value = event.seq
        elif name == "sessionId":
            value = event.session_id
        elif name == "protocolVersion":
            value = PROTOCOL_VERSION
        else:
            return None
        for key in rest:
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and _is_index(key) and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return value.encode() if isinstance(value, str) else to_json(value)


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal() and (key == "0" or key[0] != "0")


def parse_filter(given: Any) -> EventFilter:
    """A filter from its JSON value. InvalidFilterError says all that is wrong with it."""
    try:
        json_text(given, MAX_BYTES)
    except (NotJsonError, TooLargeError) as problem:
        raise _invalid({"filter": str(problem)}) from None
    try:
        wanted = _Filter.model_validate(given)
    except ValidationError as problem:
        raise _invalid(dict(_mistakes(problem))) from None
    compiler = _Compiler()
    types: list[frozenset[str] | None] = []
    content: list[_ContentRule] = []
    for position, rule in enumerate(wanted.rules):
        named = None if rule.types is None else frozenset[str](rule.types.types)
        if rule.content is None:
            types.append(named)
            continue
        place = f"filter.rules[{position}].content.patterns"
        tests = compiler.tests(place, rule.content.patterns)
        content.append(_ContentRule(named, tests, rule.content.match == "all"))
    if compiler.mistakes:
        raise _invalid(compiler.mistakes)
    always = wanted.always_allow
    return EventFilter(
        include=wanted.mode == "include",
        always=frozenset(("session_init", "final") if always is None else always),
        types=types,
        content=content,
    )


def filter_schema(ref_template: str) -> dict[str, Any]:
    """What ``parse_filter`` takes, as a JSON Schema; patterns have rules of their own besides."""
    return _Filter.model_json_schema(ref_template=ref_template)


class _Compiler:
    """Compiles the patterns of one filter, within what they may take together."""

    def __init__(self) -> None:
        self.mistakes: dict[str, str] = {}
        self._count = self._length = self._program = 0
        self._full = False

    def tests(self, place: str, patterns: Sequence[_Pattern]) -> tuple[_Test, ...]:
        found: list[_Test] = []
        for position, given in enumerate(patterns):
            if self._full or len(self.mistakes) >= MOST_WRONG:
                break
            at = f"{place}[{position}]"
            pattern = self._pattern(at, given)
            path = tuple(given.field.split(".")) if given.field else None
            if path is not None and ("" in path or len(path) > MAX_DEPTH):
                self.mistakes[f"{at}.field"] = (
                    f"must be at most {MAX_DEPTH} names with dots between them"
                )
            elif pattern is not None:
                found.append(_Test(pattern, path))
        return tuple(found)

    def _pattern(self, at: str, given: _Pattern) -> TextPattern | None:
        self._count += 1
        if self._count > MAX_PATTERNS:
            self._full = True
            self.mistakes[at] = f"a filter may have {MAX_PATTERNS} patterns"
            return None
        self._length += len(given.pattern)
        if self._length > MAX_PATTERN_TEXT:
            self._full = True
            self.mistakes[f"{at}.pattern"] = (
                f"with this one the patterns are longer than {MAX_PATTERN_TEXT} characters"
            )
            return None
        try:
            pattern = compile_pattern(given.type, given.pattern, ignore_case=given.case_insensitive)
        except ValueError as problem:
            self.mistakes[f"{at}.pattern"] = str(problem)
            return None
        self._program += pattern.cost
        if self._program > MAX_PROGRAM:
            self._full = True
            self.mistakes[f"{at}.pattern"] = "with this one the patterns are too complex"
            return None
        return pattern


def _mistakes(problem: ValidationError) -> Iterator[tuple[str, str]]:
    for error in problem.errors(include_input=False, include_url=False)[:MOST_REPORTED]:
        place = "filter"
        for part in error["loc"]:
            place += f"[{part}]" if isinstance(part, int) else f".{part}"
        if error["type"] == "extra_forbidden":
            yield place[:LONGEST_PLACE], "is not known here"
        elif error["type"] == "missing":
            yield place, "is missing"
        elif error["type"] == "model_type":
            yield place, "must be an object"
        else:
            yield place, error["msg"]


def _invalid(mistakes: Mapping[str, str]) -> InvalidFilterError:
    said = "; ".join(f"{place}: {why}" for place, why in mistakes.items())
    details = [
        {"type": "validation_info", "field": place, "reason": why}
        for place, why in mistakes.items()
    ]
    return InvalidFilterError(said, details=details)
