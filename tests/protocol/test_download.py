"""Replies to GET: conditions, ranges, types and file names."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from tests.protocol.heads import ID, MODIFIED, Bytes, plain, value_of
from tus_wsgi.domain.commands import Downloadable
from tus_wsgi.domain.descriptions import parse_media_type
from tus_wsgi.domain.model import Metadata, State, UploadInfo
from tus_wsgi.protocol.download import (
    build_content_disposition,
    render_download,
    type_and_disposition,
)
from tus_wsgi.protocol.fields import build_date
from tus_wsgi.protocol.http import Reply

LAST_MODIFIED = build_date(MODIFIED)
BEFORE = build_date(MODIFIED - timedelta(seconds=1))
AFTER = build_date(MODIFIED + timedelta(seconds=1))

examples = settings(max_examples=100, deadline=None)


def get(
    fields: dict[str, str] | None = None,
    *,
    data: bytes = b"0123456789",
    metadata: dict[str, str] | None = None,
) -> Reply:
    """Return the reply to a GET with these fields for a finished upload."""
    pairs = tuple((key, value.encode()) for key, value in (metadata or {}).items())
    info = UploadInfo(ID, len(data), len(data), Metadata(pairs), State.FINISHED)
    return render_download(plain("GET", ID, fields), Downloadable(info, Bytes(data)))


def test_a_get_returns_the_whole_content() -> None:
    reply = get()
    assert (reply.status, reply.content, reply.body) == (200, (0, 10), b"")
    assert dict(reply.fields) == {
        "ETag": '"abc-2"',
        "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT",
        "Cache-Control": "private, no-cache, no-transform",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Accept-Ranges": "bytes",
        "Content-Length": "10",
    }


@pytest.mark.parametrize("range_", [None, "bytes=0-", "bytes=-5", "bytes=5-9"])
def test_ranges_of_empty_content_are_ignored(range_: str | None) -> None:
    reply = get({} if range_ is None else {"Range": range_}, data=b"")
    assert (reply.status, reply.content) == (200, (0, 0))
    assert value_of(reply, "Content-Length") == "0"


@pytest.mark.parametrize(
    ("range_", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=9-9", 9, 10),
        ("bytes=3-", 3, 10),
        ("bytes=3-99999999999999999999", 3, 10),
        ("bytes=-4", 6, 10),
        ("Bytes=2-5", 2, 6),
        pytest.param("bytes=0-", 0, 10, id="all of it, like a video player"),
        pytest.param("bytes=-99", 0, 10, id="more than the last bytes"),
    ],
)
def test_a_range_is_sent(range_: str, start: int, stop: int) -> None:
    reply = get({"Range": range_})
    assert (reply.status, reply.content) == (206, (start, stop))
    assert value_of(reply, "Content-Range") == f"bytes {start}-{stop - 1}/10"
    assert value_of(reply, "Content-Length") == str(stop - start)
    assert value_of(reply, "ETag") == '"abc-2"'


@pytest.mark.parametrize("range_", ["bytes=10-", "bytes=10-20", "bytes=99-"])
def test_a_range_beyond_the_end_is_not_satisfiable(range_: str) -> None:
    reply = get({"Range": range_})
    assert (reply.status, reply.content) == (416, None)
    assert value_of(reply, "Content-Range") == "bytes */10"
    assert value_of(reply, "Cache-Control") == "no-store"


@pytest.mark.parametrize(
    "range_",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=5", "bytes=5-2", "bytes=a-b", "bytes=-0"),
        *("items=0-1", "bytes=+1-2", "bytes=\u0663-", "bytes=0_1-", "bytes=--1"),
        *("bytes=" + "9" * 5000 + "-", "bytes=0-1,3-4", "bytes=0-0,-1", "bytes=0-1,"),
    ],
)
def test_malformed_and_multiple_ranges_are_ignored(range_: str) -> None:
    reply = get({"Range": range_})
    assert (reply.status, reply.content) == (200, (0, 10))
    assert value_of(reply, "Content-Range") is None


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("If-Match", '"abc-2"', 200),
        ("If-Match", '"x", "abc-2"', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"x"', 412),
        pytest.param("If-Match", 'W/"abc-2"', 412, id="If-Match compares strongly"),
        ("If-Match", "", 412),
        ("If-Match", '"', 412),
        ("If-Unmodified-Since", LAST_MODIFIED, 200),
        ("If-Unmodified-Since", AFTER, 200),
        ("If-Unmodified-Since", BEFORE, 412),
        ("If-Unmodified-Since", "yesterday", 200),
        ("If-None-Match", '"abc-2"', 304),
        pytest.param("If-None-Match", 'W/"abc-2"', 304, id="If-None-Match compares weakly"),
        ("If-None-Match", '"x", "abc-2"', 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", '"x"', 200),
        ("If-None-Match", "", 200),
        ("If-Modified-Since", LAST_MODIFIED, 304),
        ("If-Modified-Since", AFTER, 304),
        ("If-Modified-Since", BEFORE, 200),
        ("If-Modified-Since", "yesterday", 200),
    ],
)
def test_conditions_select_the_status(field: str, value: str, status: int) -> None:
    """RFC 9110, section 13.1."""
    reply = get({field: value})
    assert reply.status == status
    assert reply.content == ((0, 10) if status == 200 else None)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param(
            {"If-Match": '"abc-2"', "If-Unmodified-Since": BEFORE}, 200, id="tags before dates"
        ),
        pytest.param(
            {"If-None-Match": '"x"', "If-Modified-Since": AFTER},
            200,
            id="tags before dates in If-None-Match",
        ),
        pytest.param({"If-Match": '"x"', "If-None-Match": '"abc-2"'}, 412, id="412 before 304"),
        pytest.param({"If-None-Match": '"abc-2"', "Range": "bytes=99-"}, 304, id="304 before 416"),
        pytest.param({"If-Match": '"x"', "Range": "bytes=99-"}, 412, id="412 before 416"),
        pytest.param({"If-Match": '"abc-2"', "Range": "bytes=2-5"}, 206, id="the range last"),
    ],
)
def test_conditions_are_evaluated_in_order(fields: dict[str, str], status: int) -> None:
    """RFC 9110, section 13.2.2."""
    assert get(fields).status == status


@pytest.mark.parametrize("fields", [{}, {"Range": "bytes=99-"}, {"If-None-Match": "*"}])
def test_a_presigned_url_is_a_redirect(fields: dict[str, str]) -> None:
    """Conditions do not apply to a redirect (RFC 9110, section 13.2.1)."""
    info = UploadInfo(ID, 10, 10, state=State.FINISHED)
    outcome = Downloadable(info, Bytes(), presigned_url="https://s3/x")
    reply = render_download(plain("GET", ID, fields), outcome)
    assert (reply.status, reply.content, reply.body) == (307, None, b"")
    assert reply.fields == [("Location", "https://s3/x"), ("Cache-Control", "no-store")]


def test_type_and_disposition_describe_the_file_for_presigned_urls() -> None:
    pairs = (("filename", "Menü.png".encode()), ("filetype", b"image/png"))
    result = type_and_disposition(Metadata(pairs))
    assert result == ("image/png", build_content_disposition("inline", "Menü.png"))


def test_not_modified_contains_the_validators() -> None:
    reply = get({"If-None-Match": "*"})
    assert (reply.body, reply.content) == (b"", None)
    assert [name for name, _ in reply.fields] == ["ETag", "Last-Modified", "Cache-Control"]


@pytest.mark.parametrize(
    ("validator", "status"),
    [
        ('"abc-2"', 206),
        ('"x"', 200),
        pytest.param('W/"abc-2"', 200, id="a weak tag does not match"),
        (LAST_MODIFIED, 206),
        (BEFORE, 200),
        pytest.param(AFTER, 200, id="another date does not match"),
        ("yesterday", 200),
        ("", 200),
        ("*", 200),
    ],
)
def test_if_range_ignores_a_range_of_another_version(validator: str, status: int) -> None:
    """RFC 9110, section 13.1.5: otherwise a resumed download would mix two files."""
    assert get({"Range": "bytes=2-5", "If-Range": validator}).status == status


@pytest.mark.parametrize(
    "type_", ["text/plain", "image/png", "Image/JPEG", "video/mp4; codecs=avc1", "audio/ogg"]
)
def test_safe_types_are_inline(type_: str) -> None:
    reply = get(metadata={"filetype": type_})
    assert value_of(reply, "Content-Type") == type_
    assert value_of(reply, "Content-Disposition") == "inline"
    policy = value_of(reply, "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "sandbox" not in policy, "Chromium cannot play videos in a sandbox"
    assert "script-src" not in policy


@pytest.mark.parametrize(
    "type_", ["text/html", "image/svg+xml", "application/pdf", "text/xml", "application/zip"]
)
def test_other_types_are_attachments(type_: str) -> None:
    reply = get(metadata={"filetype": type_, "filename": "a.bin"})
    assert value_of(reply, "Content-Type") == type_
    assert value_of(reply, "Content-Disposition") == 'attachment; filename="a.bin"'


@pytest.mark.parametrize(
    "type_",
    ["", "png", "image/png\r\nSet-Cookie: a=b", "image/png, text/html", "image/pñg", "\x00"],
)
def test_an_invalid_type_becomes_octet_stream(type_: str) -> None:
    """CM-08."""
    reply = get(metadata={"filetype": type_})
    assert value_of(reply, "Content-Type") == "application/octet-stream"
    assert value_of(reply, "Content-Disposition") == "attachment"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("", "inline"),
        ("report.pdf", 'inline; filename="report.pdf"'),
        ("my report.pdf", 'inline; filename="my report.pdf"'),
        ("Menü.txt", "inline; filename=\"Menu.txt\"; filename*=UTF-8''Men%C3%BC.txt"),
        (
            "日本.txt",
            "inline; filename=\"__.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt",
        ),
        ('a"b.txt', "inline; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("50%25.txt", "inline; filename=\"50_25.txt\"; filename*=UTF-8''50%2525.txt"),
        ("a'(1)*.txt", 'inline; filename="a\'(1)*.txt"'),
        ("../../x", 'inline; filename=".._.._x"'),
        ("C:\\x.exe", 'inline; filename="C:_x.exe"'),
        ("a\r\nSet-Cookie: b\x00.txt", 'inline; filename="aSet-Cookie: b.txt"'),
        ("\x00\r\n", "inline"),
        ("a.exe. .", 'inline; filename="a.exe"'),
        ("..", "inline"),
        ("invoice\u202egpj.exe", 'inline; filename="invoicegpj.exe"'),
        ("x" * 300 + ".txt", f'inline; filename="{"x" * 251}.txt"'),
        ("a\uff0fb", "inline; filename=\"a_b\"; filename*=UTF-8''a%EF%BC%8Fb"),
    ],
)
def test_file_names_are_sanitized(filename: str, expected: str) -> None:
    """CM-08; RFC 6266 and RFC 8187."""
    assert build_content_disposition("inline", filename) == expected


@pytest.mark.property
@examples
@given(st.text())
def test_any_file_name_gives_a_valid_field(filename: str) -> None:
    """CM-08."""
    value = build_content_disposition("attachment", filename)
    assert re.fullmatch(
        r"attachment(; filename=\"[^\"\\/%\x00-\x1f\x7f-\U0010ffff]+\""
        r"(; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]+)?)?",
        value,
    )
    kind, options = parse_options_header(value)
    assert kind == "attachment"
    assert "/" not in unquote(options.get("filename", ""))


@pytest.mark.property
@examples
@given(st.text())
def test_any_declared_type_gives_a_valid_field(text: str) -> None:
    """CM-08."""
    reply = get(metadata={"filetype": text.encode(errors="replace").decode()})
    value = value_of(reply, "Content-Type")
    assert value is not None
    assert parse_media_type(value) is not None
    assert value.isascii()


NAMES = [
    "Range",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
]
VALUES = st.sampled_from(['"abc-2"', 'W/"abc-2"', LAST_MODIFIED, "bytes=0-3", "*"]) | st.text()


@pytest.mark.property
@examples
@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES | st.from_regex(r"\Abytes=\d{0,3}-\d{0,3}\Z")),
    st.binary(max_size=20),
)
def test_any_request_gives_a_consistent_reply(fields: dict[str, str], data: bytes) -> None:
    reply = get(fields, data=data)
    assert reply.status in (200, 206, 304, 412, 416)
    if reply.content is None:
        assert reply.status > 299
        return
    start, stop = reply.content
    assert 0 <= start <= stop <= len(data)
    assert value_of(reply, "Content-Length") == str(stop - start)
    assert (reply.status == 206) == (value_of(reply, "Content-Range") is not None)
    assert reply.status == 206 or (start, stop) == (0, len(data))
