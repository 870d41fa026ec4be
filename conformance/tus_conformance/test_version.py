"""Tus-Resumable in requests and responses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .rules import PRACTICE, needs, rule
from .server import Server, Upload, parse_list
from .wire import Response

pytestmark = needs("creation")

OTHER_VERSIONS = ["0.2.2", "2.0.0", "1.0", "1.0.0.0", "abc", "1.0.0,1.0.0"]

METHODS = [
    "HEAD",
    "PATCH",
    "POST",
    pytest.param("DELETE", marks=needs("termination")),
]


def request(upload: Upload, method: str, version: str | None) -> Response:
    """Send a request that is valid in version 1.0.0."""
    server = upload.server
    fields = {"Tus-Resumable": version}
    if method == "POST":
        return server.post({"Upload-Length": "5", **fields})
    if method == "PATCH":
        return upload.patch(b"llo", 2, fields)
    return server.send(method, upload.url, fields)


@pytest.fixture
def upload(server: Server) -> Upload:
    upload = server.create(5)
    upload.append(b"he")
    return upload


@rule("C-02")
@pytest.mark.parametrize("version", OTHER_VERSIONS)
@pytest.mark.parametrize("method", METHODS)
def test_another_version_is_412(upload: Upload, method: str, version: str) -> None:
    assert request(upload, method, version).status == 412


@rule("C-02")
@pytest.mark.parametrize("method", METHODS)
def test_the_412_lists_the_versions(upload: Upload, method: str) -> None:
    """ "The Server MUST … include the Tus-Version header into the response." """
    assert "1.0.0" in parse_list(request(upload, method, "0.2.2").get("Tus-Version"))


@rule("C-02", "C-25")
@pytest.mark.parametrize("version", OTHER_VERSIONS)
@pytest.mark.parametrize("method", METHODS)
def test_another_version_changes_nothing(upload: Upload, method: str, version: str) -> None:
    with upload.unchanged():
        response = request(upload, method, version)
    assert not 200 <= response.status < 300
    assert "Location" not in response


@rule("C-03", level=PRACTICE)
@pytest.mark.parametrize("version", [None, ""], ids=["absent", "empty"])
@pytest.mark.parametrize("method", METHODS)
def test_a_missing_version_is_412(upload: Upload, method: str, version: str | None) -> None:
    """HEAD may succeed: download managers do not send a version."""
    with upload.unchanged():
        status = request(upload, method, version).status
    expected = {412, 200, 204} if method == "HEAD" else {412}
    assert status in expected


OTHER_ERRORS: dict[str, Callable[[Upload], Response]] = {
    "unknown-upload": lambda u: u.server.send("HEAD", u.url + "x", {"Tus-Resumable": "2.0.0"}),
    "other-type": lambda u: u.patch(
        b"", 2, {"Tus-Resumable": "2.0.0", "Content-Type": "text/plain"}
    ),
    "other-offset": lambda u: u.patch(b"", 1, {"Tus-Resumable": "2.0.0"}),
    "no-offset": lambda u: u.patch(b"", "x", {"Tus-Resumable": "2.0.0"}),
    "no-length": lambda u: u.server.post({"Tus-Resumable": "2.0.0"}),
}


@rule("C-04", level=PRACTICE)
@pytest.mark.parametrize("error", OTHER_ERRORS)
def test_a_wrong_version_takes_precedence_over_other_errors(upload: Upload, error: str) -> None:
    assert OTHER_ERRORS[error](upload).status == 412


RESPONSES: dict[str, Callable[[Upload], Response]] = {
    "POST": lambda u: u.server.post({"Upload-Length": "5"}),
    "HEAD": lambda u: u.head(),
    "PATCH": lambda u: u.patch(b"llo", 2),
    "HEAD-unknown": lambda u: u.server.send("HEAD", u.server.unknown_url()),
    "PATCH-unknown": lambda u: Upload(u.server, u.server.unknown_url()).patch(b"", 0),
    "PATCH-other-offset": lambda u: u.patch(b"", 1),
    "PATCH-other-type": lambda u: u.patch(b"", 2, {"Content-Type": "text/plain"}),
    "PATCH-too-long": lambda u: u.patch(b"1234", 2),
    "PATCH-no-offset": lambda u: u.patch(b"", "x"),
    "POST-no-length": lambda u: u.server.post(),
    "POST-bad-metadata": lambda u: u.server.post(
        {"Upload-Length": "5", "Upload-Metadata": "a @@@"}
    ),
    "other-version": lambda u: u.head({"Tus-Resumable": "2.0.0"}),
    "no-version": lambda u: u.server.post({"Tus-Resumable": None, "Upload-Length": "5"}),
    "other-method": lambda u: u.server.send("PUT", u.url),
}


@rule("C-01")
@pytest.mark.parametrize("name", RESPONSES)
def test_every_response_contains_the_version(upload: Upload, name: str) -> None:
    assert RESPONSES[name](upload).get("Tus-Resumable") == "1.0.0"
