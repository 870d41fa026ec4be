"""Which bytes a GET gets, and what a browser may do with them."""

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
from tus_wsgi.domain.model import Metadata, State, UploadInfo
from tus_wsgi.protocol.download import (
    build_content_disposition,
    render_download,
    type_and_disposition,
)
from tus_wsgi.protocol.fields import build_date, parse_media_type
from tus_wsgi.protocol.http import Reply

LAST_MODIFIED = build_date(MODIFIED)
BEFORE = build_date(MODIFIED - timedelta(seconds=1))
AFTER = build_date(MODIFIED + timedelta(seconds=1))

anything = settings(max_examples=100, deadline=None)


def get(
    fields: dict[str, str] | None = None,
    *,
    data: bytes = b"0123456789",
    metadata: dict[str, str] | None = None,
) -> Reply:
    pairs = tuple((key, value.encode()) for key, value in (metadata or {}).items())
    info = UploadInfo(ID, len(data), len(data), Metadata(pairs), State.FINISHED)
    return render_download(plain("GET", ID, fields), Downloadable(info, Bytes(data)))


def test_the_whole_content() -> None:
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
def test_an_empty_content_is_whole_whatever_is_asked(range_: str | None) -> None:
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
        pytest.param("bytes=0-", 0, 10, id="all of it: how a film player finds out"),
        pytest.param("bytes=-99", 0, 10, id="the last bytes and more"),
    ],
)
def test_one_range_is_sent(range_: str, start: int, stop: int) -> None:
    reply = get({"Range": range_})
    assert (reply.status, reply.content) == (206, (start, stop))
    assert value_of(reply, "Content-Range") == f"bytes {start}-{stop - 1}/10"
    assert value_of(reply, "Content-Length") == str(stop - start)
    assert value_of(reply, "ETag") == '"abc-2"'


@pytest.mark.parametrize("range_", ["bytes=10-", "bytes=10-20", "bytes=99-"])
def test_a_range_behind_the_end_cannot_be_sent(range_: str) -> None:
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
def test_what_is_not_one_range_is_ignored(range_: str) -> None:
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
def test_conditions(field: str, value: str, status: int) -> None:
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
        pytest.param({"If-None-Match": '"x"', "If-Modified-Since": AFTER}, 200, id="here as well"),
        pytest.param({"If-Match": '"x"', "If-None-Match": '"abc-2"'}, 412, id="412 before 304"),
        pytest.param({"If-None-Match": '"abc-2"', "Range": "bytes=99-"}, 304, id="304 before 416"),
        pytest.param({"If-Match": '"x"', "Range": "bytes=99-"}, 412, id="412 before 416"),
        pytest.param({"If-Match": '"abc-2"', "Range": "bytes=2-5"}, 206, id="and then the range"),
    ],
)
def test_conditions_are_judged_in_order(fields: dict[str, str], status: int) -> None:
    """RFC 9110, section 13.2.2."""
    assert get(fields).status == status


@pytest.mark.parametrize("fields", [{}, {"Range": "bytes=99-"}, {"If-None-Match": "*"}])
def test_a_client_may_be_sent_to_the_store_itself(fields: dict[str, str]) -> None:
    """Range goes along, and conditions mean nothing to a redirect (RFC 9110, section 13.2.1)."""
    info = UploadInfo(ID, 10, 10, state=State.FINISHED)
    outcome = Downloadable(info, Bytes(), presigned_url="https://s3/x")
    reply = render_download(plain("GET", ID, fields), outcome)
    assert (reply.status, reply.content, reply.body) == (307, None, b"")
    assert reply.fields == [("Location", "https://s3/x"), ("Cache-Control", "no-store")]


def test_the_store_is_told_how_to_send_a_file() -> None:
    pairs = (("filename", "Menü.png".encode()), ("filetype", b"image/png"))
    described = type_and_disposition(Metadata(pairs))
    assert described == ("image/png", build_content_disposition("inline", "Menü.png"))


