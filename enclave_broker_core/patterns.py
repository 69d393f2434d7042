"""Glob patterns over tool names: the only place that knows what ``*`` means."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AfterValidator

from .errors import ConfigError

WILDCARDS = frozenset("*?[]{}")
MAX_PATTERN_LENGTH = 512
MAX_ALTERNATIVES = 256


def is_exact(text: str) -> bool:
    """Whether ``text`` names one tool, with no wildcard in it."""
    return WILDCARDS.isdisjoint(text)


class Pattern:
    """A compiled glob pattern.

    ``*`` is any run of characters, ``?`` one character, ``[ab]`` and ``[a-z]`` one of a
    set, ``[!ab]`` one that is not in it, ``{a,b}`` either. Case matters. A malformed
    pattern raises ConfigError. Matching never backtracks beyond the last ``*``, so that
    a pattern from a client can't make it slow.

    ``literals`` counts the characters that a match must contain as they are; ``head`` is
    what every match begins with, ``tail`` what every match ends with.
    """

    __slots__ = ("exact", "head", "literals", "matches", "tail", "text")

    def __init__(self, text: str) -> None:
        _require_length(text)
        self.text = text
        self.exact = is_exact(text)
        if self.exact:
            self.literals = len(text)
            self.head = self.tail = text
            self.matches: Callable[[str], bool] = text.__eq__
            return
        forms = [_parse(form, text) for form in _alternatives(text)]
        self.literals = min(sum(len(t) for t in form if t is not None) for form in forms)
        self.head = _common_head([_head(form) for form in forms])
        # Backwards, an end is a beginning.
        self.tail = _common_head([_head(form[::-1])[::-1] for form in forms])[::-1]
        self.matches = _matcher(forms)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def pattern_text(text: str) -> str:
    """The text itself when it is a pattern. ValueError otherwise, as models tell mistakes by."""
    try:
        Pattern(text)
    except ConfigError as problem:
        raise ValueError(problem.message) from None
    return text


PatternText = Annotated[str, AfterValidator(pattern_text)]
"""A pattern in a configuration model."""


def automaton_regex(text: str) -> str:
    """The pattern for an engine that reads bytes and never goes back, such as RE2.

    It is for whole texts. ConfigError for a malformed pattern. Python's ``re`` would not
    know the ``\\C`` in it, which is any byte.
    """
    _require_length(text)
    forms = [_parse(form, text) for form in _alternatives(text)]
    return "|".join("".join(map(_for_bytes, form)) for form in forms)


def _require_length(text: str) -> None:
    if not text:
        raise ConfigError("a pattern can't be empty; use '*' for every tool")
    if len(text) > MAX_PATTERN_LENGTH:
        raise ConfigError(
            f"a pattern may have {MAX_PATTERN_LENGTH} characters, this one has {len(text)}"
        )


class _Class:
    """One character of a set: ``[ab]``, or any one character: ``?``."""

    __slots__ = ("regex",)

    def __init__(self, regex: str) -> None:
        self.regex = regex

    def __len__(self) -> int:
        return 0


# A form is a pattern without alternatives: literal strings, _Class items, None for "*".
_Token = str | _Class | None


def _for_bytes(token: _Token) -> str:
    if token is None:
        return r"\C*"
    if isinstance(token, str):
        return re.escape(token)
    return "(?s:.)" if token.regex == "." else token.regex


def _alternatives(text: str) -> list[str]:
    """``a{b,c}d`` as ``abd`` and ``acd``; nested braces too."""
    done: list[str] = []
    waiting = [text]
    while waiting:
        form = waiting.pop()
        start, end, commas = _innermost_brace(form, text)
        if start < 0:
            done.append(form)
        else:
            cuts = [start, *commas, end]
            middles = [form[a + 1 : b] for a, b in itertools.pairwise(cuts)]
            waiting.extend(form[:start] + middle + form[end + 1 :] for middle in middles)
        if len(done) + len(waiting) > MAX_ALTERNATIVES:
            raise ConfigError(f"pattern {text!r} has more than {MAX_ALTERNATIVES} alternatives")
    return sorted(set(done))


def _innermost_brace(form: str, text: str) -> tuple[int, int, list[int]]:
    start, commas, in_set = -1, list[int](), False
    for at, char in enumerate(form):
        if in_set:
            in_set = char != "]"
        elif char == "[":
            in_set = True
        elif char == "{":
            start, commas = at, []
        elif char == "," and start >= 0:
            commas.append(at)
        elif char == "}":
            if start < 0:
                raise ConfigError(f"pattern {text!r} has a '}}' without its '{{'")
            return start, at, commas
    if start >= 0:
        raise ConfigError(f"pattern {text!r} has a '{{' without its '}}'")
    return -1, -1, []


def _parse(form: str, text: str) -> list[_Token]:
    tokens: list[_Token] = []
    literal = ""
    at = 0
    while at < len(form):
        char = form[at]
        if char not in "*?[]":
            literal += char
            at += 1
            continue
        if literal:
            tokens.append(literal)
            literal = ""
        if char == "*":
            if not tokens or tokens[-1] is not None:
                tokens.append(None)
            at += 1
        elif char == "?":
            tokens.append(_Class("."))
            at += 1
        elif char == "]":
            raise ConfigError(f"pattern {text!r} has a ']' without its '['")
        else:
            end = form.find("]", at + 1)
            inside = form[at + 1 : end] if end > 0 else ""
            negated = inside.startswith("!")
            members = inside[1:] if negated else inside
            if not members:
                raise ConfigError(f"pattern {text!r} has an empty or unfinished '[' set")
            tokens.append(_Class(_set_regex(members, negated, text)))
            at = end + 1
    if literal:
        tokens.append(literal)
    return tokens


def _set_regex(members: str, negated: bool, text: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == "-":
            low, high = members[at], members[at + 2]
            if low > high:
                raise ConfigError(f"pattern {text!r} has the empty range '{low}-{high}'")
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            parts.append(re.escape(members[at]))
            at += 1
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _head(form: list[_Token]) -> str:
    return form[0] if form and isinstance(form[0], str) else ""


def _common_head(heads: Sequence[str]) -> str:
    first, last = min(heads), max(heads)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def _matcher(forms: list[list[_Token]]) -> Callable[[str], bool]:
    if len(forms) == 1:
        form = forms[0]
        if form == [None]:
            return lambda name: True
        if len(form) == 2 and isinstance(form[0], str) and form[1] is None:
            head = form[0]
            return lambda name: name.startswith(head)
    compiled = re.compile("|".join(_regex(form) for form in forms), re.DOTALL)
    fullmatch = compiled.fullmatch
    return lambda name: fullmatch(name) is not None


def _regex(form: list[_Token]) -> str:
    """The form as a regular expression whose stars are atomic: each is tried once.

    After a star, what stands before the next star is taken at its first place; only the
    part after the last star is bound to the end. That is enough for globs, and linear.
    """
    parts: list[list[str]] = [[]]
    for token in form:
        if token is None:
            parts.append([])
        elif isinstance(token, str):
            parts[-1].append(re.escape(token))
        else:
            parts[-1].append(token.regex)
    first, *rest = ["".join(part) for part in parts]
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}"
