"""Malformed requests, which must not change anything unintentionally."""

from __future__ import annotations

import pytest

from .rules import PRACTICE, SHOULD, needs, rule
from .server import Server, Upload
from .wire import NoResponse, Response, merge_fields, request_head

pytestmark = needs("creation")


def send_raw(upload: Upload, raw: bytes) -> Response | None:
    """Send bytes and return the response; None if the server closes the connection."""
    with upload.connect() as connection:
        try:
            connection.send(raw)
            connection.half_close()
            return connection.response("PATCH")
        except (NoResponse, OSError):
            return None


def patch(upload: Upload, fields: list[tuple[str, str | bytes]], body: bytes) -> bytes:
    """Return the bytes of a PATCH at offset 2 with these framing fields."""
    sent = upload.server.fields(upload.patch_fields(2, fields))
    return request_head("PATCH", upload.target, merge_fields({"Host": "x"}, sent)) + body


@pytest.fixture
def upload(server: Server) -> Upload:
    """An upload with 2 of 5 bytes."""
    upload = server.create(5)
    upload.append(b"he")
    return upload


LENGTHS: dict[str, list[tuple[str, str | bytes]]] = {
    "two-lengths": [("Content-Length", "3"), ("Content-Length", "4")],
    "list": [("Content-Length", "3, 4")],
    "plus": [("Content-Length", "+3")],
    "negative": [("Content-Length", "-3")],
    "hexadecimal": [("Content-Length", "0x3")],
    "underscore": [("Content-Length", "0_3")],
    "empty": [("Content-Length", "")],
    "word": [("Content-Length", "three")],
    "huge": [("Content-Length", "9" * 40)],
    "arabic": [("Content-Length", "٣")],
}


@rule("FRAMING", level=SHOULD)
@pytest.mark.parametrize("fields", LENGTHS.values(), ids=LENGTHS)
def test_an_invalid_content_length_is_refused(
    upload: Upload, fields: list[tuple[str, str | bytes]]
) -> None:
    """RFC 9112, section 6.3: 400, and the connection is closed."""
    with upload.unchanged():
        response = send_raw(upload, patch(upload, fields, b"llo"))
    assert response is None or 400 <= response.status < 500
    upload.server.assert_works()


CODINGS = {
    "gzip": "gzip, chunked",
    "identity": "identity",
    "twice": "chunked, chunked",
    "not-last": "chunked, gzip",
    "unknown": "xchunked",
    "obs-text": b"chunked\xff",
    "quoted": '"chunked"',
    "vertical-tab": b"\x0bchunked",
}


@rule("FRAMING", level=SHOULD)
@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_another_transfer_coding_is_refused(upload: Upload, coding: str | bytes) -> None:
    """Otherwise the stored bytes differ from the sent ones."""
    with upload.unchanged():
        raw = patch(upload, [("Transfer-Encoding", coding)], b"3\r\nllo\r\n0\r\n\r\n")
        response = send_raw(upload, raw)
    assert response is None or 400 <= response.status < 500 or response.status == 501
    upload.server.assert_works()


@rule("FRAMING", level=SHOULD)
@pytest.mark.parametrize("order", ["length-first", "coding-first"])
def test_content_length_with_transfer_encoding_is_refused_or_ignored(
    upload: Upload, order: str
) -> None:
    """RFC 9112, section 6.1: refuse it, or ignore Content-Length and close the connection."""
    fields: list[tuple[str, str | bytes]] = [
        ("Content-Length", "3"),
        ("Transfer-Encoding", "chunked"),
    ]
    if order == "coding-first":
        fields.reverse()
    response = send_raw(upload, patch(upload, fields, b"3\r\nllo\r\n0\r\n\r\n"))
    if response is not None and response.status == 204:
        upload.assert_content(b"hello")
    else:
        assert response is None or 400 <= response.status < 500
        assert upload.offset() == 2


CHUNKS = {
    "no-size": b"\r\nllo\r\n0\r\n\r\n",
    "word": b"xyz\r\nllo\r\n0\r\n\r\n",
    "negative": b"-3\r\nllo\r\n0\r\n\r\n",
    "plus": b"+3\r\nllo\r\n0\r\n\r\n",
    "prefix": b"0x3\r\nllo\r\n0\r\n\r\n",
    "underscore": b"0_3\r\nllo\r\n0\r\n\r\n",
    "huge": b"ffffffffffffffffff\r\nllo\r\n0\r\n\r\n",
    "too-long": b"3\r\nllox\r\n0\r\n\r\n",
    "no-line-end": b"3\r\nllo0\r\n\r\n",
    "bare-line-feed": b"3\nllo\n0\n\n",
}


@rule("FRAMING", level=SHOULD)
@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
def test_malformed_chunks_do_not_corrupt_an_upload(upload: Upload, body: bytes) -> None:
    """The bytes before the error may be stored."""
    raw = patch(upload, [("Transfer-Encoding", "chunked")], body)
    response = send_raw(upload, raw)
    assert response is None or response.status == 204 or response.status >= 400
    assert upload.offset() in {2, 5}
    upload.resume(b"hello")
    upload.assert_content(b"hello")


