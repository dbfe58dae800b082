"""URLs are read strictly, and one way only."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import plane


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://api.acme.dev/x?y=1", ("https", "api.acme.dev", 443, "/x?y=1")),
        ("http://127.0.0.1:8080/", ("http", "127.0.0.1", 8080, "/")),
        ("http://[::1]:8080/a%20b", ("http", "::1", 8080, "/a%20b")),
        ("https://a.b/c/d.e/..f/g...?q=/../", ("https", "a.b", 443, "/c/d.e/..f/g...?q=/../")),
    ],
)
def test_reads(text: str, parts: tuple[str, str, int, str]):
    assert plane.parse_url(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/relative",
        "ftp://a.b/",
        "https://a.b",
        "https://A.b/",
        "https://user@a.b/",
        "https://user:pw@a.b/",
        "https://a.b/#fragment",
        "https://a.b/ x",
        "https://a.b/x\r\nHost: evil",
        "https://a.b\\@evil/",
        "https://a.b/%zz",
        "https://bücher.example/",
        "https://a.b:0/",
        "https://a.b:65536/",
        "https://a.b/x/../y",
        "https://a.b/x/%2e%2E/y",
        "https://a.b/..",
        "https://a.b/./x",
        "https://.a/",
        "https://[::1/",
        "https://a.b/" + "x" * 9000,
    ],
)
def test_refuses(text: str):
    with pytest.raises(ValueError, match=r"URL|port"):
        plane.parse_url(text)


@given(st.text(alphabet="htps:/@[]#?%.\\a1-\x00 ", max_size=40))
def test_agrees_with_the_standard_library(text: str):
    """What we take for host and port, no other reader takes for something else."""
    try:
        url = plane.parse_url("http://" + text)
    except ValueError:
        return
    other = urlsplit("http://" + text)
    assert (other.hostname, other.port or 80) == (url.host, url.port)
    assert other.username is None


def test_host_is_written_as_in_leases_and_headers():
    assert plane.parse_url("https://a.b/").host_port == "a.b:443"
    assert plane.parse_url("https://a.b/").host_header == "a.b"
    assert plane.parse_url("http://[::1]:81/").host_header == "[::1]:81"


@pytest.mark.parametrize(
    ("text", "base", "host_port"),
    [
        ("https://a.b", "https://a.b", "a.b:443"),
        ("HTTP://A.b:80/", "http://a.b", "a.b:80"),
        ("https://A.B:8443/Api//", "https://a.b:8443/Api", "a.b:8443"),
        ("http://[::A]:8080", "http://[::a]:8080", "[::a]:8080"),
    ],
)
def test_a_service_is_named_in_one_form(text: str, base: str, host_port: str):
    url = plane.parse_base(text)
    assert (url.text, url.host_port) == (base, host_port)
    assert plane.parse_base(base) == url
    assert plane.parse_url(base + "/x").host_port == host_port


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "https://", "https://a.b?x", "https://a.b/?", "https://a.b/x#", "https://u@a.b", "https://\u212a.b"],
)
def test_what_names_no_service(text: str):
    with pytest.raises(ValueError, match=r"URL|address"):
        plane.parse_base(text)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/z", "https://a.b/z"),
        ("z?q", "https://a.b/x/z?q"),
        ("../z", "https://a.b/z"),
        ("https://c.d/z#f", "https://c.d/z"),
        ("//c.d/z", "https://c.d/z"),
    ],
)
def test_locations_resolve(location: str, expected: str):
    assert plane.resolve_location(plane.parse_url("https://a.b/x/y"), location) == plane.parse_url(expected)


@pytest.mark.parametrize("location", ["javascript:alert(1)", "https://u:p@a.b/", "http://[", "https://a.b/ä"])
def test_strange_locations_are_refused(location: str):
    with pytest.raises(ValueError):
        plane.resolve_location(plane.parse_url("https://a.b/x"), location)
