"""Glob patterns against a slow, obvious model of their language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.pattern_index import MEMO_SIZE, PatternIndex
from enclave_broker_core.patterns import (
    MAX_ALTERNATIVES,
    MAX_PATTERN_LENGTH,
    Pattern,
    is_exact,
)

# The model: a pattern as a tree of parts, and its matching as the definition reads.

Part = tuple[str, object]


def write(parts: list[Part]) -> str:
    """The pattern's text."""
    written = ""
    for kind, what in parts:
        match kind, what:
            case "text", str(text):
                written += text
            case "any", _:
                written += "*"
            case "one", _:
                written += "?"
            case "set", (bool(negated), list(items)):
                written += f"[{'!' if negated else ''}{''.join('-'.join(item) for item in items)}]"
            case "either", list(choices):
                written += "{" + ",".join(write(choice) for choice in choices) + "}"
    return written


def matches(parts: list[Part], name: str) -> bool:
    return any(end == len(name) for end in ends(parts, name, 0))


def ends(parts: list[Part], name: str, at: int) -> Iterator[int]:
    """Where a match of ``parts`` that begins at ``at`` can end."""
    if not parts:
        yield at
        return
    (kind, what), rest = parts[0], parts[1:]
    after: set[int] = set()
    match kind, what:
        case "text", str(text):
            if name.startswith(text, at):
                after.add(at + len(text))
        case "any", _:
            after.update(range(at, len(name) + 1))
        case "one", _:
            if at < len(name):
                after.add(at + 1)
        case "set", (bool(negated), list(items)):
            if at < len(name) and negated != any(i[0] <= name[at] <= i[-1] for i in items):
                after.add(at + 1)
        case "either", list(choices):
            after.update(end for choice in choices for end in ends(choice, name, at))
    for end in after:
        yield from ends(rest, name, end)


def fewest_literals(parts: list[Part]) -> int:
    """Over all ways through its alternatives, the fewest characters that stand as they are."""
    count = 0
    for kind, what in parts:
        match kind, what:
            case "text", str(text):
                count += len(text)
            case "either", list(choices):
                count += min(fewest_literals(choice) for choice in choices)
    return count


LETTERS = "ab:\nAé-."
letters = st.sampled_from(LETTERS)
names = st.text(letters, max_size=10)
items = st.one_of(
    letters.filter("-".__ne__).map(lambda c: (c,)),
    st.sampled_from([("a", "b"), ("A", "a"), ("\n", ":"), ("é", "é")]),
)
sets = st.tuples(st.booleans(), st.lists(items, min_size=1, max_size=3))
simple = st.one_of(
    st.tuples(st.just("text"), st.text(letters, min_size=1, max_size=3)),
    st.just(("any", None)),
    st.just(("one", None)),
    st.tuples(st.just("set"), sets),
)
parts = st.recursive(
    st.lists(simple, max_size=4),
    lambda inner: st.lists(
        st.one_of(simple, st.tuples(st.just("either"), st.lists(inner, min_size=1, max_size=2))),
        max_size=4,
    ),
    max_leaves=8,
)


def compiled(tree: list[Part]) -> Pattern | None:
    """The pattern; None for the few that are empty or have too many alternatives."""
    text = write(tree)
    if text and text.count("{") < 9:
        return Pattern(text)
    return None


@settings(max_examples=120, deadline=None)
@given(tree=parts, name=names)
@example(tree=[("any", None), ("text", "ab"), ("any", None), ("text", "b")], name="abb")
@example(tree=[("any", None), ("one", None), ("any", None)], name="\n")
@example(tree=[("any", None), ("text", "a"), ("one", None), ("any", None)], name="aa")
def test_it_matches_what_the_model_matches(tree: list[Part], name: str) -> None:
    pattern = compiled(tree)
    if pattern is not None:
        assert pattern.matches(name) == matches(tree, name)


