"""Uploads with a deferred length."""

from __future__ import annotations

import pytest

from .rules import PRACTICE, SHOULD, needs, rule
from .server import MIB, Capabilities, Server, Upload, assert_refused, some_bytes

DEFERRED = needs("creation", "creation-defer-length")


@pytest.fixture
def upload(server: Server) -> Upload:
    """An upload with a deferred length and two bytes."""
    upload = server.create(None)
    upload.append(b"he")
    return upload


def declaration(length: int | str) -> dict[str, str]:
    return {"Upload-Length": str(length)}


@DEFERRED
@rule("DL-01", "C-20")
def test_a_length_may_be_deferred(server: Server) -> None:
    head = server.create(None).head()
    assert head["Upload-Defer-Length"] == "1"
    assert head["Upload-Offset"] == "0"
    assert "Upload-Length" not in head


@DEFERRED
@rule("DL-02", level=SHOULD)
@pytest.mark.parametrize("value", ["0", "2", "01", "true", "", "1,1", "1 1", "+1", "1.0"])
def test_another_value_of_upload_defer_length_is_400(server: Server, value: str) -> None:
    response = server.post({"Upload-Defer-Length": value})
    assert response.status == 400
    assert "Location" not in response


@DEFERRED
@rule("DL-03")
def test_data_may_arrive_while_the_length_is_deferred(server: Server) -> None:
    upload = server.create(None)
    offset = 0
    for size in (1, 1000, 70_000):
        offset = upload.append(some_bytes(size), offset)
        head = upload.head()
        assert (head["Upload-Defer-Length"], head["Upload-Offset"]) == ("1", str(offset))
        assert "Upload-Length" not in head


@DEFERRED
@rule("DL-04")
@pytest.mark.parametrize("data", [b"l", b"llo"], ids=["before-the-end", "at-the-end"])
def test_a_patch_declares_the_length(upload: Upload, data: bytes) -> None:
    upload.append(data, 2, declaration(5))
    head = upload.head()
    assert head["Upload-Length"] == "5"
    assert "Upload-Defer-Length" not in head
    upload.resume(b"hello")
    upload.assert_content(b"hello")


@DEFERRED
@rule("DL-04")
def test_the_first_patch_may_declare_the_length(server: Server) -> None:
    upload = server.create(None)
    upload.append(b"hello", 0, declaration(5))
    upload.assert_content(b"hello")


@DEFERRED
@rule("DL-04", level=PRACTICE)
def test_a_long_file_of_deferred_length_is_stored_completely(server: Server) -> None:
    content = some_bytes(12 * MIB)
    upload = server.create(None)
    offset = 0
    for end in (5 * MIB, 5 * MIB + 1, 11 * MIB):
        offset = upload.append(content[offset:end], offset)
    upload.append(content[offset:], offset, declaration(len(content)))
    upload.assert_content(content)


@DEFERRED
@rule("DL-05")
@pytest.mark.parametrize("other", [3, 4, 6, 100])
def test_a_declared_length_does_not_change(upload: Upload, other: int) -> None:
    """ "Once set the length MUST NOT be changed." """
    upload.append(b"l", 2, declaration(5))
    upload.patch(b"", 3, declaration(other))
    assert upload.head()["Upload-Length"] == "5"


@DEFERRED
@rule("DL-05", level=PRACTICE)
def test_a_declared_length_may_be_repeated_but_not_changed(upload: Upload) -> None:
    upload.append(b"l", 2, declaration(5))
    with upload.unchanged():
        assert upload.patch(b"", 3, declaration(6)).status == 400
    upload.append(b"lo", 3, declaration(5))
    upload.assert_content(b"hello")


@DEFERRED
@rule("DL-06")
def test_a_length_below_the_offset_is_refused(upload: Upload) -> None:
    with upload.unchanged():
        assert_refused(upload.patch(b"", 2, declaration(1)))