@rule("FRAMING", level=PRACTICE)
@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
def test_malformed_chunks_are_400_or_close_the_connection(upload: Upload, body: bytes) -> None:
    """A bare line feed may be accepted as the end of a line, or not."""
    response = send_raw(upload, patch(upload, [("Transfer-Encoding", "chunked")], body))
    allowed = {400, 413}
    if body == CHUNKS["bare-line-feed"]:
        allowed |= {204, 408, 503}
    assert response is None or response.status in allowed


@rule("FRAMING", level=PRACTICE)
def test_a_chunk_extension_is_ignored_or_refused(upload: Upload) -> None:
    raw = patch(upload, [("Transfer-Encoding", "chunked")], b'3;a=b;c="d"\r\nllo\r\n0\r\n\r\n')
    response = send_raw(upload, raw)
    assert response is not None
    assert response.status in {204, 400}
    assert upload.offset() == (5 if response.status == 204 else 2)


@rule("FRAMING", level=PRACTICE)
def test_unexpected_trailers_do_no_harm(upload: Upload) -> None:
    lines = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 100) for number in range(50))
    raw = patch(upload, [("Transfer-Encoding", "chunked")], b"3\r\nllo\r\n0\r\n" + lines + b"\r\n")
    response = send_raw(upload, raw)
    assert response is None or response.status == 204 or 400 <= response.status < 500
    upload.resume(b"hello")


@rule("FRAMING", level=PRACTICE)
def test_endless_trailers_do_no_harm(upload: Upload) -> None:
    with upload.connect() as connection:
        connection.send(patch(upload, [("Transfer-Encoding", "chunked")], b"3\r\nllo\r\n0\r\n"))
        try:
            for number in range(2000):
                connection.send(b"X-%d: %b\r\n" % (number, b"y" * 500))
            connection.send(b"\r\n")
            connection.response("PATCH")
        except (NoResponse, OSError):
            pass
    upload.resume(b"hello")
    upload.server.assert_works()


HEADS: dict[str, bytes] = {
    "no-host": b"OPTIONS / HTTP/1.1\r\n\r\n",
    "two-hosts": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "bad-host": b"OPTIONS / HTTP/1.1\r\nHost: a b/\r\n\r\n",
    "folded": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nUpload-Length: 1\r\n 2\r\n\r\n",
    "space-before-colon": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nUpload-Length : 1\r\n\r\n",
    "nul": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nUpload-Metadata: a\0b\r\n\r\n",
    "bare-cr": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nUpload-Metadata: a\rb\r\n\r\n",
    "no-colon": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nUpload-Length\r\n\r\n",
    "no-version": b"OPTIONS /\r\n\r\n",
    "http-3": b"OPTIONS / HTTP/3.0\r\nHost: a\r\n\r\n",
    "garbage": bytes(range(256)),
    "tls": bytes.fromhex("16030100c8010000c40303"),
    "long-line": b"OPTIONS /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many-fields": b"OPTIONS / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
}


@rule("FRAMING", level=PRACTICE)
@pytest.mark.parametrize("raw", HEADS.values(), ids=HEADS)
def test_a_malformed_request_head_does_no_harm(upload: Upload, raw: bytes) -> None:
    with upload.unchanged():
        try:
            response = send_raw(upload, raw)
        except AssertionError:
            response = None  # The response is not HTTP/1.1.
    assert response is None or response.status < 500 or response.status in {501, 505}
    upload.server.assert_works()


@rule("FRAMING", level=PRACTICE)
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_body_with_a_length_is_accepted_in_http_1_0_and_1_1(upload: Upload, version: str) -> None:
    raw = patch(upload, [("Content-Length", "3"), ("Connection", "close")], b"llo")
    response = send_raw(upload, raw.replace(b"HTTP/1.1", version.encode(), 1))
    assert response is not None
    assert response.status == 204
    upload.assert_content(b"hello")


@rule("FRAMING", "C-34", level=PRACTICE)
@pytest.mark.parametrize(
    "value", [b"2\0", b"2\xff", b"\xc3\xa9", b"2\t", b"2\x0b"], ids=["nul", "ff", "e", "tab", "vt"]
)
@pytest.mark.parametrize(
    "field", ["Upload-Offset", "Tus-Resumable", "Content-Type", "Upload-Length"]
)
def test_unusual_octets_in_a_field_do_no_harm(upload: Upload, field: str, value: bytes) -> None:
    raw = patch(upload, [(field, value), ("Content-Length", "3")], b"llo")
    try:
        response = send_raw(upload, raw)
    except AssertionError:
        response = None
    assert response is None or 200 <= response.status < 500
    upload.resume(b"hello")
    upload.assert_content(b"hello")
