"""POST: creation of uploads."""

from __future__ import annotations

import pytest

from .invalid_values import LENIENT_NUMBERS, NON_NUMBERS
from .rules import PRACTICE, needs, rule
from .server import STREAM, Capabilities, Server, assert_refused
from .wire import Value

pytestmark = needs("creation")


@rule("CR-01", "CR-02", "C-20", "C-21")
@pytest.mark.parametrize("length", [1, 5, 10_000_000])
def test_a_new_upload_has_a_location_and_is_empty(server: Server, length: int) -> None:
    response = server.post({"Upload-Length": str(length)})
    assert response.status == 201
    assert response["Location"]
    head = server.upload_from(response).head()
    assert (head["Upload-Offset"], head["Upload-Length"]) == ("0", str(length))


@rule("CR-01", level=PRACTICE)
def test_the_location_is_an_absolute_url(server: Server) -> None:
    """Not all clients resolve a relative URL (aiotus 1.1.0)."""
    location = server.post({"Upload-Length": "5"})["Location"]
    assert location.startswith(("http://", "https://"))


@rule("CR-01", level=PRACTICE)
def test_the_location_uses_the_host_of_the_request(server: Server) -> None:
    """A client that uses another host name of the server must be able to reach the upload."""
    with server.connect() as connection:
        fields = server.fields({"Upload-Length": "5", "Host": "uploads.example:81"}, body=b"")
        location = connection.request("POST", server.path, fields)["Location"]
    assert not location.startswith("http") or location.startswith("http://uploads.example:81/")


@rule("CR-03", level=PRACTICE)
def test_a_creation_without_a_length_is_400(server: Server) -> None:
    response = server.post()
    assert response.status == 400
    assert "Location" not in response


@rule("CR-04", level=PRACTICE)
def test_a_known_and_a_deferred_length_are_400(server: Server) -> None:
    assert server.post({"Upload-Length": "5", "Upload-Defer-Length": "1"}).status == 400


@rule("CR-05")
@pytest.mark.parametrize("length", NON_NUMBERS.values(), ids=NON_NUMBERS)
def test_an_invalid_length_creates_no_upload(server: Server, length: Value) -> None:
    """ "The value MUST be a non-negative integer." """
    response = server.post({"Upload-Length": length})
    assert response.status >= 400
    assert "Location" not in response


@rule("CR-05", level=PRACTICE)
@pytest.mark.parametrize(
    "length",
    [*NON_NUMBERS.values(), *LENIENT_NUMBERS.values()],
    ids=[*NON_NUMBERS, *LENIENT_NUMBERS],
)
def test_an_invalid_length_is_400(server: Server, length: Value) -> None:
    """413 is accepted for a number that is too large, and 431 for a field that is too long."""
    response = server.post({"Upload-Length": length})
    allowed = {400}
    if len(length) > 18:
        allowed |= {413, 431}
    assert response.status in allowed


@rule("CR-05", level=PRACTICE)
def test_two_upload_length_fields_are_400(server: Server) -> None:
    response = server.post([("Upload-Length", "5"), ("Upload-Length", "6")])
    assert response.status == 400


@rule("CR-06", needs="max-size")
def test_an_upload_of_the_maximum_size_can_be_created(
    server: Server, capabilities: Capabilities
) -> None:
    assert capabilities.max_size is not None
    head = server.create(capabilities.max_size).head()
    assert head["Upload-Length"] == str(capabilities.max_size)


@rule("CR-06", needs="max-size")
@pytest.mark.parametrize("excess", [1, 10**15])
def test_an_upload_over_the_maximum_size_is_413(
    server: Server, capabilities: Capabilities, excess: int
) -> None:
    assert capabilities.max_size is not None
    response = server.post({"Upload-Length": str(capabilities.max_size + excess)})
    assert response.status == 413
    assert "Location" not in response


@rule("CR-07", "C-20")
def test_an_empty_upload_is_complete_at_creation(server: Server) -> None:
    upload = server.create(0)
    head = upload.head()
    assert (head["Upload-Offset"], head["Upload-Length"]) == ("0", "0")


@rule("CR-07", "GET", level=PRACTICE, needs="content")
def test_an_empty_upload_is_an_empty_file(server: Server) -> None:
    assert server.create(0).read() == b""


@rule("CR-07", "C-40", level=PRACTICE)
def test_an_empty_upload_accepts_only_an_empty_patch(server: Server) -> None:
    upload = server.create(0)
    assert upload.append(b"") == 0
    with upload.unchanged():
        assert_refused(upload.patch(b"x", 0))


@rule("CR-09", level=PRACTICE)
@pytest.mark.parametrize("suffix", ["-elsewhere", "/no/such/place"])
def test_a_creation_at_another_path_is_refused(server: Server, suffix: str) -> None:
    response = server.send("POST", server.url + suffix, {"Upload-Length": "5"}, b"")
    assert response.status in {404, 405}


@rule("CR-09", level=PRACTICE)
def test_a_creation_at_the_url_of_an_upload_is_refused(server: Server) -> None:
    upload = server.create()
    with upload.unchanged():
        response = server.send("POST", upload.url, {"Upload-Length": "5"}, b"")
    assert response.status in {404, 405}


@rule("CR-10", level=PRACTICE)
@pytest.mark.parametrize("type", ["application/octet-stream", "text/plain", ""])
def test_the_content_type_of_an_empty_creation_is_ignored(server: Server, type: str) -> None:
    """Clients on aiohttp send a Content-Type with every POST."""
    assert server.create(5, {"Content-Type": type}).offset() == 0


@rule("CR-10", level=PRACTICE)
@pytest.mark.parametrize("type", ["text/plain", "application/octet-stream", None])
def test_a_body_of_another_type_is_ignored_or_refused(server: Server, type: str | None) -> None:
    response = server.post({"Upload-Length": "5", "Content-Type": type}, b"hello")
    if response.status == 201:
        assert server.upload_from(response).offset() == 0
    else:
        assert response.status in {400, 415}


@rule("CR-10", level=PRACTICE, needs="not:creation-with-upload")
def test_a_body_without_creation_with_upload_is_ignored_or_refused(server: Server) -> None:
    response = server.post({"Upload-Length": "5", "Content-Type": STREAM}, b"hello")
    if response.status == 201:
        assert server.upload_from(response).offset() == 0
    else:
        assert_refused(response)


@rule("CR-11", level=PRACTICE)
def test_a_repeated_creation_creates_a_second_upload(server: Server) -> None:
    fields = {"Upload-Metadata": "filename eA=="}
    first, second = server.create(5, fields), server.create(5, fields)
    assert first.url != second.url
    first.append(b"hello")
    assert second.offset() == 0


@rule("CR-02", level=PRACTICE)
def test_a_location_is_hard_to_guess(server: Server) -> None:
    """The URL is a capability: consecutive numbers would reveal the URLs of other users."""
    ids = [server.create().id for _ in range(3)]
    assert all(len(id) >= 16 for id in ids)
    assert len({id[:12] for id in ids}) == 3


@rule("CR-01", level=PRACTICE)
def test_a_trailing_slash_is_accepted(server: Server) -> None:
    """@uppy/tus and other clients are often configured with a trailing slash."""
    response = server.send("POST", server.url.rstrip("/") + "/", {"Upload-Length": "5"}, b"")
    assert response.status == 201
