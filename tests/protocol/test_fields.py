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

examples = settings(max_examples=150, deadline=None)

octets = st.text(st.characters(max_codepoint=0xFF))

# Valid keys: text without spaces, commas and control characters.
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
def test_an_invalid_integer_is_rejected(text: str) -> None:
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
        pytest.param("0005", 5, id="C-35 more zeros"),
        ("9007199254740993", 2**53 + 1),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_an_integer_is_parsed(text: str, value: int) -> None:
    assert fields.parse_integer("Upload-Length", text) == value


@pytest.mark.property
@given(st.integers(0, 2**63 - 1))
def test_parse_integer_is_the_inverse_of_build_integer(value: int) -> None:
    assert fields.parse_integer("Upload-Length", fields.build_integer(value)) == value


@pytest.mark.parametrize("text", ["0", "2", "01", "true", "", "1,1", " 1", "+1", "\uff11"])
def test_other_values_of_defer_length_are_rejected(text: str) -> None:
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
        pytest.param("flag ", (("flag", b""),), id="CM-02 a trailing space"),
        pytest.param("a YQ==,flag", (("a", b"a"), ("flag", b"")), id="CM-02 last"),
        pytest.param(
            "empty ,utf8 w7w=", (("empty", b""), ("utf8", "ü".encode())), id="CM-02 tus-js-client"
        ),
        pytest.param("a YQ==, b Yg==", (("a", b"a"), ("b", b"b")), id="CM-04"),
        pytest.param("a YQ== ,  b Yg==", (("a", b"a"), ("b", b"b")), id="CM-04 before the comma"),
        pytest.param("a AA0KIoD/", (("a", b'\x00\r\n"\x80\xff'),), id="CM-08"),
        pytest.param("a Li4vLi4veA==", (("a", b"../../x"),), id="CM-08 a path"),
        pytest.param('k=;"/\\ YQ==', (('k=;"/\\', b"a"),), id="CM-09 punctuation"),
        pytest.param("k" * 1000, (("k" * 1000, b""),), id="CM-09 long"),
        pytest.param("gr\xc3\xb6\xc3\x9fe MQ==", (("größe", b"1"),), id="CM-09 UTF-8"),
        pytest.param("gr\xf6\xdfe MQ==", (("größe", b"1"),), id="CM-09 Latin-1"),
        pytest.param("a YR==", (("a", b"a"),), id="trailing bits are dropped"),
    ],
)
def test_metadata_is_parsed_and_its_text_kept(
    text: str, expected: tuple[tuple[str, bytes], ...]
) -> None:
    assert fields.parse_metadata(text) == Metadata(pairs=expected, raw=text)


def test_metadata_is_limited() -> None:
    longest_list = ",".join(f"k{number} {'YWJj' * 38}" for number in range(MAX_PAIRS))
    assert len(longest_list) < MAX_METADATA
    assert len(fields.parse_metadata(longest_list).pairs) == MAX_PAIRS
    longest_value = f"k {'YWJj' * (MAX_METADATA // 4 - 1)}"
    assert len(fields.parse_metadata(longest_value).pairs) == 1
    for too_long in (f"{longest_list},one", f"{longest_value},one", "," * 1_000_000):
        with pytest.raises(MalformedField, match="expected at most 200 pairs in 32768 bytes"):
            fields.parse_metadata(too_long)


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("filename YQ==,", "filename YQ=="),
        ("a YQ==,,b Yg==", "a YQ==,b Yg=="),
        (",a YQ== ,\t, b Yg==, ", "a YQ==,b Yg=="),
        ("a,,b", "a,b"),
        (",", None),
        (" , ,, ", None),
    ],
)
def test_empty_elements_of_the_metadata_list_are_ignored(text: str, raw: str | None) -> None:
    """CM-06: "A recipient MUST parse and ignore a reasonable number of empty list elements", and
    "a sender MUST NOT generate empty list elements" (RFC 9110, section 5.6.1)."""
    expected = Metadata() if raw is None else fields.parse_metadata(raw)
    assert fields.parse_metadata(text) == expected
    assert expected.raw == raw


def test_empty_elements_of_the_metadata_list_are_limited() -> None:
    most = "a YQ==" + "," * (MAX_PAIRS - 1)
    assert fields.parse_metadata(most).raw == "a YQ=="
    with pytest.raises(MalformedField):
        fields.parse_metadata(most + ",")


@pytest.mark.parametrize("text", ["", " ", "\t "])
def test_an_empty_metadata_field_is_ignored(text: str) -> None:
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
        *(pytest.param(bad, id=f"CM-06 {bad!r}") for bad in ("a YQ==,\x0b,b", "a YQ==,,\x01")),
        *(pytest.param(f"a {v}", id=f"CM-07 {v!r}") for v in ("@@@", "YQ", "_-8=", "YQ== x")),
        *(pytest.param(f"a {v}", id=f"CM-07 {v!r}") for v in (" YQ==", "YQ=", "YQ===", "YWJj=")),
        *(pytest.param(f"a {v}", id=f"CM-07 {v!r}") for v in ("=", "YQ==YQ==", "YQ\n==", "YQ=ü")),
        pytest.param("a\tYQ==", id="CM-07 a TAB"),
        pytest.param("a\x00 YQ==", id="NUL in a key"),
        pytest.param("a\r\nSet-Cookie:x YQ==", id="a line break in a key"),
        pytest.param("ключ YQ==", id="not bytes"),
        pytest.param("\ud800 YQ==", id="a lone surrogate"),
    ],
)
def test_malformed_metadata_is_rejected(text: str) -> None:
    with pytest.raises(MalformedField, match=r"^Upload-Metadata: "):
        fields.parse_metadata(text)


