"""Which Host fields are valid, and what URLs contain of them."""

from __future__ import annotations

import pytest

from tus_wsgi.wsgi.host import find_host


@pytest.mark.parametrize(
    "host",
    [
        "tus_app",  # nginx passes the name of an upstream, unless `proxy_set_header Host` is set
        "example.com",
        "my-host_1~a",
        "tus_app:8000",
        "a(1)'!$&*+;=b",
        "%C3%BC.example",
        "127.0.0.1:9000",
        "[::1]:8000",
        "[2001:db8::1]",
        "[::ffff:10.0.0.1]",
    ],
)
def test_a_name_of_rfc_3986_is_a_host(host: str) -> None:
    """RFC 3986, section 3.2.2, allows more characters than the DNS."""
    assert find_host({"wsgi.url_scheme": "http", "HTTP_HOST": host}) == host


@pytest.mark.parametrize(
    "host",
    [
        *("", ":80", "a b", "a/b", "a@b", "a\\b", "<a>", 'a"b', "a?b", "a#b", "a|b", "\xfc"),
        *("a:b", "a:", "a:0", "a:65536", "a:100000", "a:8_0", "a:\xb2", "%4", "%zz", "%"),
        *("[", "[]", "[a", "a]", "[::1]x", "::1", "[::g]", "a\n", "a\r\nX: y", "a\x00"),
        "a,b",  # a server joins two Host fields like this, and two of them are a 400
    ],
)
def test_what_is_no_name_is_no_host(host: str) -> None:
    assert find_host({"wsgi.url_scheme": "http", "HTTP_HOST": host}) == ""


@pytest.mark.parametrize(
    ("scheme", "host", "shown"),
    [
        ("http", "tus_app:80", "tus_app"),
        ("https", "tus_app:443", "tus_app"),
        ("https", "tus_app:80", "tus_app:80"),
        ("http", "[::1]:80", "[::1]"),
    ],
)
def test_the_default_port_is_left_out(scheme: str, host: str, shown: str) -> None:
    assert find_host({"wsgi.url_scheme": scheme, "HTTP_HOST": host}) == shown


@pytest.mark.parametrize(("name", "shown"), [("10.0.0.1", "10.0.0.1:81"), ("::1", "[::1]:81")])
def test_without_the_field_the_host_is_that_of_the_server(name: str, shown: str) -> None:
    """HTTP/1.0 has no Host."""
    environ = {"wsgi.url_scheme": "http", "SERVER_NAME": name, "SERVER_PORT": "81"}
    assert find_host(environ) == shown
