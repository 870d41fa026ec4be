"""The file name and the type in a client's description of a file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tus_wsgi.domain.descriptions import MAX_FILENAME, parse_media_type, safe_filename

examples = settings(max_examples=150, deadline=None)

octets = st.text(st.characters(max_codepoint=0xFF))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.txt", "a.txt"),
        ("Menü.pdf", "Menü.pdf"),
        ("evil.exe", "evil.exe"),
        ("evil.exe.", "evil.exe"),
        ("evil.exe . .", "evil.exe"),
        (" evil.exe\x00", "evil.exe"),
        ("evil.exe.\u00a0", "evil.exe"),
        ("evil\u202excod.exe", "evilxcod.exe"),
        ("../../evil.exe", ".._.._evil.exe"),
        ("C:\\evil.exe", "C:_evil.exe"),
        ("..", ""),
        ("", ""),
        ("x" * 300 + ".txt", "x" * 251 + ".txt"),
    ],
)
def test_a_file_name_is_safe_and_keeps_its_extension(text: str, name: str) -> None:
    assert safe_filename(text) == name


@pytest.mark.property
@examples
@given(st.text())
def test_any_text_gives_a_safe_file_name(text: str) -> None:
    name = safe_filename(text)
    assert name == safe_filename(name)
    assert len(name) <= MAX_FILENAME
    assert re.search(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", name) is None


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("text/plain", "text/plain"),
        ("Text/Plain", "text/plain"),
        ("image/svg+xml", "image/svg+xml"),
        ("text/plain;charset=utf-8", "text/plain"),
        ('text/plain ; charset="a;b\\"" ; x=y', "text/plain"),
        ("text/plain;", "text/plain"),
        ("text/plain; ;x=y ;", "text/plain"),
        ("", None),
        ("text", None),
        ("text/", None),
        ("/plain", None),
        ("text/plain/x", None),
        ("text /plain", None),
        ("text/plain; x", None),
        ("text/plain; x=", None),
        ("text/plain, text/html", None),
        ("text/plain\r\nX: y", None),
        ("text/plain\n", None),
        ('text/plain; x="\n"', None),
        ("tëxt/plain", None),
        ("text/plain" + "; " * 5000 + "=", None),
    ],
)
def test_media_types_are_parsed_by_the_grammar(text: str, base: str | None) -> None:
    assert parse_media_type(text) == base


tokens = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1)
quoted = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
parameters = st.lists(st.tuples(tokens, tokens | quoted).map("=".join))
media_types = st.tuples(tokens, tokens).map("/".join)


@pytest.mark.property
@examples
@given(st.text() | octets | st.text('a/b;= \t",\\\r\n'))
def test_a_valid_media_type_can_be_sent_in_a_field(text: str) -> None:
    """It becomes the Content-Type of a download and of the object."""
    base = parse_media_type(text)
    if base is not None:
        assert re.fullmatch(r"[\t\x20-\x7e]*", text)
        assert base == base.lower()
        assert parse_media_type(base) == base
        assert base in text.lower()


@pytest.mark.property
@examples
@given(media_types, parameters, st.sampled_from([";", "; ", " ;", "\t; "]))
def test_parameters_of_a_media_type_are_ignored(
    base: str, parameters: list[str], separator: str
) -> None:
    """C-32."""
    assert parse_media_type(separator.join([base, *parameters])) == base.lower()
