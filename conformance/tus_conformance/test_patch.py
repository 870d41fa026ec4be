"""PATCH: appending data to an upload."""

from __future__ import annotations

import pytest

from .invalid_values import LENIENT_NUMBERS, NON_NUMBERS
from .rules import PRACTICE, SHOULD, needs, rule
from .server import KIB, MIB, STREAM, Server, Upload, assert_refused, some_bytes, target_of
from .wire import Value

pytestmark = needs("creation")


@pytest.fixture
def upload(server: Server) -> Upload:
    """An upload with 2 of 5 bytes."""
    upload = server.create(5)
    upload.append(b"he")
    return upload


# -- data


@rule("C-30")
def test_a_patch_returns_204_and_the_new_offset(server: Server) -> None:
    upload = server.create(5)
    first = upload.patch(b"he", 0)
    assert (first.status, first.get("Upload-Offset")) == (204, "2")
    second = upload.patch(b"llo", 2)
    assert (second.status, second.get("Upload-Offset")) == (204, "5")
    upload.assert_content(b"hello")


@rule("C-30", "C-20")
def test_head_and_patch_return_the_same_offset(server: Server) -> None:
    upload = server.create(100)
    offset = 0
    for size in (1, 2, 30, 67):
        offset = upload.append(some_bytes(size), offset)
        assert upload.offset() == offset


@rule("C-30")
def test_the_204_has_no_body(server: Server, upload: Upload) -> None:
    """The next response on the connection follows immediately."""
    with server.connect(upload.url) as connection:
        fields = server.fields(upload.patch_fields(2), body=b"llo")
        response = connection.request("PATCH", target_of(upload.url), fields, b"llo")
        assert response.status == 204
        assert "Transfer-Encoding" not in response
        assert response.get("Content-Length") in {None, "0"}
        if response.get("Connection") != "close":
            head = connection.request("HEAD", upload.target, server.fields())
            assert head["Upload-Offset"] == "5"


@rule("C-37")
def test_a_file_may_be_sent_byte_by_byte(server: Server) -> None:
    content = some_bytes(12)
    upload = server.create(len(content))
    for offset in range(len(content)):
        upload.append(content[offset : offset + 1], offset)
    upload.assert_content(content)


@rule("C-37")
def test_a_file_may_be_sent_over_one_connection(server: Server) -> None:
    content = some_bytes(20 * KIB)
    upload = server.create(len(content))
    with upload.connect() as connection:
        for offset in range(0, len(content), KIB):
            chunk = content[offset : offset + KIB]
            fields = server.fields(upload.patch_fields(offset), body=chunk)
            response = connection.request("PATCH", upload.target, fields, chunk)
            assert response.get("Upload-Offset") == str(offset + KIB)
    upload.assert_content(content)


@rule("C-37")
def test_an_empty_patch_at_the_offset_changes_nothing(upload: Upload) -> None:
    with upload.unchanged():
        assert upload.append(b"", 2) == 2
    upload.append(b"llo", 2)
    upload.assert_content(b"hello")


SIZES = [1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB, 5 * MIB + 1]


@rule("C-30")
@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_is_stored_completely(server: Server, size: int) -> None:
    content = some_bytes(size)
    server.upload(content).assert_content(content)


@rule("C-30", level=PRACTICE)
@pytest.mark.parametrize("step", [1, 7, 4096, 100_000])
def test_chunks_of_any_size_are_stored_completely(server: Server, step: int) -> None:
    """Not all clients know the length of the body in advance."""
    content = some_bytes(min(300_000, step * 50))
    upload = server.create(len(content))
    chunks = [content[start : start + step] for start in range(0, len(content), step)]
    response = upload.patch(offset=0, chunks=chunks)
    assert (response.status, response.get("Upload-Offset")) == (204, str(len(content)))
    upload.assert_content(content)


@rule("C-30", level=PRACTICE)
def test_several_chunked_patches_are_stored_completely(server: Server) -> None:
    content = some_bytes(10_000)
    upload = server.create(len(content))
    for offset in range(0, len(content), 2_500):
        response = upload.patch(offset=offset, chunks=[content[offset : offset + 2_500]])
        assert response.status == 204
    upload.assert_content(content)


@rule("C-37", level=PRACTICE)
def test_an_empty_chunked_patch_changes_nothing(upload: Upload) -> None:
    with upload.unchanged():
        assert upload.patch(offset=2, chunks=[]).status == 204


