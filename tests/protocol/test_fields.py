"""Values of header fields: realistic, synthetic and pathological."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tus_wsgi.domain.errors import MalformedField
from tus_wsgi.domain.model import Metadata
from tus_wsgi.protocol import fields
from tus_wsgi.protocol.fields import MAX_METADATA, MAX_PAIRS

anything = settings(max_examples=150, deadline=None)

octets = st.text(st.characters(max_codepoint=0xFF))

# What a key may be, as text: anything without spaces, commas and control characters.
keys = st.text(st.characters(exclude_characters=" ,", exclude_categories=("Cc", "Cs")), min_size=1)
pairs = st.lists(st.tuples(keys, st.binary()), unique_by=lambda pair: pair[0]).map(tuple)

BAD_INTEGERS = [
    *("", " ", "-1", "-0", "+5", "5.0", "1e3", "0x5", "5 5", "5,5", " 5", "5 ", "5\n", "\t5"),
    *(
        "\u0665",
        "\uff11",
        "²",
        "0_1",
        "1;a=1",
        "NaN",
        "true",
        "9" * 20,
        "9" * 4001,
        "0" * 20,
        "\x00",
    ),
    *(str(2**63), str(2**64), "1\x00", "5\ud800"),
]


@pytest.mark.parametrize("text", BAD_INTEGERS)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    """C-34, CR-05."""
    with pytest.raises(MalformedField) as caught:
        fields.parse_integer("Upload-Offset", text)
    assert caught.value.field == "Upload-Offset"
    assert len(caught.value.reason) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("5", 5),
        pytest.param("00", 0, id="C-35"),
        pytest.param("0005", 5, id="C-35 with more"),
        ("9007199254740993", 2**53 + 1),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_whole_numbers_are_read(text: str, value: int) -> None:
    assert fields.parse_integer("Upload-Length", text) == value


@pytest.mark.property
@given(st.integers(0, 2**63 - 1))
def test_an_integer_comes_back_as_it_was(value: int) -> None:
    assert fields.parse_integer("Upload-Length", fields.build_integer(value)) == value


@pytest.mark.parametrize("text", ["0", "2", "01", "true", "", "1,1", " 1", "+1", "\uff11"])
def test_a_deferred_length_is_said_in_one_way_only(text: str) -> None:
    """DL-02."""
    with pytest.raises(MalformedField, match="Upload-Defer-Length"):
        fields.check_defer_length(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("filename d29ybGQ=", (("filename", b"world"),), id="CM-01"),
        pytest.param("a YQ==,b Yg==", (("a", b"a"), ("b", b"b")), id="CM-01 two"),
        pytest.param("b Yg==,a YQ==", (("b", b"b"), ("a", b"a")), id="CM-01 the client's order"),
        pytest.param("flag", (("flag", b""),), id="CM-02"),
        pytest.param("flag ", (("flag", b""),), id="CM-02 a space behind"),
        pytest.param("a YQ==,flag", (("a", b"a"), ("flag", b"")), id="CM-02 last"),
        pytest.param(
            "empty ,utf8 w7w=", (("empty", b""), ("utf8", "ü".encode())), id="CM-02 tus-js-client"
        ),
        pytest.param("a YQ==, b Yg==", (("a", b"a"), ("b", b"b")), id="CM-04"),
        pytest.param("a YQ== ,  b Yg==", (("a", b"a"), ("b", b"b")), id="CM-04 before the comma"),
        pytest.param("a AA0KIoD/", (("a", b'\x00\r\n"\x80\xff'),), id="CM-08"),
        pytest.param("a Li4vLi4veA==", (("a", b"../../x"),), id="CM-08 a path"),
        pytest.param('k=;"/\\ YQ==', (('k=;"/\\', b"a"),), id="CM-09 signs"),
        pytest.param("k" * 1000, (("k" * 1000, b""),), id="CM-09 long"),
        pytest.param("gr\xc3\xb6\xc3\x9fe MQ==", (("größe", b"1"),), id="CM-09 UTF-8"),
        pytest.param("gr\xf6\xdfe MQ==", (("größe", b"1"),), id="CM-09 Latin-1"),
        pytest.param("a YR==", (("a", b"a"),), id="bits behind the end are dropped"),
    ],
)
def test_metadata_is_read_and_kept(text: str, expected: tuple[tuple[str, bytes], ...]) -> None:
    assert fields.parse_metadata(text) == Metadata(pairs=expected, raw=text)


def test_metadata_may_be_long_but_not_endless() -> None:
    most = ",".join(f"k{number} {'YWJj' * 38}" for number in range(MAX_PAIRS))
    assert len(most) < MAX_METADATA
    assert len(fields.parse_metadata(most).pairs) == MAX_PAIRS
    longest = f"k {'YWJj' * (MAX_METADATA // 4 - 1)}"
    assert len(fields.parse_metadata(longest).pairs) == 1
    for more in (f"{most},one", f"{longest},one", "," * 1_000_000):
        with pytest.raises(MalformedField, match="expected at most 200 pairs in 32768 bytes"):
            fields.parse_metadata(more)


@pytest.mark.parametrize("text", ["", " ", "\t "])
def test_an_empty_metadata_field_is_none(text: str) -> None:
    """CM-03: tuspy sends one."""
    assert fields.parse_metadata(text) == Metadata()


def test_a_tab_between_pairs_is_not_echoed() -> None:
    """CM-04: PEP 3333 forbids control characters in replies."""
    metadata = fields.parse_metadata("a YQ==,\tb Yg==")
    assert metadata.raw == "a YQ==, b Yg=="
    assert fields.parse_metadata(metadata.raw) == metadata


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a YQ==,a Yg==", id="CM-05"),
        pytest.param("a,b,a", id="CM-05 without values"),
        pytest.param("\xc3\xb6 YQ==,\xf6 YQ==", id="CM-05 in two encodings"),
        *(pytest.param(bad, id=f"CM-06 {bad!r}") for bad in (",", "a,,b", "a YQ==,", "a YQ==, ")),
        *(pytest.param(f"a {v}", id=f"CM-07 {v!r}") for v in ("@@@", "YQ", "_-8=", "YQ== x")),
        *(pytest.param(f"a {v}", id=f"CM-07 {v!r}") for v in (" YQ==", "YQ=", "YQ===", "YWJj=")),
        *(pytest.param(f"a {v}", id=f"CM-07 {v!r}") for v in ("=", "YQ==YQ==", "YQ\n==", "YQ=ü")),
        pytest.param("a\tYQ==", id="CM-07 a TAB"),
        pytest.param("a\x00 YQ==", id="NUL in a key"),
        pytest.param("a\r\nSet-Cookie:x YQ==", id="a line end in a key"),
        pytest.param("ключ YQ==", id="no octets"),
        pytest.param("\ud800 YQ==", id="a lone surrogate"),
    ],
)
def test_metadata_that_breaks_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(MalformedField, match=r"^Upload-Metadata: "):
        fields.parse_metadata(text)


@pytest.mark.property
@anything
@given(st.text() | octets | st.text("ab ,=\tYQ"))
def test_whatever_comes_in_metadata_is_read_or_refused(text: str) -> None:
    """CM-01 to CM-09: and what is read can be echoed in a header field."""
    try:
        metadata = fields.parse_metadata(text)
    except MalformedField:
        return
    if metadata.raw is not None:
        metadata.raw.encode("latin-1")
        assert re.search(r"[\x00-\x1f\x7f]", metadata.raw) is None
        assert fields.parse_metadata(metadata.raw) == metadata


@pytest.mark.property
@anything
@given(st.text() | octets | st.text("0123456789+-_ ", max_size=25))
def test_whatever_comes_as_a_number_is_read_or_refused(text: str) -> None:
    """C-34."""
    try:
        value = fields.parse_integer("Upload-Length", text)
    except MalformedField:
        return
    assert 0 <= value < 2**63
    assert text.isascii()
    assert text.isdigit()


@pytest.mark.property
@anything
@given(pairs)
def test_metadata_comes_back_as_it_was(pairs: tuple[tuple[str, bytes], ...]) -> None:
    assert fields.parse_metadata(fields.build_metadata(pairs)).pairs == pairs


@pytest.mark.parametrize("key", ["", "a b", "a,b", "a\tb", "a\r\nb", "\x7f"])
def test_a_key_that_no_field_can_hold_is_left_out(key: str) -> None:
    assert fields.build_metadata([("a", b"a"), (key, b"x"), ("c", b"")]) == "a YQ==,c"


def test_a_key_of_a_lone_surrogate_does_no_harm() -> None:
    assert fields.build_metadata([("\ud800", b"a")]) == "? YQ=="


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
def test_media_types_follow_their_grammar(text: str, base: str | None) -> None:
    assert fields.parse_media_type(text) == base


@pytest.mark.property
@given(st.integers(0, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_a_date_comes_back_to_the_second(instant: datetime) -> None:
    text = fields.build_date(instant)
    assert fields.parse_date(text) == instant
    later = instant + timedelta(microseconds=999_999)
    assert fields.build_date(later) == text


def test_dates_are_written_as_http_wants_them() -> None:
    """EX-04."""
    there = timezone(timedelta(hours=2))
    instant = datetime(2014, 6, 25, 18, 0, tzinfo=there)
    assert fields.build_date(instant) == "Wed, 25 Jun 2014 16:00:00 GMT"


@pytest.mark.parametrize(
    "text", [None, "", "yesterday", "2014-06-25", "Wed, " + "9" * 30 + " Jun 2014 16:00:00 GMT"]
)
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert fields.parse_date(text) is None


@pytest.mark.property
@anything
@given(
    st.text() | st.lists(st.sampled_from(["Jun", "25", "16:00:00", "٣:٣", "9" * 30])).map(" ".join)
)
def test_no_text_breaks_the_reading_of_dates(text: str) -> None:
    when = fields.parse_date(text)
    assert when is None or when.tzinfo is not None


# -- whatever comes --------------------------------------------------------------------------------

tokens = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1)
quoted = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
parameters = st.lists(st.tuples(tokens, tokens | quoted).map("=".join))
media_types = st.tuples(tokens, tokens).map("/".join)


@pytest.mark.property
@anything
@given(st.text() | octets | st.text('a/b;= \t",\\\r\n'))
def test_what_is_read_as_a_media_type_can_be_sent_again(text: str) -> None:
    """It becomes the Content-Type of a download, and of an object in the store."""
    base = fields.parse_media_type(text)
    if base is not None:
        assert re.fullmatch(r"[\t\x20-\x7e]*", text)
        assert base == base.lower()
        assert fields.parse_media_type(base) == base
        assert base in text.lower()


@pytest.mark.property
@anything
@given(media_types, parameters, st.sampled_from([";", "; ", " ;", "\t; "]))
def test_every_media_type_is_read_whatever_its_parameters(
    base: str, parameters: list[str], between: str
) -> None:
    """C-32."""
    assert fields.parse_media_type(between.join([base, *parameters])) == base.lower()


def is_taken(read: Callable[[str], None], text: str) -> bool:
    """Whether a text is taken, and not refused."""
    try:
        read(text)
    except MalformedField:
        return False
    return True


@pytest.mark.property
@anything
@given(
    st.text()
    | octets
    | st.text("chunkedCHUNKED ,;", max_size=9)
    | st.sampled_from(["chunked", "Chunked", "chunked ", "chunked, chunked", "gzip, chunked"])
)
def test_no_coding_passes_but_chunked(text: str) -> None:
    """FRAMING."""
    assert is_taken(fields.check_transfer_coding, text) is (text.lower() == "chunked")


def test_no_coding_at_all_passes() -> None:
    fields.check_transfer_coding(None)


@pytest.mark.property
@anything
@given(st.text() | octets | st.sampled_from(["1", "1 ", "01", "\uff11"]))
def test_a_length_is_deferred_by_one_text_only(text: str) -> None:
    """DL-02."""
    assert is_taken(fields.check_defer_length, text) is (text == "1")


@pytest.mark.property
@anything
@given(st.text() | octets | st.text("aB, \t"))
def test_names_of_fields_are_read_whatever_comes(text: str) -> None:
    """CT-01: and read once more they are the same."""
    names = fields.parse_field_names(text)
    for name in names:
        assert name
        assert name == name.lower() or not name.isascii()
        assert "," not in name
        assert name == name.strip(" \t")
    assert fields.parse_field_names(", ".join(names)) == names


@pytest.mark.property
@anything
@given(st.lists(tokens), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_every_list_of_names_is_read(names: list[str], between: str) -> None:
    assert fields.parse_field_names(between.join(names)) == {name.lower() for name in names}


def test_a_long_value_is_cut_in_errors() -> None:
    assert fields.quote_value("é\n" + "x" * 100) == "'é\\n" + "x" * 58 + "…'"
