"""Structured fields: what can be read is read, and everything else is as if it were not there."""

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
def test_an_integer_is_read_and_its_parameters_are_ignored(text: str, value: int) -> None:
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
def test_what_is_no_integer_is_as_if_it_were_not_there(text: str | None) -> None:
    """R-01"""
    assert parse_integer(text) is None


@pytest.mark.parametrize(("text", "value"), [("?0", False), ("?1", True), ("?1;a=b", True)])
def test_a_boolean_is_read(*, text: str, value: bool) -> None:
    assert parse_boolean(text) is value


@pytest.mark.parametrize("text", [None, "", "1", "true", "?2", "?1, ?1", "?1,?0", "? 1", "?"])
def test_what_is_no_boolean_is_as_if_it_were_not_there(text: str | None) -> None:
    """R-02"""
    assert parse_boolean(text) is None


@pytest.mark.property
@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    """ "If parsing fails, [...] the entire field value MUST be ignored" (RFC 9651, section 4.2)."""
    assert parse_integer(text) is None or parse_integer(text) in range(MAX_INTEGER + 1)
    assert parse_boolean(text) in (None, True, False)


@pytest.mark.property
@given(truth=st.booleans(), number=st.integers(0, MAX_INTEGER))
def test_what_is_built_is_read_back(*, truth: bool, number: int) -> None:
    assert parse_boolean(build_boolean(truth)) is truth
    assert parse_integer(str(number)) == number


def test_a_dictionary_has_no_number_that_nobody_could_read() -> None:
    built = build_dictionary([("max-size", 5 * 2**60), ("min-size", 0)])
    assert built == f"max-size={MAX_INTEGER}, min-size=0"