@pytest.mark.property
@examples
@given(st.text() | octets | st.text("ab ,=\tYQ"))
def test_any_metadata_is_parsed_or_rejected(text: str) -> None:
    """CM-01 to CM-09: parsed metadata can be echoed in a header field."""
    try:
        metadata = fields.parse_metadata(text)
    except MalformedField:
        return
    if metadata.raw is not None:
        metadata.raw.encode("latin-1")
        assert re.search(r"[\x00-\x1f\x7f]", metadata.raw) is None
        assert fields.parse_metadata(metadata.raw) == metadata


@pytest.mark.property
@examples
@given(st.text() | octets | st.text("0123456789+-_ ", max_size=25))
def test_any_number_is_parsed_or_rejected(text: str) -> None:
    """C-34."""
    try:
        value = fields.parse_integer("Upload-Length", text)
    except MalformedField:
        return
    assert 0 <= value < 2**63
    assert text.isascii()
    assert text.isdigit()


@pytest.mark.property
@examples
@given(pairs)
def test_parse_metadata_is_the_inverse_of_build_metadata(
    pairs: tuple[tuple[str, bytes], ...],
) -> None:
    assert fields.parse_metadata(fields.build_metadata(pairs)).pairs == pairs


@pytest.mark.parametrize("key", ["", "a b", "a,b", "a\tb", "a\r\nb", "\x7f"])
def test_a_key_that_a_field_cannot_contain_is_omitted(key: str) -> None:
    assert fields.build_metadata([("a", b"a"), (key, b"x"), ("c", b"")]) == "a YQ==,c"


def test_a_lone_surrogate_in_a_key_is_replaced() -> None:
    assert fields.build_metadata([("\ud800", b"a")]) == "? YQ=="


@pytest.mark.property
@given(st.integers(0, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_parse_date_is_the_inverse_of_build_date_in_seconds(instant: datetime) -> None:
    text = fields.build_date(instant)
    assert fields.parse_date(text) == instant
    later = instant + timedelta(microseconds=999_999)
    assert fields.build_date(later) == text


def test_dates_are_built_in_gmt() -> None:
    """EX-04."""
    zone = timezone(timedelta(hours=2))
    instant = datetime(2014, 6, 25, 18, 0, tzinfo=zone)
    assert fields.build_date(instant) == "Wed, 25 Jun 2014 16:00:00 GMT"


@pytest.mark.parametrize(
    "text", [None, "", "yesterday", "2014-06-25", "Wed, " + "9" * 30 + " Jun 2014 16:00:00 GMT"]
)
def test_a_malformed_date_is_ignored(text: str | None) -> None:
    assert fields.parse_date(text) is None


@pytest.mark.property
@examples
@given(
    st.text() | st.lists(st.sampled_from(["Jun", "25", "16:00:00", "٣:٣", "9" * 30])).map(" ".join)
)
def test_parse_date_never_raises(text: str) -> None:
    instant = fields.parse_date(text)
    assert instant is None or instant.tzinfo is not None


# -- generated values ------------------------------------------------------------------------------


def is_accepted(check: Callable[[str], None], text: str) -> bool:
    """Return whether the check accepts a text."""
    try:
        check(text)
    except MalformedField:
        return False
    return True


@pytest.mark.property
@examples
@given(
    st.text()
    | octets
    | st.text("chunkedCHUNKED ,;", max_size=9)
    | st.sampled_from(["chunked", "Chunked", "chunked ", "chunked, chunked", "gzip, chunked"])
)
def test_only_the_chunked_coding_is_accepted(text: str) -> None:
    """FRAMING."""
    assert is_accepted(fields.check_transfer_coding, text) is (text.lower() == "chunked")


def test_a_missing_coding_is_accepted() -> None:
    fields.check_transfer_coding(None)


@pytest.mark.property
@examples
@given(st.text() | octets | st.sampled_from(["1", "1 ", "01", "\uff11"]))
def test_only_one_value_of_defer_length_is_accepted(text: str) -> None:
    """DL-02."""
    assert is_accepted(fields.check_defer_length, text) is (text == "1")


@pytest.mark.property
@examples
@given(st.text() | octets | st.text("aB, \t"))
def test_any_text_is_parsed_as_field_names(text: str) -> None:
    """CT-01: parsing the names again gives the same names."""
    names = fields.parse_field_names(text)
    for name in names:
        assert name
        assert name == name.lower() or not name.isascii()
        assert "," not in name
        assert name == name.strip(" \t")
    assert fields.parse_field_names(", ".join(names)) == names


tokens = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1)


@pytest.mark.property
@examples
@given(st.lists(tokens), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_a_list_of_field_names_is_parsed(names: list[str], separator: str) -> None:
    assert fields.parse_field_names(separator.join(names)) == {name.lower() for name in names}


def test_a_long_value_is_truncated_in_messages() -> None:
    assert fields.quote_value("é\n" + "x" * 100) == "'é\\n" + "x" * 58 + "…'"
