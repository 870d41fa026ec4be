"""X-HTTP-Method-Override."""

from __future__ import annotations

import pytest

from .rules import PRACTICE, needs, rule
from .server import Server, Upload
from .wire import Fields, Response, merge_fields

pytestmark = needs("creation")

CARRIERS = ["POST", "GET", "PUT", "DELETE"]


@pytest.fixture
def upload(server: Server) -> Upload:
    """An upload with 2 of 5 bytes."""
    upload = server.create(5)
    upload.append(b"he")
    return upload


def override(
    upload: Upload, method: str, by: str = "POST", fields: Fields = (), body: bytes = b""
) -> Response:
    """Send a request with a method override."""
    sent = merge_fields({"X-HTTP-Method-Override": method}, fields)
    return upload.server.send(by, upload.url, sent, body)


@rule("C-10")
def test_post_can_be_overridden_to_patch(upload: Upload) -> None:
    response = override(upload, "PATCH", fields=upload.patch_fields(2), body=b"llo")
    assert (response.status, response.get("Upload-Offset")) == (204, "5")
    upload.assert_content(b"hello")


@rule("C-10", needs="termination")
def test_post_can_be_overridden_to_delete(upload: Upload) -> None:
    assert override(upload, "DELETE").status == 204
    upload.assert_gone()


@rule("C-10")
def test_post_can_be_overridden_to_head(upload: Upload) -> None:
    assert override(upload, "HEAD")["Upload-Offset"] == "2"


@rule("C-10")
@pytest.mark.parametrize("by", ["GET", "PUT", "DELETE"])
def test_every_method_can_be_overridden_to_patch(upload: Upload, by: str) -> None:
    """ "The actual method of the request MUST be ignored."

    A server may have reasons to refuse this for GET: its proxies and caches treat a GET as a
    request that changes nothing (RFC 9110, section 9.2.1). It is a deviation nevertheless.
    """
    response = override(upload, "PATCH", by, upload.patch_fields(2), b"llo")
    assert response.status == 204
    upload.assert_content(b"hello")


@rule("C-10")
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (412, {"Tus-Resumable": "2.0.0"}),
        (415, {"Content-Type": "text/plain"}),
        (409, {"Upload-Offset": "1"}),
    ],
)
def test_an_overridden_request_is_validated_as_its_new_method(
    upload: Upload, status: int, fields: dict[str, str]
) -> None:
    with upload.unchanged():
        sent = upload.patch_fields(2, fields)
        assert override(upload, "PATCH", fields=sent, body=b"llo").status == status


@rule("C-10", level=PRACTICE)
def test_an_override_works_with_chunks_and_expect(upload: Upload) -> None:
    """tus-java-client sends every request like this."""
    server = upload.server
    fields = {
        "X-HTTP-Method-Override": "PATCH",
        "Transfer-Encoding": "chunked",
        "Expect": "100-continue",
    }
    with upload.connect() as connection:
        sent = server.fields(upload.patch_fields(2, dict(fields)))
        connection.begin("POST", upload.target, sent)
        connection.stays_silent_for(1)
        connection.send(b"3\r\nllo\r\n0\r\n\r\n")
        assert connection.response("POST").status == 204
    upload.assert_content(b"hello")


@rule("C-10", level=PRACTICE)
def test_post_can_be_overridden_to_post(server: Server) -> None:
    fields = {"X-HTTP-Method-Override": "POST", "Upload-Length": "5"}
    assert server.upload_from(server.post(fields)).offset() == 0


@rule("C-11", level=PRACTICE)
@pytest.mark.parametrize(
    "method", ["patch", "FOO", "PATCH,PATCH", "TRACE", "CONNECT", "PATCH x", "GET"]
)
def test_an_unusual_override_changes_nothing(upload: Upload, method: str) -> None:
    with upload.unchanged():
        response = override(upload, method, fields=upload.patch_fields(2), body=b"llo")
    assert 200 <= response.status < 500 or response.status == 501


@rule("C-11", level=PRACTICE)
def test_an_empty_override_is_ignored(server: Server) -> None:
    upload = server.upload_from(server.post({"X-HTTP-Method-Override": "", "Upload-Length": "5"}))
    assert upload.offset() == 0


@rule("C-11", level=PRACTICE)
def test_post_can_be_overridden_to_options(server: Server) -> None:
    response = server.post({"X-HTTP-Method-Override": "OPTIONS"})
    assert response.status in {200, 204}
    assert "1.0.0" in response["Tus-Version"]
