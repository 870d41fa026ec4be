"""HEAD: the offset of an upload."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from .rules import PRACTICE, SHOULD, needs, rule
from .server import Server, Upload, assert_refused, target_of
from .wire import Response

pytestmark = needs("creation")

STAGES = {"empty": b"", "mid-way": b"he", "complete": b"hello"}


@pytest.fixture(params=STAGES.values(), ids=list(STAGES))
def data(request: pytest.FixtureRequest) -> bytes:
    sent: bytes = request.param
    return sent


@pytest.fixture
def head(server: Server, data: bytes) -> Response:
    """The response to HEAD at each stage of an upload."""
    upload = server.create(5)
    if data:
        upload.append(data)
    return upload.head()


@rule("C-20")
def test_head_returns_the_offset(head: Response, data: bytes) -> None:
    assert head.all("Upload-Offset") == [str(len(data))]


@rule("C-21")
def test_head_returns_the_length(head: Response) -> None:
    assert head.all("Upload-Length") == ["5"]


@rule("C-22")
def test_head_must_not_be_cached(head: Response) -> None:
    directives = re.split(r"[ \t]*,[ \t]*", head["Cache-Control"].lower())
    assert "no-store" in directives


@rule("C-23", level=SHOULD)
def test_head_is_200_or_204(head: Response) -> None:
    assert head.status in {200, 204}


@rule("C-23", level=PRACTICE)
def test_head_is_200(head: Response) -> None:
    """go-tus and tusgo accept only 200."""
    assert head.status == 200


@rule("C-23")
@pytest.mark.parametrize("kind", ["known", "unknown"])
def test_head_has_no_body(server: Server, kind: str) -> None:
    """The next response follows immediately."""
    url = server.create().url if kind == "known" else server.unknown_url()
    with server.connect(url) as connection:
        connection.begin("HEAD", target_of(url), server.fields())
        first = connection.response("HEAD")
        if first.get("Connection") != "close":
            connection.begin("OPTIONS", server.path, [*server.access.fields.items()])
            assert connection.response("OPTIONS").status in {200, 204}


@rule("C-24", level=SHOULD)
def test_head_of_an_unknown_upload_has_no_offset(server: Server) -> None:
    head = server.send("HEAD", server.unknown_url())
    assert head.status in {403, 404, 410}
    assert "Upload-Offset" not in head


@rule("C-24", level=PRACTICE)
def test_head_of_an_unknown_upload_is_404(server: Server) -> None:
    assert server.send("HEAD", server.unknown_url()).status == 404


UNUSUAL_IDS = {
    "short": "x",
    "long": "x" * 300,
    "very-long": "x" * 3000,
    "nul": "%00",
    "line-break": "a%0D%0AX-Injected:%20yes",
    "parent": "..%2f..%2f..%2fetc%2fpasswd",
    "parents": "../../../../etc/passwd",
    "dots": "..",
    "dot": ".",
    "double-slash": "/x",
    "deeper": "a/b/c",
    "bytes": "%ff%fe",
    "unicode": "%E6%96%87",
    "broken-percent": "%zz",
    "wildcard": "*",
    "quote": "%22%27%3b--",
    "info": ".info",
    "format": "%7Bid%7D%25s",
}


def request_id(server: Server, id: str, method: str = "HEAD") -> Response:
    """Send a request for an id without escaping it."""
    with server.connect() as connection:
        target = f"{urlsplit(server.url).path.rstrip('/')}/{id}"
        return connection.request(method, target, server.fields(body=b""))


@rule("C-24", level=PRACTICE)
@pytest.mark.parametrize("id", UNUSUAL_IDS.values(), ids=UNUSUAL_IDS)
def test_an_unusual_id_is_not_an_upload(server: Server, id: str) -> None:
    head = request_id(server, id)
    assert 400 <= head.status < 500 or head.status in {301, 302, 307, 308}, head
    assert "Upload-Offset" not in head
    assert "X-Injected" not in head


SUFFIXES = [".info", ".json", ".part", ".lock", "/", "/x", ";x", "%00", "%20", "."]


@rule("C-24", level=PRACTICE)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_internal_files_of_an_upload_cannot_be_read(server: Server, suffix: str) -> None:
    """Servers store internal files beside an upload. The path with a slash may be the upload."""
    upload = server.create(5, {"Upload-Metadata": "filename c2VjcmV0"})
    upload.append(b"he")
    for method in ("HEAD", "GET"):
        with server.connect(upload.url) as connection:
            response = connection.request(method, upload.target + suffix, server.fields())
        assert response.status >= 300 or suffix == "/", response
        assert response.status < 500, response
        assert b"c2VjcmV0" not in response.body


@rule("C-24", "TE-03", level=PRACTICE, needs="termination")
@pytest.mark.parametrize("suffix", [*SUFFIXES, "%0a"])
def test_internal_files_of_an_upload_cannot_be_deleted(server: Server, suffix: str) -> None:
    if suffix == "/":
        return  # It may be the upload itself.
    upload = server.create(5)
    with upload.unchanged(), server.connect(upload.url) as connection:
        assert_refused(connection.request("DELETE", upload.target + suffix, server.fields()))


@rule("C-25")
def test_head_changes_nothing(server: Server) -> None:
    upload = server.create(5)
    upload.append(b"he")
    states = {upload.state() for _ in range(3)}
    assert len(states) == 1


REFUSED: dict[str, Callable[[Upload], Response]] = {
    "other-offset": lambda u: u.patch(b"x", 1),
    "other-type": lambda u: u.patch(b"x", 2, {"Content-Type": "text/plain"}),
    "other-version": lambda u: u.patch(b"x", 2, {"Tus-Resumable": "2.0.0"}),
    "no-offset": lambda u: u.patch(b"x", "x"),
}


@rule("C-25")
@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_patch_does_not_change_the_offset(server: Server, name: str) -> None:
    upload = server.create(5)
    upload.append(b"he")
    for _ in range(2):
        assert_refused(REFUSED[name](upload))
        assert upload.offset() == 2
    upload.append(b"llo", 2)
    upload.assert_content(b"hello")
