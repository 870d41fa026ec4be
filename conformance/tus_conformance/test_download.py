"""GET of an upload, if the server offers downloads. tus does not specify it."""

from __future__ import annotations

import pytest

from .rules import PRACTICE, needs, rule
from .server import Server, as_base64, some_bytes

pytestmark = needs("creation", "get")


@rule("GET", level=PRACTICE)
def test_a_download_needs_no_tus_resumable(server: Server) -> None:
    upload = server.upload(b"hello")
    response = server.send("GET", upload.url, {"Tus-Resumable": None})
    assert (response.status, response.body) == (200, b"hello")


@rule("GET", level=PRACTICE)
def test_a_download_returns_the_whole_file(server: Server) -> None:
    content = some_bytes(3_000_000)
    assert server.upload(content).read() == content


@rule("GET", level=PRACTICE)
@pytest.mark.parametrize("sent", [b"", b"he"], ids=["empty", "mid-way"])
def test_an_unfinished_upload_is_not_returned_as_a_complete_file(
    server: Server, sent: bytes
) -> None:
    upload = server.create(5)
    if sent:
        upload.append(sent)
    with upload.unchanged():
        response = server.send("GET", upload.url)
    assert response.status >= 400 or response.status == 206


@rule("GET", level=PRACTICE)
def test_an_unknown_upload_is_404(server: Server) -> None:
    assert server.send("GET", server.unknown_url()).status in {404, 410}


@rule("GET", level=PRACTICE)
@pytest.mark.parametrize(
    ("ranges", "status", "body"),
    [
        ("bytes=0-1", 206, b"he"),
        ("bytes=2-", 206, b"llo"),
        ("bytes=-2", 206, b"lo"),
        ("bytes=0-99", 206, b"hello"),
        ("bytes=5-", 416, None),
        ("bytes=x", 200, b"hello"),
        ("lines=1-2", 200, b"hello"),
    ],
)
def test_a_range_returns_that_range_or_the_whole_file(
    server: Server, ranges: str, status: int, body: bytes | None
) -> None:
    """RFC 9110, section 14.2: a server may ignore a range, but not refuse a valid one with 416."""
    upload = server.upload(b"hello")
    response = server.send("GET", upload.url, {"Range": ranges})
    if response.status == 200:
        assert response.body == b"hello"
    elif response.status == 206:
        assert status == 206
        assert response.body == body
    else:
        assert response.status == 416
        assert status != 206


@rule("GET", level=PRACTICE)
@pytest.mark.parametrize("type", ["text/html", "image/svg+xml", "application/xhtml+xml"])
def test_a_file_cannot_run_scripts_on_the_servers_origin(server: Server, type: str) -> None:
    """Otherwise an uploader could run scripts as the user that opens the file."""
    metadata = f"filename {as_base64('x.html')},filetype {as_base64(type)},type {as_base64(type)}"
    upload = server.upload(b"<script>1</script>", {"Upload-Metadata": metadata})
    response = server.send("GET", upload.url)
    inert = (response.get("Content-Type") or "").partition(";")[0] != type
    saved = (response.get("Content-Disposition") or "").startswith("attachment")
    assert inert or saved or "sandbox" in (response.get("Content-Security-Policy") or "")
    sniffs = response.get("X-Content-Type-Options") != "nosniff"
    assert saved or not sniffs