@DEFERRED
@rule("DL-06", level=PRACTICE)
def test_a_length_below_the_end_of_the_body_is_refused(upload: Upload) -> None:
    with upload.unchanged():
        assert upload.patch(b"llo", 2, declaration(4)).status in {400, 413}


@DEFERRED
@rule("DL-06", level=PRACTICE, needs="max-size")
def test_a_declared_length_over_the_limit_is_413(
    upload: Upload, capabilities: Capabilities
) -> None:
    assert capabilities.max_size is not None
    with upload.unchanged():
        assert upload.patch(b"llo", 2, declaration(capabilities.max_size + 1)).status == 413


@DEFERRED
@rule("DL-06", level=PRACTICE)
@pytest.mark.parametrize("length", ["abc", "-1", "5.0", "", "5,5"])
def test_an_invalid_declared_length_is_400(upload: Upload, length: str) -> None:
    with upload.unchanged():
        assert upload.patch(b"llo", 2, declaration(length)).status == 400


@DEFERRED
@rule("DL-07", level=PRACTICE)
def test_an_empty_patch_may_declare_the_length(upload: Upload) -> None:
    upload.append(b"", 2, declaration(2))
    upload.assert_content(b"he")


@DEFERRED
@rule("DL-07", level=PRACTICE)
def test_a_length_of_zero_may_be_declared(server: Server) -> None:
    upload = server.create(None)
    upload.append(b"", 0, declaration(0))
    upload.assert_content(b"")


@DEFERRED
@rule("DL-08")
@pytest.mark.parametrize(
    ("offset", "fields"),
    [
        pytest.param(1, {}, id="409"),
        pytest.param(2, {"Content-Type": "text/plain"}, id="415"),
        pytest.param(2, {"Tus-Resumable": "2.0.0"}, id="412"),
        pytest.param(
            2, {"Upload-Checksum": f"sha1 {'A' * 27}="}, id="460", marks=needs("checksum")
        ),
    ],
)
def test_a_failed_patch_does_not_declare_the_length(
    upload: Upload, offset: int, fields: dict[str, str]
) -> None:
    with upload.unchanged():
        assert_refused(upload.patch(b"llo", offset, {**declaration(5), **fields}))


@DEFERRED
@rule("DL-09", needs="small-max-size")
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_deferred_length_does_not_bypass_the_limit(
    server: Server, capabilities: Capabilities, framing: str
) -> None:
    assert capabilities.max_size is not None
    upload = server.create(None)
    chunk = some_bytes(MIB)
    chunks = [chunk] * (capabilities.max_size // MIB) + [chunk[: capabilities.max_size % MIB + 1]]
    try:
        if framing == "chunked":
            response = upload.patch(offset=0, chunks=chunks)
        else:
            response = upload.patch(b"".join(chunks), 0)
    except ConnectionError:
        pass  # The server closed the connection.
    else:
        assert response.status == 413
    assert upload.offset() <= capabilities.max_size


@rule("DL-10", level=PRACTICE, needs=("creation", "not:creation-defer-length"))
def test_a_deferred_length_is_refused_where_it_is_not_offered(server: Server) -> None:
    assert server.post({"Upload-Defer-Length": "1"}).status in {400, 501}


@rule("DL-11", level=PRACTICE, needs="creation")
def test_a_known_length_may_be_repeated_at_patch(server: Server) -> None:
    upload = server.create(5)
    assert upload.patch(b"he", 0, declaration(5)).status in {204, 400}
    upload.resume(b"hello")
    upload.assert_content(b"hello")


@rule("DL-11", "C-21", needs="creation")
@pytest.mark.parametrize("length", [0, 2, 4, 6])
def test_a_known_length_does_not_change_at_patch(server: Server, length: int) -> None:
    upload = server.create(5)
    upload.patch(b"he", 0, declaration(length))
    assert upload.head()["Upload-Length"] == "5"


@rule("DL-11", level=PRACTICE, needs="creation")
def test_another_length_at_patch_is_400(server: Server) -> None:
    upload = server.create(5)
    with upload.unchanged():
        assert upload.patch(b"he", 0, declaration(6)).status == 400