@rule("C-30", level=PRACTICE)
def test_a_client_may_wait_for_100_continue(server: Server, upload: Upload) -> None:
    with server.connect(upload.url) as connection:
        fields = {"Content-Length": "3", "Expect": "100-continue"}
        connection.begin("PATCH", upload.target, server.fields(upload.patch_fields(2, fields)))
        connection.stays_silent_for(1)  # Clients stop waiting for the 100 after a while.
        connection.send(b"llo")
        response = connection.response("PATCH")
    assert response.status == 204
    assert [interim.status for interim in response.interim] == [100]
    upload.assert_content(b"hello")


# -- content types


@rule("C-31", level=SHOULD)
@pytest.mark.parametrize(
    "type", [None, "", "text/plain", "application/octet-stream", "application/partial-upload"]
)
def test_another_content_type_is_415(upload: Upload, type: str | None) -> None:
    assert upload.patch(b"llo", 2, {"Content-Type": type}).status == 415


@rule("C-31", "C-25")
@pytest.mark.parametrize("type", [None, "", "text/plain", "application/octet-stream"])
def test_another_content_type_changes_nothing(upload: Upload, type: str | None) -> None:
    """ "All PATCH requests MUST use Content-Type: application/offset+octet-stream." """
    with upload.unchanged():
        assert_refused(upload.patch(b"llo", 2, {"Content-Type": type}))


@rule("C-32", level=PRACTICE)
@pytest.mark.parametrize("type", ["Application/Offset+Octet-Stream", STREAM.upper()])
def test_the_content_type_is_case_insensitive(upload: Upload, type: str) -> None:
    upload.append(b"llo", 2, {"Content-Type": type})


@rule("C-32", level=PRACTICE)
@pytest.mark.parametrize("parameter", ["; x=y", ";charset=utf-8", ";"])
def test_a_media_type_parameter_is_accepted_or_415(upload: Upload, parameter: str) -> None:
    response = upload.patch(b"llo", 2, {"Content-Type": STREAM + parameter})
    assert response.status in {204, 415}


# -- offsets


@rule("C-33", "C-25")
@pytest.mark.parametrize("data", [b"", b"l", b"llo"], ids=["empty", "part", "rest"])
@pytest.mark.parametrize("offset", [0, 1, 3, 5, 6, 10**9])
def test_another_offset_is_409_and_changes_nothing(
    upload: Upload, offset: int, data: bytes
) -> None:
    with upload.unchanged():
        assert upload.patch(data, offset).status == 409


@rule("C-33", level=PRACTICE)
def test_a_wrong_offset_takes_precedence_over_a_body_that_is_too_long(upload: Upload) -> None:
    with upload.unchanged():
        assert upload.patch(b"much too long", 1).status == 409


@rule("C-34", "C-25")
@pytest.mark.parametrize("offset", NON_NUMBERS.values(), ids=NON_NUMBERS)
def test_an_invalid_offset_changes_nothing(upload: Upload, offset: Value) -> None:
    """ "The Upload-Offset header's value MUST be equal to the current offset." """
    with upload.unchanged():
        response = upload.patch(b"l", 2, {"Upload-Offset": offset})
    assert not 200 <= response.status < 300


@rule("C-34", "C-25")
def test_a_patch_without_an_offset_changes_nothing(upload: Upload) -> None:
    with upload.unchanged():
        response = upload.patch(b"l", 2, {"Upload-Offset": None})
    assert not 200 <= response.status < 300


INVALID_OFFSETS = {**NON_NUMBERS, **LENIENT_NUMBERS, "absent": None}


@rule("C-34", level=PRACTICE)
@pytest.mark.parametrize("offset", INVALID_OFFSETS.values(), ids=INVALID_OFFSETS)
def test_an_invalid_offset_is_400(upload: Upload, offset: Value | None) -> None:
    """409 is accepted for a number that is too large, and 431 for a field that is too long."""
    allowed = {400}
    if offset is not None and len(offset) > 18:
        allowed |= {409, 431}
    with upload.unchanged():
        assert upload.patch(b"l", 2, {"Upload-Offset": offset}).status in allowed


@rule("C-34", level=PRACTICE)
def test_a_leniently_parsed_offset_keeps_its_value(server: Server) -> None:
    """A server that accepts `+5` must treat it as 5."""
    upload = server.create(10)
    upload.append(b"hello")
    for text in ("+5", " 5", "0_5"):
        response = upload.patch(b"", text)
        assert response.status in {204, 400, 409}, text
    assert upload.offset() == 5


