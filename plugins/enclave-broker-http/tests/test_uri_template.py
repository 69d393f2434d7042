"""URI templates by the examples of RFC 6570, and what no argument can do to a URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from enclave_broker_http.uri_template import UriTemplate, keep_in_place
from enclave_broker_network.errors import RefusedError
from enclave_broker_network.urls import parse_url
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core import ArgumentsError

VALUES: dict[str, Any] = {
    "count": ["one", "two", "three"],
    "dom": ["example", "com"],
    "dub": "me/too",
    "hello": "Hello World!",
    "half": "50%",
    "var": "value",
    "who": "fred",
    "base": "http://example.com/home/",
    "path": "/foo/bar",
    "list": ["red", "green", "blue"],
    "keys": {"semi": ";", "dot": ".", "comma": ","},
    "v": "6",
    "x": "1024",
    "y": "768",
    "empty": "",
    "empty_keys": [],
    "undef": None,
}
# Section 3.2, in its order.
EXAMPLES = {
    "{count}": "one,two,three",
    "{count*}": "one,two,three",
    "{/count}": "/one,two,three",
    "{/count*}": "/one/two/three",
    "{;count}": ";count=one,two,three",
    "{;count*}": ";count=one;count=two;count=three",
    "{?count}": "?count=one,two,three",
    "{?count*}": "?count=one&count=two&count=three",
    "{&count*}": "&count=one&count=two&count=three",
    "{var}": "value",
    "{hello}": "Hello%20World%21",
    "{half}": "50%25",
    "O{empty}X": "OX",
    "O{undef}X": "OX",
    "{x,y}": "1024,768",
    "{x,hello,y}": "1024,Hello%20World%21,768",
    "?{x,empty}": "?1024,",
    "?{x,undef}": "?1024",
    "?{undef,y}": "?768",
    "{var:3}": "val",
    "{var:30}": "value",
    "{list}": "red,green,blue",
    "{list*}": "red,green,blue",
    "{keys}": "semi,%3B,dot,.,comma,%2C",
    "{keys*}": "semi=%3B,dot=.,comma=%2C",
    "{+var}": "value",
    "{+hello}": "Hello%20World!",
    "{+half}": "50%25",
    "{base}index": "http%3A%2F%2Fexample.com%2Fhome%2Findex",
    "{+base}index": "http://example.com/home/index",
    "O{+empty}X": "OX",
    "O{+undef}X": "OX",
    "{+path}/here": "/foo/bar/here",
    "here?ref={+path}": "here?ref=/foo/bar",
    "up{+path}{var}/here": "up/foo/barvalue/here",
    "{+x,hello,y}": "1024,Hello%20World!,768",
    "{+path,x}/here": "/foo/bar,1024/here",
    "{+path:6}/here": "/foo/b/here",
    "{+list}": "red,green,blue",
    "{+list*}": "red,green,blue",
    "{+keys}": "semi,;,dot,.,comma,,",
    "{+keys*}": "semi=;,dot=.,comma=,",
    "{#var}": "#value",
    "{#hello}": "#Hello%20World!",
    "{#half}": "#50%25",
    "foo{#empty}": "foo#",
    "foo{#undef}": "foo",
    "{#x,hello,y}": "#1024,Hello%20World!,768",
    "{#path,x}/here": "#/foo/bar,1024/here",
    "{#path:6}/here": "#/foo/b/here",
    "{#list}": "#red,green,blue",
    "{#list*}": "#red,green,blue",
    "{#keys}": "#semi,;,dot,.,comma,,",
    "{#keys*}": "#semi=;,dot=.,comma=,",
    "{.who}": ".fred",
    "{.who,who}": ".fred.fred",
    "{.half,who}": ".50%25.fred",
    "www{.dom*}": "www.example.com",
    "X{.var}": "X.value",
    "X{.empty}": "X.",
    "X{.undef}": "X",
    "X{.var:3}": "X.val",
    "X{.list}": "X.red,green,blue",
    "X{.list*}": "X.red.green.blue",
    "X{.keys}": "X.semi,%3B,dot,.,comma,%2C",
    "X{.keys*}": "X.semi=%3B.dot=..comma=%2C",
    "X{.empty_keys}": "X",
    "X{.empty_keys*}": "X",
    "{/who}": "/fred",
    "{/who,who}": "/fred/fred",
    "{/half,who}": "/50%25/fred",
    "{/who,dub}": "/fred/me%2Ftoo",
    "{/var}": "/value",
    "{/var,empty}": "/value/",
    "{/var,undef}": "/value",
    "{/var,x}/here": "/value/1024/here",
    "{/var:1,var}": "/v/value",
    "{/list}": "/red,green,blue",
    "{/list*}": "/red/green/blue",
    "{/list*,path:4}": "/red/green/blue/%2Ffoo",
    "{/keys}": "/semi,%3B,dot,.,comma,%2C",
    "{/keys*}": "/semi=%3B/dot=./comma=%2C",
    "{;who}": ";who=fred",
    "{;half}": ";half=50%25",
    "{;empty}": ";empty",
    "{;v,empty,who}": ";v=6;empty;who=fred",
    "{;v,bar,who}": ";v=6;who=fred",
    "{;x,y}": ";x=1024;y=768",
    "{;x,y,empty}": ";x=1024;y=768;empty",
    "{;x,y,undef}": ";x=1024;y=768",
    "{;hello:5}": ";hello=Hello",
    "{;list}": ";list=red,green,blue",
    "{;list*}": ";list=red;list=green;list=blue",
    "{;keys}": ";keys=semi,%3B,dot,.,comma,%2C",
    "{;keys*}": ";semi=%3B;dot=.;comma=%2C",
    "{?who}": "?who=fred",
    "{?half}": "?half=50%25",
    "{?x,y}": "?x=1024&y=768",
    "{?x,y,empty}": "?x=1024&y=768&empty=",
    "{?x,y,undef}": "?x=1024&y=768",
    "{?var:3}": "?var=val",
    "{?list}": "?list=red,green,blue",
    "{?list*}": "?list=red&list=green&list=blue",
    "{?keys}": "?keys=semi,%3B,dot,.,comma,%2C",
    "{?keys*}": "?semi=%3B&dot=.&comma=%2C",
    "{&who}": "&who=fred",
    "{&half}": "&half=50%25",
    "?fixed=yes{&x}": "?fixed=yes&x=1024",
    "{&x,y,empty}": "&x=1024&y=768&empty=",
    "{&x,y,undef}": "&x=1024&y=768",
    "{&var:3}": "&var=val",
    "{&list}": "&list=red,green,blue",
    "{&list*}": "&list=red&list=green&list=blue",
    "{&keys}": "&keys=semi,%3B,dot,.,comma,%2C",
    "{&keys*}": "&semi=%3B&dot=.&comma=%2C",
}


@pytest.mark.parametrize(("template", "expanded"), EXAMPLES.items())
def test_the_examples_of_the_rfc(template: str, expanded: str) -> None:
    assert UriTemplate(template).expand(VALUES) == expanded


@pytest.mark.parametrize(
    ("template", "values", "expanded"),
    [
        ("/{a}", {"a": 5}, "/5"),
        ("/{a}", {"a": -1.5}, "/-1.5"),
        ("/{a}", {"a": 5.0}, "/5"),
        ("/{a}", {"a": 1e300}, "/1e%2B300"),
        ("/{a}", {"a": 10**30}, "/1000000000000000000000000000000"),
        ("/{a}", {"a": True}, "/true"),
        ("/{a}{?b}", {"a": 0, "b": False}, "/0?b=false"),
        ("/{a}", {"a": "ä/€ "}, "/%C3%A4%2F%E2%82%AC%20"),
        ("/{+a}", {"a": "%41%zz ä"}, "/%41%25zz%20%C3%A4"),
        ("/{+a}", {"a": "a%20b\r\nX: y"}, "/a%20b%0D%0AX:%20y"),
        ("/ä b/%20{a}", {"a": "1"}, "/%C3%A4%20b/%201"),
        ("/{?a*}", {"a": {"x y": 1, "z": None, "": "e"}}, "/?x%20y=1&=e"),
        ("/{?a}", {"a": [None, 1, None]}, "/?a=1"),
        ("/{?a*}", {"a": []}, "/"),
        ("/{?a,b}", {"a": {}, "b": 1}, "/?b=1"),
        ("/{user-id}{?a.b}", {"user-id": 1, "a.b": 2}, "/1?a.b=2"),
        ("/{a}{a}", {"a": 1}, "/11"),
    ],
)
def test_json_values(template: str, values: dict[str, Any], expanded: str) -> None:
    assert UriTemplate(template).expand(values) == expanded


@pytest.mark.parametrize(
    "template",
    [
        *("{", "}", "a{b", "a}b", "{}", "{+}", "{a,}", "{a b}", "{a:0}", "{a:10000}", "{a*:3}"),
        *("{=a}", "{|a}", "{a}}", "{{a}}", "{.}", "{a%}", "{!a}", "{a:x}", "{a=b}", "{ä}"),
    ],
)
def test_what_is_no_template_is_an_error(template: str) -> None:
    with pytest.raises(ValueError, match=r"URL template"):
        UriTemplate(template)


@pytest.mark.parametrize(
    ("template", "value"),
    [("/{a}", [[1]]), ("/{a}", {"b": {}}), ("/{?a*}", [{}]), ("/{a:3}", [1]), ("/{a:3}", {"b": 1})],
)
def test_values_in_values_are_refused(template: str, value: Any) -> None:
    with pytest.raises(ArgumentsError) as caught:
        UriTemplate(template).expand({"a": value})
    assert [field for field, _ in caught.value.fields] == ["a"]


# With the check that keeps arguments in their place

PLACES = (
    "/p/{a}/q",
    "/p/{a}",
    "/p/x{a}y/q",
    "/p/{a:2}/q",
    "/p{/a}/q",
    "/p{/a*}/q",
    "/p/x{.a}/q",
    "/p/x{;a}/q",
    "/p/{+a}/q",
    "/p/q{?a}",
    "/p/q?r={a}",
    "/p/q?r={+a}",
    "/p/q?r=1{&a*}",
)
HOSTILE = (
    "",
    ".",
    "..",
    "/",
    "a/../b",
    "%2e%2e",
    "%2f",
    "a%5cb",
    "\\",
    "\r\n",
    "\0",
    "?",
    "#",
    "//",
)


@pytest.mark.parametrize("template", PLACES)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_argument_leaves_its_place(template: str, hostile: str) -> None:
    stays(template, hostile)
    stays(template, f"x{hostile}")
    stays(template, [hostile, "x"])
    stays(template, {"k": hostile})
    stays(template, {hostile: "x"})


@pytest.mark.parametrize("template", PLACES)
@given(value=st.text(max_size=8) | st.text(alphabet="./\\%2eEfF5cC?#&;=\r\n a", max_size=8))
def test_no_generated_argument_does(template: str, value: str) -> None:
    stays(template, value)
    stays(template, {value: value})


def stays(template: str, value: Any) -> None:
    made = UriTemplate("https://a.example" + template)
    try:
        url = parse_url(made.expand({"a": value}, keep_in_place))
    except (ArgumentsError, RefusedError):
        return
    assert str(url.origin) == "https://a.example"
    assert url.target.startswith(template.partition("{")[0])
    assert url.target.endswith(template.rpartition("}")[2])
    seen = unquote(unquote(url.path))
    assert not {".", "..", ""} & set(seen.split("/")[1:-1])
    assert set("\\\r\n\0").isdisjoint(seen)
    if "?" in template:
        assert url.path == "/p/q"
    elif "*" not in template and "+" not in template:
        assert (
            url.path.count("/")
            == seen.count("/")
            == UriTemplate(template).expand({"a": "x"}).count("/")
        )
        assert url.query is None


@pytest.mark.parametrize("template", ["/p/q?r={+a}", "/p/q{?b}{+a}", "/p/{+a}"])
def test_nothing_of_an_argument_is_lost_behind_a_hash(template: str) -> None:
    with pytest.raises(ArgumentsError, match="'#'"):
        UriTemplate(template).expand({"a": "x#y", "b": 1}, keep_in_place)


@pytest.mark.parametrize(
    ("template", "value", "target"),
    [
        ("/p/{+a}/q", "x/y/z", "/p/x/y/z/q"),
        ("/p/{+a}", "x%20y", "/p/x%20y"),
        ("/p/{a}", "x;y", "/p/x%3By"),
        ("/p/{a}.json", "...", "/p/....json"),
        ("/p/x{;a}", "", "/p/x;a"),
        ("/p/q{?a}", "../..", "/p/q?a=..%2F.."),
        ("/p/q?r={+a}", "x&y=/..", "/p/q?r=x&y=/.."),
    ],
)
def test_what_is_meant_is_let_through(template: str, value: str, target: str) -> None:
    expanded = UriTemplate(template).expand({"a": value}, keep_in_place)
    assert expanded == target
