"""Where the body of a request ends, as its header and the server say."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tus_wsgi.domain.errors import LengthRequired, MalformedField
from tus_wsgi.wsgi.framing import check_end_is_known, content_length, has_body, is_unsized

CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}
TERMINATED = {"wsgi.input_terminated": True}
LENGTH = {"CONTENT_LENGTH": "5"}


def request(method: str = "PATCH", version: str = "1.1", *more: dict[str, Any]) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SERVER_PROTOCOL": f"HTTP/{version}",
    }
    for fields in more:
        environ |= fields
    return environ


@pytest.mark.parametrize("length", [0, 1, 5, 2**62])
def test_content_length_is_the_number_of_bytes(length: int) -> None:
    assert content_length({"CONTENT_LENGTH": str(length)}) == length


@pytest.mark.parametrize("digits", [20, 40, 5000])
def test_a_length_too_long_to_represent_is_not_zero(digits: int) -> None:
    """In an earlier version it was: the server answered 204 and discarded the body."""
    assert content_length({"CONTENT_LENGTH": "9" * digits}) == sys.maxsize


def test_a_chunked_body_has_no_length() -> None:
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"}
    assert content_length(environ) is None


@pytest.mark.parametrize("text", ["", "+5", "-5", "five", "²"])
def test_a_request_without_a_valid_length_has_no_body(text: str) -> None:
    assert content_length({"CONTENT_LENGTH": text}) == 0


@pytest.mark.parametrize(
    "environ",
    [
        request("PATCH", "1.1", CHUNKED),
        request("PATCH", "1.1", CHUNKED, {"wsgi.input_terminated": False}),
        request("PATCH", "1.1", CHUNKED, LENGTH),
        request("PATCH", "1.0", CHUNKED, TERMINATED),
        request("PATCH", "1", CHUNKED, TERMINATED),
        request("PATCH", "1.1", CHUNKED, TERMINATED, {"SERVER_SOFTWARE": "Granian"}),
        request("PATCH", "1.1", CHUNKED, TERMINATED, {"SERVER_SOFTWARE": "Werkzeug/3.1.9"}),
        request("PATCH", "2", {"CONTENT_LENGTH": ""}),
        request("POST", "2.0"),
        request("POST", "3"),
        request("POST", "2", TERMINATED, {"SERVER_SOFTWARE": "granian"}),
        request("GET", "2", {"HTTP_X_HTTP_METHOD_OVERRIDE": "PATCH"}),
    ],
)
def test_a_body_whose_end_is_unknown_is_refused(environ: dict[str, Any]) -> None:
    """D-14: it is not empty."""
    assert has_body(environ)
    assert content_length(environ) is None
    assert not is_unsized(environ)
    with pytest.raises(LengthRequired):
        check_end_is_known(environ)


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
def test_a_body_that_the_server_ends_is_accepted(version: str) -> None:
    """D-14: `wsgi.input` ends where the body ends."""
    environ = request("PATCH", version, TERMINATED, CHUNKED if version == "1.1" else {})
    check_end_is_known(environ)
    assert has_body(environ)
    assert content_length(environ) is None
    assert is_unsized(environ) is (version != "1.1")


@pytest.mark.parametrize("more", [{}, TERMINATED])
@pytest.mark.parametrize(
    ("method", "version"),
    [
        *(("PATCH", version) for version in ("1.0", "1", "1.1")),
        *((method, "2") for method in ("GET", "HEAD", "OPTIONS", "DELETE")),
    ],
)
def test_a_request_without_a_body_is_accepted(
    method: str, version: str, more: dict[str, Any]
) -> None:
    """D-14, RFC 9112, section 6.3: with neither field, a request of HTTP/1.1 has no body."""
    environ = request(method, version, more)
    check_end_is_known(environ)
    assert not has_body(environ)
    assert content_length(environ) == 0
    assert not is_unsized(environ)


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_a_content_length_needs_nothing_else(version: str) -> None:
    environ = request("PATCH", version, LENGTH)
    check_end_is_known(environ)
    assert content_length(environ) == 5
    assert not is_unsized(environ)


@pytest.mark.parametrize("text", ["5x", "+5", "-5", "five", "²", "5, 5"])
def test_an_invalid_content_length_is_refused(text: str) -> None:
    """D-14: wsgiref, bottle, uWSGI and others pass it on."""
    with pytest.raises(MalformedField) as caught:
        check_end_is_known(request("PATCH", "1.1", {"CONTENT_LENGTH": text}))
    assert caught.value.field == "Content-Length"