@settings(max_examples=120, deadline=None)
@given(tree=parts, data=st.data())
def test_it_matches_names_that_are_made_to_match(tree: list[Part], data: st.DataObject) -> None:
    def draw(parts: list[Part]) -> str:
        name = ""
        for kind, what in parts:
            match kind, what:
                case "text", str(text):
                    name += text
                case "any", _:
                    name += data.draw(names)
                case "one", _:
                    name += data.draw(letters)
                case "set", (bool(negated), list(items)):
                    fit = [c for c in LETTERS if negated != any(i[0] <= c <= i[-1] for i in items)]
                    name += data.draw(st.sampled_from(fit or ["\0"]))
                case "either", list(choices):
                    name += draw(data.draw(st.sampled_from(choices)))
        return name

    pattern = compiled(tree)
    if pattern is not None:
        name = draw(tree)
        assert pattern.matches(name) == matches(tree, name)
        assert not pattern.matches(name) or name.startswith(pattern.head)


@settings(max_examples=120, deadline=None)
@given(tree=parts)
def test_literals_and_exactness_are_by_definition(tree: list[Part]) -> None:
    pattern = compiled(tree)
    if pattern is None:
        return
    assert pattern.literals == fewest_literals(tree)
    assert pattern.exact == is_exact(write(tree)) == all(kind == "text" for kind, _ in tree)
    if pattern.exact:
        assert pattern.head == pattern.text


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("users:get", ["users:get"], ["users:get ", "Users:get", "users:getx", ""]),
        ("*", ["", "a", "a:b:c", "\n", "日本"], []),
        ("a*", ["a", "a:b:c", "a\n"], ["", "ba", "A"]),
        ("*a", ["a", "ba", "\na"], ["a\n", "ab"]),
        ("user:*:read", ["user::read", "user:a:b:read"], ["user:read", "user:a:reads"]),
        ("a?c", ["abc", "a:c", "a\nc", "aéc"], ["ac", "abbc"]),
        ("[ab]x", ["ax", "bx"], ["cx", "x", "abx"]),
        ("[a-c0-9]", ["a", "b", "c", "5"], ["d", "-", "A"]),
        ("[!ab]", ["c", "!", "\n"], ["a", "b", ""]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[-a]", ["a", "-"], ["b"]),
        ("[a!]", ["a", "!"], ["b"]),
        ("[*?{},]", ["*", "?", "{", "}", ","], ["a", ""]),
        ("[^a]", ["^", "a"], ["b"]),
        ("[\\]", ["\\"], ["a"]),
        ("[[]", ["["], ["a"]),
        ("{a,b}c", ["ac", "bc"], ["c", "abc", "a,bc"]),
        ("{a,b{c,d}}", ["a", "bc", "bd"], ["b", "ac"]),
        ("{a,}b", ["ab", "b"], ["a"]),
        ("{a[,]b,c}", ["a,b", "c"], ["a", "b"]),
        ("{a*,b?}", ["a", "axx", "bx"], ["b", "bxx"]),
        ("a,b*", ["a,b"], ["a", "b"]),
        ("a.b*", ["a.b"], ["axb"]),
        ("a|b*", ["a|b"], ["a", "b"]),
        ("(a)+$*", ["(a)+$"], ["a", "aa"]),
    ],
)
def test_what_each_part_means(text: str, matching: list[str], others: list[str]) -> None:
    pattern = Pattern(text)
    assert [name for name in matching if not pattern.matches(name)] == []
    assert [name for name in others if pattern.matches(name)] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "can't be empty"),
        ("a" * (MAX_PATTERN_LENGTH + 1), "may have 512 characters, this one has 513"),
        ("a[", r"'a\[' has an empty or unfinished '\[' set"),
        ("a[b", "unfinished"),
        ("[]", "empty or unfinished"),
        ("[!]", "empty or unfinished"),
        ("a]", r"'a\]' has a '\]' without its '\['"),
        ("{a", "'{a' has a '{' without its '}'"),
        ("{a,{b}", "has a '{' without its '}'"),
        ("a}", "'a}' has a '}' without its '{'"),
        ("{a}}", "has a '}' without its '{'"),
        ("[b-a]", "has the empty range 'b-a'"),
        ("{a,[z-b]}", "has the empty range 'z-b'"),
        ("{a,b}" * 9, f"has more than {MAX_ALTERNATIVES} alternatives"),
        ("{" + "," * 300 + "}", "alternatives"),
    ],
)
def test_a_malformed_pattern_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Pattern(text)


