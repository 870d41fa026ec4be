"""How long the body of a request is, as its header says."""

from __future__ import annotations

import sys

import pytest

from tus_wsgi.wsgi.framing import content_length


@pytest.mark.parametrize("length", [0, 1, 5, 2**62])
def test_content_length_is_the_number_of_bytes(length: int) -> None:
    assert content_length({"CONTENT_LENGTH": str(length)}) == length


@pytest.mark.parametrize("digits", [20, 40, 5000])
def test_a_length_too_long_to_represent_is_not_zero(digits: int) -> None:
    """It was: the request was answered with 204 and its body discarded."""
    assert content_length({"CONTENT_LENGTH": "9" * digits}) == sys.maxsize


def test_a_chunked_body_has_no_length() -> None:
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"}
    assert content_length(environ) is None


@pytest.mark.parametrize("text", ["", "+5", "-5", "five", "²"])
def test_a_request_without_a_valid_length_has_no_body(text: str) -> None:
    assert content_length({"CONTENT_LENGTH": text}) == 0
