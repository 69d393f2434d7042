"""One pattern of an event filter, compiled: no pattern and no text make matching slow.

Patterns come from clients. A regular expression and a glob run in RE2, whose time is at
most the size of its program times the length of the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import re2  # type: ignore[import-untyped]

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.patterns import automaton_regex

Kind = Literal["exact", "prefix", "regex", "glob"]

# Bytes that one program and its states may take. The library keeps 128 programs.
MAX_MEMORY = 128 * 1024


class TextPattern(NamedTuple):
    """Says of a text in UTF-8 whether it matches.

    ``cost`` is the size of the program that reads the whole text; 0 when no more of it is
    read than the pattern is long.
    """

    matches: Callable[[bytes], bool]
    cost: int


def compile_pattern(kind: Kind, pattern: str, *, ignore_case: bool) -> TextPattern:
    """The pattern, ready to match. ValueError with what is wrong with it.

    A regular expression is found anywhere in a text, the others match from its beginning.
    Case is ignored as RE2 does it: by Unicode's simple folding, in all four kinds.
    """
    if kind == "regex":
        return _searching(_compiled(pattern, ignore_case))
    if kind == "glob":
        try:
            regex = automaton_regex(pattern)
        except ConfigError as problem:
            raise ValueError(problem.message) from None
        return _whole(_compiled(regex, ignore_case))
    if not ignore_case:
        wanted = pattern.encode()
        if kind == "exact":
            return TextPattern(wanted.__eq__, 0)
        return TextPattern(lambda text: text.startswith(wanted), 0)
    literal = _compiled(pattern, ignore_case, literal=True)
    if kind == "exact":
        return TextPattern(lambda text: literal.fullmatch(text) is not None, 0)
    return TextPattern(lambda text: literal.match(text) is not None, 0)


def _searching(program: re2._Regexp) -> TextPattern:
    return TextPattern(lambda text: program.search(text) is not None, program.programsize)


def _whole(program: re2._Regexp) -> TextPattern:
    return TextPattern(lambda text: program.fullmatch(text) is not None, program.programsize)


def _compiled(pattern: str, ignore_case: bool, *, literal: bool = False) -> re2._Regexp:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False  # they would go to the standard error, with the pattern
    options.never_capture = True  # who captures searches twice
    options.case_sensitive = not ignore_case
    options.literal = literal
    try:
        return re2.compile(pattern, options)
    except re2.error as problem:
        raise ValueError(_reason(problem)) from None


def _reason(problem: Exception) -> str:
    said = problem.args[0]
    reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    if reason.startswith("invalid perl operator: (?"):
        reason += " (there is no look-ahead and no look-behind)"
    elif reason.startswith("invalid escape sequence: \\") and reason[-1] in "123456789k":
        reason += " (there are no back-references)"
    return f"is not a regular expression of RE2: {reason}"
