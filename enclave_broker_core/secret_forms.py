"""The ways in which a text may be written elsewhere: as JSON, as Python, in base64, in a URL."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_letters, digits

# One place of a form: the regular expressions that may stand there. Each begins with a
# character that stands for itself, as `any_of` needs at the beginning of a form.
Place = tuple[str, ...]

# Of a long text in base64 or encoded as a whole so many bytes are compared; what follows
# counts by its length alone. They tell it from any other, and compiling is slow.
COMPARED = 48

_ALPHABET = f"{ascii_letters}{digits}+/"
_PLAIN = frozenset(ascii_letters + digits)
# Both alphabets of base64, and what becomes of their odd characters in a URL.
_ODD: Mapping[str, Place] = {"+": ("\\+", "\\-", "%2[Bb]"), "/": ("/", "_", "%2[Ff]")}
_ANY_BASE64 = "(?:[A-Za-z0-9+/_-]|%2[BbFf])"
_ANY_BYTE = "(?:%[0-9A-Fa-f]{2})"


# Some leave a percent sign that looks encoded already, and a backslash, which JSON doubles.
# Each by itself, so that a text can be read in one way only, however it goes on.
_UNLIKE: Sequence[Mapping[str, Place]] = (
    {},
    {"%": ("%",)},
    {"\\": ("\\\\\\\\", "%5[Cc]")},
)


def forms(value: str) -> Iterator[tuple[int, str]]:
    """Regular expressions for all the ways of writing a value, each with a length to sort by.

    Those are: as it is, as JSON or Python writes it, also twice, percent-encoded where needed or
    everywhere, in either case, with ``+`` for a space, and inside longer base64 text of both
    alphabets. There its first character may stay, with at most four bits of the value.
    """
    texts = {value}
    for _ in range(2):  # JSON is also written into JSON
        texts |= {written for text in texts for written in _json_and_python(text)}
    for text in texts:
        yield len(text), re.escape(text)
    if not _PLAIN.issuperset(value):
        for unlike in _UNLIKE:
            if all(character in value for character in unlike):
                yield from _branches([unlike.get(c) or _in_url(c) for c in value])
    data = value.encode("utf-8", "surrogatepass")
    yield from _cut([(_percent(byte),) for byte in data], COMPARED, _ANY_BYTE)
    for before in range(3):
        yield from _in_base64(data, before)


def any_of(branches: Iterable[tuple[int, str]]) -> re.Pattern[str]:
    """One pattern that finds each of the forms, the longest first.

    They are parted by their first characters, so that most places of a text are passed over
    by a look at one character.
    """
    parted: dict[str, list[str]] = {}
    for _, branch in sorted(set(branches), reverse=True):
        first = branch[:2] if branch[0] == "\\" else branch[0]
        parted.setdefault(first, []).append(branch[len(first) :])
    return re.compile("|".join(f"{first}(?:{'|'.join(rests)})" for first, rests in parted.items()))


def _json_and_python(value: str) -> Iterator[str]:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)):
        yield text[1:-1]


def _in_url(character: str) -> Place:
    """Letters and digits as they are; of the others encoders leave some, and not all the same."""
    if character in _PLAIN:
        return (character,)
    encoded = "".join(map(_percent, character.encode("utf-8", "surrogatepass")))
    if character == "%":
        return (encoded,)
    return (re.escape(character), encoded, *(("\\+",) if character == " " else ()))


def _percent(byte: int) -> str:
    return "%" + "".join(f"[{d}{d.lower()}]" if d > "9" else d for d in f"{byte:02X}")


def _in_base64(data: bytes, before: int) -> Iterator[tuple[int, str]]:
    """The characters that ``data`` alone decides when so many bytes of three stand before it.

    Where it ends within a character, that one too, and the padding.
    """
    text = base64.b64encode(bytes(before) + data).decode().rstrip("=")
    bits = 8 * (before + len(data))
    whole = text[-(-8 * before // 6) : bits // 6]
    places = [_ODD.get(character, (character,)) for character in whole]
    behind = ""
    if bits % 6:
        free = 1 << 6 - bits % 6  # whatever follows decides the low bits
        begin = _ALPHABET.index(text[-1]) & -free
        last = _ALPHABET[begin : begin + free].replace("+", "+-").replace("/", "/_")
        behind = f"(?:[{re.escape(last)}]{'(?:==)?' if bits % 6 == 2 else '=?'})?"
    yield from _cut(places, COMPARED * 8 // 6, _ANY_BASE64, behind)


def _cut(
    places: Sequence[Place], length: int, any_place: str, behind: str = ""
) -> Iterator[tuple[int, str]]:
    """Branches of the first so many places, and after them as many of any as are left."""
    left = len(places) - length
    if left > 0:
        behind = f"{any_place}{{{left}}}{behind}"
    for _, branch in _branches(places[:length], behind):
        yield len(places), branch


def _branches(places: Sequence[Place], behind: str = "") -> Iterator[tuple[int, str]]:
    """One branch for each way to begin."""
    first, *others = places
    rest = "".join(o[0] if len(o) == 1 else f"(?:{'|'.join(o)})" for o in others)
    for beginning in first:
        yield len(places), beginning + rest + behind
