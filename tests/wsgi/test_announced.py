"""How many bytes a request says that it has."""

from __future__ import annotations

import io
import sys

import pytest

from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.draining import LiveBodies


def content_length(**environ: str) -> int | None:
    given = {**environ, "wsgi.input": io.BytesIO()}
    return WsgiBody(given, timeout=1, live=LiveBodies()).content_length


@pytest.mark.parametrize("length", [0, 1, 5, 2**62])
def test_a_length_is_taken_as_it_is(length: int) -> None:
    assert content_length(CONTENT_LENGTH=str(length)) == length


@pytest.mark.parametrize("digits", [20, 40, 5000])
def test_a_length_that_nobody_can_hold_is_not_taken_for_nothing(digits: int) -> None:
    """It was: the request was 204 and its body thrown away."""
    assert content_length(CONTENT_LENGTH="9" * digits) == sys.maxsize


def test_chunks_have_no_length() -> None:
    assert content_length(HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="5") is None


@pytest.mark.parametrize("text", ["", "+5", "-5", "five", "²"])
def test_without_a_length_there_is_no_body(text: str) -> None:
    assert content_length(CONTENT_LENGTH=text) == 0