@given(text=st.text("ab*?[]{},!-\\^", max_size=12), name=names)
def test_any_text_is_a_pattern_or_a_configuration_error(text: str, name: str) -> None:
    try:
        pattern = Pattern(text)
    except ConfigError:
        return
    assert pattern.matches(name) in (True, False)
    assert not pattern.matches(name) or name.startswith(pattern.head)


def test_patterns_are_equal_by_their_text() -> None:
    assert Pattern("a*") == Pattern("a*")
    assert len({Pattern("a*"), Pattern("a*"), Pattern("a**")}) == 2
    assert Pattern("a*") != "a*"


# No pattern makes matching slow


@pytest.mark.parametrize("stars", [1, 3, 80])
@pytest.mark.parametrize("part", ["a", "?a", "[ab]a", "aab:"])
def test_nothing_is_tried_again_before_the_last_star(stars: int, part: str) -> None:
    """What stands between stars is atomic: the regular expression has no way back into it.

    With a way back, the longest of these needs more steps than there are atoms.
    """
    pattern = Pattern(f"*{part}" * stars + "*b")
    regex = pattern.matches.__closure__
    assert regex is not None
    source = next(
        cell.cell_contents.__self__.pattern
        for cell in regex
        if isinstance(getattr(cell.cell_contents, "__self__", None), re.Pattern)
    )
    last = source.rfind(".*")
    before = re.sub(r"\(\?>\.\*\?[^*()]*\)", "", source[:last])
    assert "*" not in before
    assert "+" not in before
    assert source.count("(?>") == stars
    assert not pattern.matches("a" * 256)
    assert pattern.matches("aab:aab" * 100)


def test_the_longest_patterns_end_on_the_longest_names() -> None:
    for text in ("*a" * 255 + "*b", "*?" * 255 + "b", "{*a,*b}" * 8 + "c", "*[ab]" * 100 + "c"):
        pattern = Pattern(text)
        assert not pattern.matches("ab" * 128 + "d")


# Many patterns


@lru_cache
def pattern_of(text: str) -> Pattern:
    return Pattern(text)


texts = st.sampled_from(
    [
        *("a", "b", "ab", "*", "a*", "ab*", "*b", "a?", "?", "[ab]*", "{a,b}", "{ab,ac}*", "a:*"),
        *("aba*", "a*b", "a*ab", "ab*ba", "a*{b,ab}", "*{ab,cb}", "{a,b}*[ab]", "a*b*"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(chosen=st.lists(texts, max_size=12), name=st.text("abc:", max_size=4))
def test_an_index_finds_what_a_linear_search_finds(chosen: list[str], name: str) -> None:
    patterns = [pattern_of(text) for text in chosen]
    index = PatternIndex(patterns)
    linear = [at for at, pattern in enumerate(patterns) if pattern.matches(name)]
    first = linear[0] if linear else -1
    assert index.all(name) == linear
    assert index.search(name) == first
    assert index.first(name) == first
    assert index.first(name) == first  # from memory


def test_an_index_remembers_a_bounded_number_of_names() -> None:
    index = PatternIndex([Pattern("a*"), Pattern("*1")])
    for number in range(3 * MEMO_SIZE):
        assert index.first(f"b{number}") == (1 if number % 10 == 1 else -1)
        assert len(index._memo) <= MEMO_SIZE
    assert index.first("a1") == 0


def test_an_index_tries_only_patterns_whose_beginning_and_end_the_name_has() -> None:
    tried: list[str] = []

    class Counted(Pattern):
        __slots__ = ()

        def __init__(self, text: str) -> None:
            super().__init__(text)
            known = self.matches

            def matches(name: str) -> bool:
                tried.append(text)
                return known(name)

            self.matches = matches

    index = PatternIndex([Counted(f"{n}:*") for n in range(1000)])
    assert index.search("7:a") == 7
    assert tried == ["7:*"]

    tried.clear()
    index = PatternIndex([Counted(f"a:*:{n}") for n in range(1000)])
    assert index.search("a:x:7") == 7
    assert tried == ["a:*:7"]
