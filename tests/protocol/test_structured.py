"""Structured fields: valid values are parsed, and malformed values are ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.protocol.structured import (
    MAX_INTEGER,
    build_boolean,
    build_dictionary,
    parse_boolean,
    parse_integer,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("007", 7),
        (" 1 ", 1),
        ("1;x=2", 1),
        ('1; q="a\\"b";t=?1;d=1.5;b=:YQ==:;n', 1),
        ("999999999999999", MAX_INTEGER),
    ],
)
def test_parameters_of_an_integer_are_ignored(text: str, value: int) -> None:
    """R-01"""
    assert parse_integer(text) == value


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "abc",
        "-1",
        "1.0",
        '"1"',
        "1000000000000000",
        "1, 2",
        "1,2",
        "+1",
        "1;",
        "1 2",
        "?1",
    ],
)
def test_a_malformed_integer_is_ignored(text: str | None) -> None:
    """R-01"""
    assert parse_integer(text) is None


@pytest.mark.parametrize(("text", "value"), [("?0", False), ("?1", True), ("?1;a=b", True)])
def test_a_boolean_is_parsed(*, text: str, value: bool) -> None:
    assert parse_boolean(text) is value


@pytest.mark.parametrize("text", [None, "", "1", "true", "?2", "?1, ?1", "?1,?0", "? 1", "?"])
def test_a_malformed_boolean_is_ignored(text: str | None) -> None:
    """R-02"""
    assert parse_boolean(text) is None


@pytest.mark.property
@given(st.text())
def test_parsing_never_raises(text: str) -> None:
    """ "If parsing fails, [...] the entire field value MUST be ignored" (RFC 9651, section 4.2)."""
    assert parse_integer(text) is None or parse_integer(text) in range(MAX_INTEGER + 1)
    assert parse_boolean(text) in (None, True, False)


@pytest.mark.property
@given(truth=st.booleans(), number=st.integers(0, MAX_INTEGER))
def test_parse_is_the_inverse_of_build(*, truth: bool, number: int) -> None:
    assert parse_boolean(build_boolean(truth)) is truth
    assert parse_integer(str(number)) == number


def test_a_dictionary_caps_large_integers() -> None:
    built = build_dictionary([("max-size", 5 * 2**60), ("min-size", 0)])
    assert built == f"max-size={MAX_INTEGER}, min-size=0"
