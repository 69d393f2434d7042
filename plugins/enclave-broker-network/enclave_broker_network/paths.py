"""One argument in the path of a URL: it can't leave its place, whatever it is."""

from __future__ import annotations

from urllib.parse import quote, unquote

from enclave_broker_core.errors import ArgumentsError

# A server, a proxy before it and a library in it may each decode once.
DECODINGS = 4


def path_segment(value: str, *, argument: str) -> str:
    """A value as one segment of a path, or a part of one, percent-encoded.

    ArgumentsError for what servers and libraries are known to take for more than that: the
    empty text, ``.`` and ``..``, slashes and backslashes, control characters, and each of
    these in percent-encoding.
    """
    reason = _why_no_segment(value)
    if reason is not None:
        raise ArgumentsError(
            f"the argument {argument} can't stand in a path: {reason}", fields=[(argument, reason)]
        )
    return quote(value, safe="")


def _why_no_segment(value: str) -> str | None:
    if not value:
        return "it is empty"
    plain = _decoded(value)
    if plain in (".", "..") or plain.partition(";")[0] in (".", ".."):
        return "it is '.' or '..'"
    if "/" in plain or "\\" in plain:
        return "it has a slash or a backslash in it"
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in plain):
        return "it has control characters in it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "it has characters that UTF-8 can't hold"
    return None


def _decoded(value: str) -> str:
    """The value as somebody may see it who decodes it, and decodes that."""
    for _ in range(DECODINGS):
        once = unquote(value, errors="surrogateescape")
        if once == value:
            break
        value = once
    return value
