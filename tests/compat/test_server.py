"""The middleware on each S3 service, configured by environment variables only."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from werkzeug.exceptions import NotFound
from werkzeug.test import Client, TestResponse

from tests.harness.data import some_bytes
from tests.harness.servers.s3_service import S3Service
from tus_wsgi import TusMiddleware
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.compat

TUS = {"Tus-Resumable": "1.0.0"}
STREAM = {**TUS, "Content-Type": "application/offset+octet-stream"}

PART = 5 * MIB


class TusClient:
    """A minimal tus client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, length: int, **fields: str) -> str:
        response = self._client.post(
            "/files", headers={**TUS, "Upload-Length": str(length)} | fields
        )
        assert response.status_code == 201, response.text
        return response.headers["Location"]

    def patch(self, url: str, offset: int, content: bytes) -> TestResponse:
        fields = {**STREAM, "Upload-Offset": str(offset)}
        return self._client.patch(url, headers=fields, data=content)

    def offset(self, url: str) -> int:
        response = self._client.head(url, headers=TUS)
        assert response.status_code == 200
        return int(response.headers["Upload-Offset"])

    def get(self, url: str, **fields: str) -> TestResponse:
        return self._client.get(url, headers=fields)

    def delete(self, url: str) -> int:
        return self._client.delete(url, headers=TUS).status_code


@pytest.fixture
def tus(service: S3Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TusClient:
    for name, text in service.environ().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("TUS_S3_PART_SIZE", "5MiB")
    monkeypatch.setenv("TUS_S3_OBJECT_PREFIX", f"server/{secrets.token_hex(6)}")
    monkeypatch.setenv("TUS_LOCK_DIR", str(tmp_path / "locks"))
    return TusClient(Client(TusMiddleware.from_env(NotFound())))


def test_a_file_is_uploaded_in_three_requests_and_downloaded(tus: TusClient) -> None:
    content = some_bytes(2 * PART + 5)
    # filename "Menü.txt", filetype "text/plain"
    url = tus.create(
        len(content), **{"Upload-Metadata": "filename TWVuw7wudHh0,filetype dGV4dC9wbGFpbg=="}
    )
    for start, stop in [(0, 1000), (1000, PART + 1000), (PART + 1000, len(content))]:
        assert tus.offset(url) == start
        assert tus.patch(url, start, content[start:stop]).status_code == 204
    assert tus.offset(url) == len(content)
    assert tus.get(url).data == content
    part = tus.get(url, Range="bytes=5242870-5242890")
    assert (part.status_code, part.data) == (206, content[5242870:5242891])
    assert part.headers["Content-Type"].startswith("text/plain")
    assert tus.patch(url, 5, b"x").status_code == 409
    assert tus.delete(url) == 204
    assert tus.get(url).status_code == 404


def test_a_terminated_upload_is_not_found(tus: TusClient) -> None:
    url = tus.create(PART + 5)
    assert tus.patch(url, 0, some_bytes(PART + 1)).status_code == 204
    assert tus.delete(url) == 204
    assert tus.patch(url, PART + 1, b"1234").status_code == 404
