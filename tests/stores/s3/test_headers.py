"""The S3 object's headers from the client's metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.stores import S3Sandbox
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.stores.s3.headers import (
    MAX_METADATA_SIZE,
    MAX_VALUE_SIZE,
    ObjectHeaders,
    object_headers,
)


def headers(*pairs: tuple[str, bytes]) -> ObjectHeaders:
    return object_headers(Metadata(pairs))


def text_of(value: bytes) -> str | None:
    return headers(("name", value)).metadata.get("name")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a.txt", "a.txt"),
        ("Menü".encode(), "Men?"),
        (b"a\tb\t", "a b"),
        (b"~ !\"%,;=\\'", "~ !\"%,;=\\'"),
        (b"a\rb", "a?b"),
        (b"a\nb", "a?b"),
        (b"a\r\nSet-Cookie: b=c", "a??Set-Cookie: b=c"),
        (b"a\x00b\x1f\x7f", "a?b??"),
        ("a😀b".encode(), "a?b"),
        ("é😀\t\r\na".encode() + b"\xffb", "?? ??a?b"),
        (b"\xc3", "?"),
        (b"\xff\xfe\xfd", "???"),
        ("\x80\u2028\ufffd".encode(), "???"),
        (b"", ""),
        (b"  a b  ", "a b"),
    ],
)
def test_values_become_ascii_as_in_tusd(value: bytes, text: str) -> None:
    """CM-08: no value can inject a header field."""
    assert text_of(value) == text


@pytest.mark.parametrize("key", ["filename", "x-y_z.1", "!#$%&'*+-.^_`|~", "UPPER", "0", "k" * 100])
def test_keys_that_are_tokens_are_kept_in_lower_case(key: str) -> None:
    assert headers((key, b"v")).metadata == {key.lower(): "v"}


@pytest.mark.parametrize("key", ["a b", "a:b", "a/b", "a=b", "é", "a\n", "(a)", '"a"', ""])
def test_keys_that_are_not_tokens_are_omitted(key: str) -> None:
    """CM-09."""
    assert headers((key, b"v"), ("other", b"w")).metadata == {"other": "w"}


def test_of_keys_that_differ_in_case_the_first_is_kept() -> None:
    assert headers(("Name", b"a"), ("name", b"b"), ("NAME", b"c")).metadata == {"name": "a"}


@pytest.mark.parametrize(("size", "kept"), [(MAX_VALUE_SIZE, True), (MAX_VALUE_SIZE + 1, False)])
def test_a_value_above_the_size_limit_is_omitted(*, size: int, kept: bool) -> None:
    assert ("name" in headers(("name", b"v" * size)).metadata) is kept


def test_a_large_value_does_not_displace_later_pairs() -> None:
    found = headers(("large", b"v" * 3 * 1024), ("filename", b"a.txt")).metadata
    assert found == {"filename": "a.txt"}


def test_pairs_above_the_total_size_limit_are_omitted() -> None:
    pairs = [(f"key{number:02}", b"v" * 250) for number in range(20)]
    found = headers(*pairs, ("small", b"")).metadata
    assert 5 <= len(found) <= 9
    assert list(found)[:5] == [key for key, _ in pairs[:5]]
    assert "small" in found, "a later pair may still fit"


@pytest.mark.property
@given(
    st.lists(
        st.tuples(st.text(max_size=150), st.binary(max_size=300)),
        max_size=80,
        unique_by=lambda p: p[0],
    )
)
def test_any_metadata_gives_valid_headers(pairs: list[tuple[str, bytes]]) -> None:
    found = object_headers(Metadata(tuple(pairs)))
    total = sum(len(key) + len(value) for key, value in found.metadata.items())
    assert total <= MAX_METADATA_SIZE
    for key, value in found.metadata.items():
        assert key.isascii()
        assert key.islower() or not any(c.isalpha() for c in key)
        assert all(" " <= c <= "~" for c in value)
        assert value == value.strip()


@pytest.mark.parametrize(
    "filetype",
    [
        "image/png",
        "text/plain; charset=utf-8",
        "text/plain;charset=utf-8",
        'text/plain; charset="utf 8"; format=flowed',
        "text/plain \t;\t charset=utf-8",
        "application/vnd.a+json",
        "Image/PNG",
    ],
)
def test_the_filetype_is_the_content_type(filetype: str) -> None:
    found = headers(("filetype", filetype.encode()))
    sent = filetype.replace("\t", " ")  # a TAB would be signed in another way than it is sent
    assert found.content_type == sent
    assert found.metadata == {"filetype": sent}


@pytest.mark.parametrize(
    "filetype",
    [
        "",
        "image",
        "image/",
        "/png",
        "image/png/x",
        "image/ png",
        "image/png;",
        "image/png; q",
        "text/plain; charset=\u00fc",
        "text/plain\r\nSet-Cookie: a=b",
        "text/plain;\r\n a=b",
        "text/plain;\n a=b",
        "text/plain;\x0b a=b",
        "text/plain;\u00a0a=b",
        "text/plain; a=b\n",
        'text/plain; a="\n"',
        "text/plain, text/html",
        "texté/plain",
        "*",
    ],
)
def test_a_filetype_that_is_not_a_media_type_is_no_content_type(filetype: str) -> None:
    """Such a value could inject a header field."""
    assert headers(("filetype", filetype.encode())).content_type is None


def test_without_a_filetype_the_service_default_applies() -> None:
    assert headers(("filename", b"a")) == ObjectHeaders(None, {"filename": "a"})
    assert headers() == ObjectHeaders(None, {})
    assert headers(("FileType", b"image/png")).content_type is None


def test_s3_returns_the_headers_unchanged(sandbox: S3Sandbox) -> None:
    """Every character that may occur can be signed and stored."""
    given = headers(
        ("filename", "Menü  of\tthe day.pdf".encode()),
        ("filetype", b'application/pdf; name="a b"'),
        ("!#$%&'*+-.^_`|~09aZ", b"~ !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}"),
        ("long", b"v" * MAX_VALUE_SIZE),
        *((f"key{number}", b"v" * 200) for number in range(9)),
    )
    key = sandbox.keys.data(UploadId("a"))
    bucket, client = sandbox.bucket, sandbox.client
    client.put_object(
        Bucket=bucket,
        Key=key,
        Body=b"x",
        Metadata=given.metadata,
        ContentType=given.content_type or "",
    )
    found = client.head_object(Bucket=bucket, Key=key)
    assert found["Metadata"] == given.metadata
    assert found["ContentType"] == given.content_type
