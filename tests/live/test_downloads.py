"""GET of finished uploads: whole files, ranges, conditional requests and redirects to S3."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import VERSION, TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment

pytestmark = pytest.mark.live

FILE = some_bytes(2 * PART_SIZE + 123)
SIZE = len(FILE)


@pytest.fixture(scope="module")
def path(deployment: Deployment) -> str:
    """An upload with three parts, whose type browsers may display."""
    tus = TusClient(deployment.servers[0].port)
    pairs = {"filename": "Menü.png", "filetype": "image/png"}
    metadata = ",".join(f"{key} {_encoded(value)}" for key, value in pairs.items())
    path = tus.create(SIZE, {"Upload-Metadata": metadata})
    tus.append(path, 0, FILE)
    return path


def get(tus: TusClient, path: str, **fields: str) -> Response:
    return tus.request("GET", path, {name.replace("_", "-"): text for name, text in fields.items()})


def test_a_download_has_the_name_and_type_of_the_metadata(path: str, tus: TusClient) -> None:
    response = get(tus, path)
    assert (response.status, response.body) == (200, FILE)
    assert response["Content-Length"] == str(SIZE)
    assert response["Content-Type"] == "image/png"
    assert "filename*=UTF-8''Men%C3%BC.png" in response["Content-Disposition"]
    assert response["Accept-Ranges"] == "bytes"
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("range_", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, SIZE),
        ("bytes=-5", SIZE - 5, SIZE),
        ("bytes=0-", 0, SIZE),
        (f"bytes={PART_SIZE - 1}-{PART_SIZE}", PART_SIZE - 1, PART_SIZE + 1),
        (f"bytes={PART_SIZE}-{2 * PART_SIZE}", PART_SIZE, 2 * PART_SIZE + 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes=10-{10 * SIZE}", 10, SIZE),
        (f"bytes=-{10 * SIZE}", 0, SIZE),
    ],
)
def test_a_range_returns_the_requested_bytes(
    range_: str, start: int, stop: int, path: str, tus: TusClient
) -> None:
    response = get(tus, path, Range=range_)
    assert response.status == 206
    assert response["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert response["Content-Length"] == str(stop - start)
    assert response.body == FILE[start:stop]


@pytest.mark.parametrize("range_", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}"])
def test_a_range_beyond_the_end_is_416(range_: str, path: str, tus: TusClient) -> None:
    response = get(tus, path, Range=range_)
    assert response.status == 416
    assert response["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "range_", ["bytes=0-1,5-6", "lines=1-2", "bytes=b-a", "bytes=5-1", "bytes=-0"]
)
def test_invalid_and_multiple_ranges_return_the_whole_file(
    range_: str, path: str, tus: TusClient
) -> None:
    response = get(tus, path, Range=range_)
    assert (response.status, response.body) == (200, FILE)


def test_a_conditional_get_of_the_same_file_is_304(path: str, tus: TusClient) -> None:
    first = get(tus, path, Range="bytes=0-0")
    etag, modified = first["ETag"], first["Last-Modified"]
    for condition in ({"If_None_Match": etag}, {"If_None_Match": f'"x", W/{etag}'}):
        response = get(tus, path, **condition)
        assert (response.status, response.body) == (304, b"")
        assert response["ETag"] == etag
    assert get(tus, path, If_Modified_Since=modified).status == 304
    assert get(tus, path, If_None_Match='"x"', Range="bytes=1-2").body == FILE[1:3]


def test_conditions_for_another_file_are_evaluated(path: str, tus: TusClient) -> None:
    modified = get(tus, path, Range="bytes=0-0")["Last-Modified"]
    before = format_datetime(parsedate_to_datetime(modified) - timedelta(days=1), usegmt=True)
    assert get(tus, path, If_Match='"x"').status == 412
    assert get(tus, path, If_Unmodified_Since=before).status == 412
    assert get(tus, path, If_Modified_Since=before, Range="bytes=0-3").status == 206


def test_if_range_resumes_a_download_of_the_same_file_only(path: str, tus: TusClient) -> None:
    etag = get(tus, path, Range="bytes=0-0")["ETag"]
    assert get(tus, path, Range="bytes=7-9", If_Range=etag).body == FILE[7:10]
    assert get(tus, path, Range="bytes=7-9", If_Range='"x"').body == FILE


def test_a_download_of_an_unfinished_upload_is_409(tus: TusClient) -> None:
    path = tus.create(10)
    tus.append(path, 0, b"12345")
    assert get(tus, path).status == 409


def test_a_range_of_an_empty_file_returns_an_empty_body(tus: TusClient) -> None:
    path = tus.create(0)
    response = get(tus, path, Range="bytes=0-")
    assert (response.status, response.body) == (200, b"")


def test_a_download_of_a_terminated_upload_is_404(tus: TusClient) -> None:
    path = tus.upload(b"hello")
    assert get(tus, path).body == b"hello"
    assert tus.delete(path).status == 204
    assert get(tus, path).status == 404


def test_a_download_needs_no_tus_headers(path: str, tus: TusClient) -> None:
    with Connection(tus.port) as connection:
        connection.request("GET", path, {"Range": "bytes=0-9"})
        assert connection.read_response().body == FILE[:10]
        connection.request("HEAD", path, VERSION)
        assert connection.read_response()["Upload-Offset"] == str(SIZE)


def test_reset_downloads_cause_no_errors(path: str, tus: TusClient, deployment: Deployment) -> None:
    for _ in range(3):
        with Connection(tus.port) as connection:
            connection.send_head("GET", path)
            assert connection.read_line().startswith(b"HTTP/1.1 200")
            connection.reset()
    assert get(tus, path, Range="bytes=-1").body == FILE[-1:]
    assert deployment.servers[0].logged_errors() == []


def test_downloads_can_redirect_to_s3(new_deployment: Callable[..., Deployment]) -> None:
    """TUS_DOWNLOAD_REDIRECT: S3 returns the same bytes with the same name and type."""
    deployment = new_deployment(TUS_DOWNLOAD_REDIRECT="60s")
    tus = TusClient(deployment.start().port)
    metadata = f"filename {_encoded('Menü.png')},filetype {_encoded('image/png')}"
    path = tus.create(SIZE, {"Upload-Metadata": metadata})
    tus.append(path, 0, FILE)
    redirect = get(tus, path, Range="bytes=0-3")
    assert (redirect.status, redirect.body) == (307, b"")
    assert redirect["Location"].startswith(deployment.environ["TUS_S3_ENDPOINT"])
    with urllib.request.urlopen(redirect["Location"], timeout=30) as response:
        assert response.read() == FILE
        assert response.headers["Content-Type"] == "image/png"
        assert "filename*=UTF-8''Men%C3%BC.png" in response.headers["Content-Disposition"]
    url = f"http://127.0.0.1:{tus.port}{path}"
    request = urllib.request.Request(url, headers={"Range": "bytes=5-9"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert (response.status, response.read()) == (206, FILE[5:10]), "after the redirect"
    # a GET that may ask for the offset is not redirected.
    draft_response = get_as_draft(tus, path, Range="bytes=0-3")
    assert (draft_response.status, draft_response.body) == (206, FILE[:4])
    assert draft_response["Upload-Offset"] == str(SIZE)


def test_get_of_the_newest_draft_returns_the_offset_of_an_unfinished_upload(tus: TusClient) -> None:
    """R-30."""
    path = tus.create(10)
    tus.append(path, 0, b"12345")
    response = get_as_draft(tus, path)
    assert (response.status, response.body) == (204, b"")
    assert (response["Upload-Offset"], response["Upload-Complete"]) == ("5", "?0")


def get_as_draft(tus: TusClient, path: str, **fields: str) -> Response:
    """Send a GET of the newest interop version of the IETF draft."""
    with Connection(tus.port) as connection:
        connection.request("GET", path, {"Upload-Draft-Interop-Version": "9", **fields})
        return connection.read_response()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
