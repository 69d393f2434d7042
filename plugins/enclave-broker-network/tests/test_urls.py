"""What is a URL that a request may have, and what one argument in its path can be."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from enclave_broker_network.errors import RefusedError
from enclave_broker_network.paths import path_segment
from enclave_broker_network.urls import Origin, join_url, parse_url
from hypothesis import example, given
from hypothesis import strategies as st

from enclave_broker_core import ArgumentsError


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://a.example", "https://a.example", "/"),
        ("https://A.Example.:443/x", "https://a.example", "/x"),
        ("http://a.example:8080/x?y=1#z", "http://a.example:8080", "/x?y=1"),
        ("https://a.example?y", "https://a.example", "/?y"),
        ("https://[::1]:8/", "https://[::1]:8", "/"),
        ("https://[0:0::1]/", "https://[::1]", "/"),
        ("https://127.0.0.1/", "https://127.0.0.1", "/"),
        ("HTTPS://a_b.example:/", "https://a_b.example", "/"),
        ("https://a.example//x/", "https://a.example", "//x/"),
        ("https://a.example/%2fx/%7e/...;/a..b?/../", "https://a.example", None),
        ("https://a.example/x?y=[1]&z=%C3%A9+", "https://a.example", "/x?y=[1]&z=%C3%A9+"),
    ],
)
def test_a_url_is_taken_apart_and_its_target_left_alone(
    text: str, origin: str, target: str | None
) -> None:
    url = parse_url(text)
    assert str(url.origin) == origin
    assert url.target == (target or text.removeprefix("https://a.example"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.example/x",
        "/x",
        "//a.example/",
        "ftp://a.example/",
        "file:///etc/passwd",
        "https:/a.example",
        "https://",
        "https:///x",
        "https://:8/",
        "https://user@a.example/",
        "https://user:hunter22@a.example/",
        "https://a.example:0/",
        "https://a.example:65536/",
        "https://a.example:8x/",
        "https://a..example/",
        "https://a.example:80:80/",
        "https://exämple.example/",
        "https://a.example\\@b.example/",
        "https://a.example%2eb/",
        "https://a example/",
        "https://[::1/",
        "https://[::1%25lo]/",
        "https://[127.0.0.1]/",
        # Addresses as only resolvers read them.
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.01/",
        "https://a.example.127/",
        "https://127.0.0.1.2/",
        "https://1.2.3.0x4/",
        "https://4294967296/",
        # What can't be sent as it is.
        "https://a.example/ä",
        "https://a.example/a b",
        "https://a.example/a\r\nX: y",
        "https://a.example/a\tb",
        "https://a.example/a\x00",
        "https://a.example/%",
        "https://a.example/%zz",
        "https://a.example/a\\b",
        "https://a.example/?a\nb",
        "https://a.example/{id}",
        # What a server would take for another path.
        "https://a.example/.",
        "https://a.example/..",
        "https://a.example/x/../y",
        "https://a.example/x/./y",
        "https://a.example/x/%2e%2E/y",
        "https://a.example/x/.%2e",
        "https://a.example/x/%252e%252e/y",
        "https://a.example/x/..;a=b/y",
        "https://a.example/x/..%3Ba/y",
        "https://a.example/x/%2e.%253b/y",
        "https://a.example/x%2f..%2fy",
        "https://a.example/x%5c..%5cy",
        "https://a.example/" + "x" * 16_384,
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_url(text)
    assert "hunter22" not in caught.value.message


@pytest.mark.parametrize(
    ("location", "goal"),
    [
        ("/y", "https://a.example/y"),
        ("y?z=1", "https://a.example/p/y?z=1"),
        ("../y", "https://a.example/y"),
        ("?z", "https://a.example/p/x?z"),
        ("//b.example/y", "https://b.example/y"),
        ("http://b.example:81/y#z", "http://b.example:81/y"),
        ("/ä b%20c", "https://a.example/%C3%A4%20b%20c"),
    ],
)
def test_a_redirect_leads_where_a_browser_would_go(location: str, goal: str) -> None:
    assert str(join_url(parse_url("https://a.example/p/x?secret=1"), location)) == goal


@pytest.mark.parametrize(
    "location",
    [
        "https://user:hunter22@b.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "//[::1/",
        "/x\\..\\y",
        "/x/%2e%2e/y",
        "http://2130706433/",
        "/a\tb",
        "/" + "x" * 20_000,
    ],
)
def test_a_redirect_to_what_is_no_url_is_refused(location: str) -> None:
    with pytest.raises(RefusedError):
        join_url(parse_url("https://a.example/p/x"), location)


def test_shown_in_a_log_a_url_has_no_query() -> None:
    assert repr(parse_url("https://a.example/x?key=secret")) == "Url('https://a.example')"
    assert Origin("http", "a.example", 80).authority == "a.example"


@pytest.mark.parametrize(
    "value",
    [
        *("", ".", "..", "/", "a/b", "../x", "..\\x", "\\", "a\\b", "/.", "..;", ".;x"),
        *("%2e", "%2e%2e", "%2E.", "%252e%252e", "%25252e.", "%2f", "a%2Fb", "%5c", "%252f"),
        *("a\r\nb", "a\nb", "\x00", "%00", "%0d%0a", "\x7f", "\x85", "a\tb", "\ud800"),
    ],
)
def test_what_could_leave_its_place_in_a_path_is_refused(value: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        path_segment(value, argument="id")
    assert [field for field, _ in caught.value.fields] == ["id"]
    assert caught.value.code == "VALIDATION_ERROR"
    assert len(value) < 3 or value not in caught.value.message


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("42", "42"),
        ("a b", "a%20b"),
        ("ä", "%C3%A4"),
        ("100%", "100%25"),
        ("a?b#c", "a%3Fb%23c"),
        ("a;b=c", "a%3Bb%3Dc"),
        ("a:b@c", "a%3Ab%40c"),
        ("...", "..."),
        (".hidden", ".hidden"),
        ("~a-b_c.d", "~a-b_c.d"),
    ],
)
def test_what_can_stand_in_a_path_is_encoded(value: str, segment: str) -> None:
    assert path_segment(value, argument="id") == segment


@given(st.text(max_size=20) | st.text(alphabet="./\\%2eEfF5cC;\r\n\0a", max_size=12))
@example("%2e%2e")
def test_whatever_is_let_through_stays_in_its_place(value: str) -> None:
    try:
        segment = path_segment(value, argument="id")
    except ArgumentsError:
        return
    url = parse_url(f"https://a.example/before/{segment}/after?q=1")
    assert unquote(segment) == value
    assert url.origin == Origin("https", "a.example", 443)
    assert url.path.split("/") == ["", "before", segment, "after"]
    seen = segment
    for _ in range(5):
        seen = unquote(seen)
        assert seen not in ("", ".", "..")
        assert not set(seen) & set("/\\\r\n\0")
