"""Finds e-mail addresses, phone numbers, credit cards and tokens in texts.

All of it runs in RE2, whose time is at most the length of the text times the size of the
pattern, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, Literal

import re2  # type: ignore[import-untyped]

Kind = Literal["email", "phone", "credit_card", "token"]

Blot = Callable[[str], str]
"""A text with what was found in it blotted out; the same object when there was nothing."""

_EMAIL: Final = r"[\pL\pN._%+\-]+@[\pL\pN\-]+(?:\.[\pL\pN\-]+)+"
# An international number, and those that are written in groups without its "+".
_PHONE: Final = (
    r"\+[0-9](?:[ .()/\-]{0,2}[0-9]){6,14}\b"
    r"|\(?\b[0-9]{3}\)?[ .\-][0-9]{3}[ .\-][0-9]{4}\b"
    r"|\b0[0-9]{1,5}[ /\-][0-9]{3,5}(?:[ \-]?[0-9]{2,5}){1,3}\b"
)
_DIGITS: Final = r"[0-9](?:[ \-]?[0-9]){12,}"
_TOKEN: Final = "|".join(
    (
        r"\beyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]*",  # JSON Web Tokens
        r"\b(?:gh[oprsu]_|github_pat_|glpat-|xox[abeoprs]-)[A-Za-z0-9_\-]{10,}",
        r"\b(?:sk|pk|rk)[_\-][A-Za-z0-9_\-]{16,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bAIza[A-Za-z0-9_\-]{35}",
        r"(?i:\b(?:bearer|basic))\s+[A-Za-z0-9._~+/\-]{16,}=*",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    )
)
_NUMBER: Final = re.compile("[0-9]+")
SHORTEST_CARD, LONGEST_CARD = 13, 19


def blotter(kinds: Iterable[Kind], patterns: Iterable[tuple[str, str]]) -> Blot:
    """Blots out what the kinds and the named patterns of RE2 find, as ``[name]``.

    In this order: the patterns, tokens, e-mail addresses, credit cards, phone numbers.
    ValueError says what is wrong with a pattern.
    """
    wanted = set(kinds)
    steps: list[Blot] = [_replacing(name, pattern) for name, pattern in patterns]
    if "token" in wanted:
        steps.append(_replacing("token", _TOKEN))
    if "email" in wanted:
        steps.append(_replacing("email", _EMAIL))
    if "credit_card" in wanted:
        steps.append(_without_cards())
    if "phone" in wanted:
        steps.append(_replacing("phone", _PHONE))

    def blot(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return blot


def _replacing(name: str, pattern: str) -> Blot:
    program, mark = compiled(pattern), f"[{name}]"
    if program.search("") is not None:
        raise ValueError("finds the empty text, which is everywhere")

    def replace(text: str) -> str:
        if program.search(text) is None:
            return text
        replaced: str = program.sub(lambda match: mark, text)
        return replaced

    return replace


def _without_cards() -> Blot:
    program = compiled(_DIGITS)

    def replace(text: str) -> str:
        if program.search(text) is None:
            return text
        replaced: str = program.sub(lambda match: _blot_cards(match.group(0)), text)
        return text if replaced == text else replaced

    return replace


def _blot_cards(run: str) -> str:
    """Digits in groups, with the numbers of cards blotted out. A card begins and ends with
    a group: what is longer than a card and has no gaps is none."""
    groups = list(_NUMBER.finditer(run))
    told, done, at = "", 0, 0
    while at < len(groups):
        end = _end_of_card([group.group() for group in groups[at : at + LONGEST_CARD]])
        if end:
            told += run[done : groups[at].start()] + "[credit_card]"
            done, at = groups[at + end - 1].end(), at + end
        else:
            at += 1
    return told + run[done:]


def _end_of_card(groups: list[str]) -> int:
    """How many of the groups are a card's number, the most if several are; 0 for none."""
    digits, found = "", 0
    for count, group in enumerate(groups, start=1):
        digits += group
        if len(digits) > LONGEST_CARD:
            break
        if len(digits) >= SHORTEST_CARD and passes_luhn(digits):
            found = count
    return found


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the one that the others ask for."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + at % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0 and digits.strip("0") != ""


def compiled(pattern: str) -> re2._Regexp:
    """The program of a pattern. ValueError for what RE2 does not know."""
    options = re2.Options()
    options.log_errors = False  # they would go to the standard error, with the pattern
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except re2.error as problem:
        said = problem.args[0]
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is not a regular expression of RE2: {reason}") from None