def test_not_modified_says_what_a_cache_needs() -> None:
    reply = get({"If-None-Match": "*"})
    assert (reply.body, reply.content) == (b"", None)
    assert [name for name, _ in reply.fields] == ["ETag", "Last-Modified", "Cache-Control"]


@pytest.mark.parametrize(
    ("validator", "status"),
    [
        ('"abc-2"', 206),
        ('"x"', 200),
        pytest.param('W/"abc-2"', 200, id="a weak tag is not enough"),
        (LAST_MODIFIED, 206),
        (BEFORE, 200),
        pytest.param(AFTER, 200, id="a date has to be the very same"),
        ("yesterday", 200),
        ("", 200),
        ("*", 200),
    ],
)
def test_a_range_of_another_version_is_ignored(validator: str, status: int) -> None:
    """RFC 9110, section 13.1.5: or a resumed download would be two halves of different files."""
    assert get({"Range": "bytes=2-5", "If-Range": validator}).status == status


@pytest.mark.parametrize(
    "type_", ["text/plain", "image/png", "Image/JPEG", "video/mp4; codecs=avc1", "audio/ogg"]
)
def test_harmless_types_are_shown(type_: str) -> None:
    reply = get(metadata={"filetype": type_})
    assert value_of(reply, "Content-Type") == type_
    assert value_of(reply, "Content-Disposition") == "inline"
    policy = value_of(reply, "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "sandbox" not in policy, "Chromium could not play the film"
    assert "script-src" not in policy


@pytest.mark.parametrize(
    "type_", ["text/html", "image/svg+xml", "application/pdf", "text/xml", "application/zip"]
)
def test_all_others_are_saved(type_: str) -> None:
    reply = get(metadata={"filetype": type_, "filename": "a.bin"})
    assert value_of(reply, "Content-Type") == type_
    assert value_of(reply, "Content-Disposition") == 'attachment; filename="a.bin"'


@pytest.mark.parametrize(
    "type_",
    ["", "png", "image/png\r\nSet-Cookie: a=b", "image/png, text/html", "image/pñg", "\x00"],
)
def test_what_is_no_type_is_just_bytes(type_: str) -> None:
    """CM-08."""
    reply = get(metadata={"filetype": type_})
    assert value_of(reply, "Content-Type") == "application/octet-stream"
    assert value_of(reply, "Content-Disposition") == "attachment"


@pytest.mark.parametrize(
    ("filename", "said"),
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
        ("invoice\u202egpj.exe", 'inline; filename="invoicegpj.exe"'),
        ("x" * 300 + ".txt", f'inline; filename="{"x" * 251}.txt"'),
        ("a\uff0fb", "inline; filename=\"a_b\"; filename*=UTF-8''a%EF%BC%8Fb"),
    ],
)
def test_a_name_stays_a_name(filename: str, said: str) -> None:
    """CM-08; RFC 6266 and RFC 8187."""
    assert build_content_disposition("inline", filename) == said


@pytest.mark.property
@anything
@given(st.text())
def test_no_name_breaks_out_of_its_field(filename: str) -> None:
    """CM-08."""
    said = build_content_disposition("attachment", filename)
    assert re.fullmatch(
        r"attachment(; filename=\"[^\"\\/%\x00-\x1f\x7f-\U0010ffff]+\""
        r"(; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]+)?)?",
        said,
    )
    kind, options = parse_options_header(said)
    assert kind == "attachment"
    assert "/" not in unquote(options.get("filename", ""))


@pytest.mark.property
@anything
@given(st.text())
def test_no_declared_type_breaks_out_of_its_field(text: str) -> None:
    """CM-08."""
    reply = get(metadata={"filetype": text.encode(errors="replace").decode()})
    said = value_of(reply, "Content-Type")
    assert said is not None
    assert parse_media_type(said) is not None
    assert said.isascii()


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
@anything
@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES | st.from_regex(r"\Abytes=\d{0,3}-\d{0,3}\Z")),
    st.binary(max_size=20),
)
def test_whatever_is_asked_the_reply_is_consistent(fields: dict[str, str], data: bytes) -> None:
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
