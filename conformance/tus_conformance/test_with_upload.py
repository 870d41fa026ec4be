"""POST with data: creation-with-upload."""

from __future__ import annotations

import hashlib

import pytest

from .rules import PRACTICE, needs, rule
from .server import MIB, STREAM, Server, as_base64, assert_refused, some_bytes
from .wire import Response

pytestmark = needs("creation", "creation-with-upload")


def post(server: Server, length: int, data: bytes, **fields: str) -> Response:
    """Send POST with data; underscores in the names of `fields` become hyphens."""
    hyphenated = {name.replace("_", "-"): value for name, value in fields.items()}
    return server.post({"Upload-Length": str(length), "Content-Type": STREAM, **hyphenated}, data)


@rule("CW-02")
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_creation_may_contain_the_first_bytes(server: Server, size: int) -> None:
    response = post(server, 5, b"hello"[:size])
    assert response["Upload-Offset"] == str(size)
    upload = server.upload_from(response)
    assert upload.offset() == size
    upload.append(b"hello"[size:], size)
    upload.assert_content(b"hello")


@rule("CW-03")
@pytest.mark.parametrize("size", [5, 100_000, 6 * MIB])
def test_a_creation_may_contain_all_bytes(server: Server, size: int) -> None:
    content = some_bytes(size)
    response = post(server, size, content)
    assert response["Upload-Offset"] == str(size)
    server.upload_from(response).assert_content(content)


@rule("CW-02", level=PRACTICE)
def test_a_creation_may_be_chunked(server: Server) -> None:
    fields = {"Upload-Length": "5", "Content-Type": STREAM}
    response = server.post(fields, chunks=[b"he", b"l"])
    assert response["Upload-Offset"] == "3"
    server.upload_from(response).resume(b"hello")


@rule("CW-02", "CR-08")
def test_a_creation_with_data_may_contain_metadata(server: Server) -> None:
    upload = server.upload_from(post(server, 5, b"he", Upload_Metadata="a YQ=="))
    assert upload.head()["Upload-Metadata"] == "a YQ=="


@rule("CW-04", level=PRACTICE)
def test_a_creation_with_the_type_and_no_data_starts_at_zero(server: Server) -> None:
    response = post(server, 5, b"")
    assert response.get("Upload-Offset") == "0"
    assert server.upload_from(response).offset() == 0


@rule("CW-04", level=PRACTICE)
def test_a_creation_may_contain_an_empty_file(server: Server) -> None:
    server.upload_from(post(server, 0, b"")).assert_content(b"")


@rule("CW-05")
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("length", [0, 5])
def test_bytes_beyond_the_length_are_never_stored(
    server: Server, length: int, framing: str
) -> None:
    fields = {"Upload-Length": str(length), "Content-Type": STREAM}
    if framing == "chunked":
        response = server.post(fields, chunks=[b"hello", b" world"])
    else:
        response = server.post(fields, b"hello world")
    if "Location" in response:
        assert server.upload_at(response["Location"]).offset() <= length


@rule("CW-05", level=PRACTICE)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bytes_beyond_the_length_are_refused(server: Server, framing: str) -> None:
    fields = {"Upload-Length": "5", "Content-Type": STREAM}
    if framing == "chunked":
        response = server.post(fields, chunks=[b"hello", b" world"])
    else:
        response = server.post(fields, b"hello world")
    assert response.status in {400, 413}


@rule("CW-07", level=PRACTICE)
@pytest.mark.parametrize("interruption", ["close", "reset"])
def test_an_interrupted_creation_does_no_harm(server: Server, interruption: str) -> None:
    with server.connect() as connection:
        fields = {"Upload-Length": "100000", "Content-Type": STREAM, "Content-Length": "100000"}
        connection.begin("POST", server.path, server.fields(fields))
        connection.send(b"x" * 50_000)
        if interruption == "reset":
            connection.reset()
    server.assert_works()


@rule("CW-07", level=PRACTICE)
def test_a_half_closed_creation_returns_the_stored_bytes(server: Server) -> None:
    """The client can still read the response and learn the offset."""
    with server.connect() as connection:
        fields = {"Upload-Length": "5", "Content-Type": STREAM, "Content-Length": "5"}
        connection.begin("POST", server.path, server.fields(fields))
        connection.send(b"he")
        connection.half_close()
        try:
            response = connection.response("POST")
        except ConnectionError:
            return  # A server may close a half-closed connection without a response.
    if response.status == 201:
        upload = server.upload_from(response)
        assert upload.offset() <= 2
        upload.resume(b"hello")
        upload.assert_content(b"hello")
    else:
        assert response.status >= 400


@rule("CW-08", level=PRACTICE, needs="checksum")
def test_the_checksum_of_a_creation_is_verified(server: Server) -> None:
    right = f"sha1 {as_base64(hashlib.sha1(b'hello').digest())}"
    server.upload_from(post(server, 5, b"hello", Upload_Checksum=right)).assert_content(b"hello")
    response = post(server, 5, b"hellO", Upload_Checksum=right)
    assert response.status == 460
    assert "Location" not in response


@rule("CW-09", level=PRACTICE, needs="creation-defer-length")
def test_a_creation_with_data_may_defer_the_length(server: Server) -> None:
    response = server.post({"Upload-Defer-Length": "1", "Content-Type": STREAM}, b"he")
    assert response["Upload-Offset"] == "2"
    upload = server.upload_from(response)
    assert upload.head()["Upload-Defer-Length"] == "1"
    upload.append(b"llo", 2, {"Upload-Length": "5"})
    upload.assert_content(b"hello")


@rule("CW-10", level=PRACTICE, needs="concatenation")
def test_data_is_accepted_for_a_partial_upload_but_not_for_a_final_one(server: Server) -> None:
    part = server.upload_from(post(server, 5, b"hello", Upload_Concat="partial"))
    assert part.offset() == 5
    fields = {"Upload-Concat": f"final;{part.url}", "Content-Type": STREAM}
    assert_refused(server.post(fields, b"hello"))


@rule("CW-02", "C-02", "CR-05")
def test_a_refused_creation_stores_no_data(server: Server) -> None:
    assert post(server, 5, b"hello", Tus_Resumable="2.0.0").status == 412
    assert "Location" not in post(server, 5, b"hello", Upload_Length="abc")