@rule("C-34", level=PRACTICE)
def test_two_upload_offset_fields_are_400(upload: Upload) -> None:
    fields: list[tuple[str, Value | None]] = [("Upload-Offset", "2"), ("Upload-Offset", "2")]
    with upload.unchanged():
        response = upload.patch(b"l", 2, [*fields, ("Content-Type", STREAM)])
    assert response.status == 400


@rule("C-35", level=PRACTICE)
def test_leading_zeros_are_accepted_or_refused(upload: Upload) -> None:
    response = upload.patch(b"llo", "0002")
    assert response.status in {204, 400}
    assert upload.offset() == (5 if response.status == 204 else 2)


# -- unknown and complete uploads


@rule("C-36", level=SHOULD)
def test_a_patch_of_an_unknown_upload_is_404(server: Server) -> None:
    assert Upload(server, server.unknown_url()).patch(b"x", 0).status == 404


@rule("C-40", "C-33")
def test_a_wrong_offset_of_a_complete_upload_is_409(server: Server) -> None:
    upload = server.upload(b"hello")
    with upload.unchanged():
        assert upload.patch(b"", 0).status == 409
        assert upload.patch(b"hello", 0).status == 409


@rule("C-40", level=PRACTICE)
def test_an_empty_patch_of_a_complete_upload_is_204(server: Server) -> None:
    """A client that did not receive the last 204 may do this."""
    upload = server.upload(b"hello")
    with upload.unchanged():
        assert upload.append(b"", 5) == 5


@rule("C-40", "C-38")
def test_a_complete_upload_does_not_change(server: Server) -> None:
    upload = server.upload(b"hello")
    with upload.unchanged():
        upload.patch(b"!", 5)
        upload.patch(offset=5, chunks=[b"!"])
    upload.assert_content(b"hello")


@rule("C-40", "C-38", level=PRACTICE)
def test_data_for_a_complete_upload_is_refused(server: Server) -> None:
    upload = server.upload(b"hello")
    assert_refused(upload.patch(b"!", 5))
    assert_refused(upload.patch(offset=5, chunks=[b"!"]))


# -- bodies beyond the length


@rule("C-38", "C-39")
@pytest.mark.parametrize("size", [4, 1000, 200_000])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_the_offset_never_exceeds_the_length(upload: Upload, size: int, is_chunked: bool) -> None:
    data = b"llo" + b"!" * (size - 3)
    if is_chunked:
        upload.patch(
            offset=2, chunks=[data[start : start + 1000] for start in range(0, size, 1000)]
        )
    else:
        upload.patch(data, 2)
    assert 2 <= upload.offset() <= 5
    upload.resume(b"hello")
    upload.assert_content(b"hello")


@rule("C-38", level=PRACTICE)
@pytest.mark.parametrize("size", [4, 1000, 200_000])
def test_a_body_beyond_the_length_is_refused_completely(upload: Upload, size: int) -> None:
    with upload.unchanged():
        assert upload.patch(b"!" * size, 2).status in {400, 413}


@rule("C-39", level=PRACTICE)
@pytest.mark.parametrize("chunks", [[b"llo!"], [b"llo", b"!"], [b"llo", b"!" * 100_000]])
def test_a_chunked_body_beyond_the_length_is_refused(upload: Upload, chunks: list[bytes]) -> None:
    assert upload.patch(offset=2, chunks=chunks).status in {400, 413}


# -- codings and methods


@rule("C-45", level=PRACTICE)
@pytest.mark.parametrize("coding", ["gzip", "br", "identity"])
def test_content_encoding_is_not_decoded(server: Server, coding: str) -> None:
    upload = server.create(5)
    response = upload.patch(b"hello", 0, {"Content-Encoding": coding})
    if response.status == 204:
        upload.assert_content(b"hello")
    else:
        assert response.status in {400, 415}
        assert upload.offset() == 0


@rule("C-46", level=PRACTICE)
@pytest.mark.parametrize("method", ["PUT", "POST", "FOO", "patch"])
def test_an_unknown_method_is_405(upload: Upload, method: str) -> None:
    with upload.unchanged():
        response = upload.server.send(method, upload.url, upload.patch_fields(2), b"llo")
    expected = {405, 501}
    if method in {"FOO", "patch"}:
        expected |= {400}  # an HTTP server may know the usual methods only
    assert response.status in expected


@rule("C-46", level=PRACTICE)
def test_the_405_lists_the_methods_in_allow(upload: Upload) -> None:
    """RFC 9110, section 15.5.6."""
    response = upload.server.send("PUT", upload.url)
    assert response.status == 405
    assert {"HEAD", "PATCH"} <= set(response["Allow"].replace(" ", "").split(","))
