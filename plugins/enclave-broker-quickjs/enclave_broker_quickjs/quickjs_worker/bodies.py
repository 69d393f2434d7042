"""Tells code that surely is the body of a function, so that it is not tried as a script first."""

from __future__ import annotations

import re

STRINGS = re.compile(r""" "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' """, re.VERBOSE)
MARKS = re.compile(r"[{}]|(?<![\w$.#])return(?![\w$])")
# Where one of these is, braces and words may be text: in a template, a pattern, a comment. What
# is taken for a string and is none has one of them before it.
UNSURE = re.compile(r"[`/\\\"']|<!--|-->|\.\s+return")


def has_top_level_return(code: str) -> bool:
    """Whether there certainly is a ``return`` outside of all braces; quick, and often unsure."""
    if "return" not in code:
        return False
    rest = STRINGS.sub("0", code)
    if UNSURE.search(rest):
        return False
    depth = 0
    for mark in MARKS.finditer(rest):
        if mark[0] == "{":
            depth += 1
        elif mark[0] == "}":
            depth -= 1
            if depth < 0:
                return False
        elif depth == 0:
            return True
    return False
