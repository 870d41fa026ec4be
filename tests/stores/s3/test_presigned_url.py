"""Presigned URLs, from which clients download directly from S3: `TUS_DOWNLOAD_REDIRECT`."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPResponse

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.commands import Download, Downloadable

DATA = bytes(range(256))


def read(url: str, **fields: str) -> HTTPResponse:
    request = urllib.request.Request(url, headers=fields)
    answer = urllib.request.urlopen(request, timeout=20)
    assert isinstance(answer, HTTPResponse)
    return answer


def presigned_url_of_upload(sandbox: S3Sandbox, lifetime: float) -> str:
    client = UploadClient(sandbox)
    info = client.create(len(DATA), DATA)
    outcome = client.service.execute(Download(info.id), ScriptedBody())
    assert isinstance(outcome, Downloadable)
    sandbox.calls.clear()
    url = outcome.content.presigned_url(
        lifetime, type="image/png", disposition="inline; filename*=UTF-8''Men%C3%BC.png"
    )
    assert sandbox.calls.begun == [], "presigning makes no S3 call"
    assert url is not None
    return url


def test_a_presigned_url_allows_reads_without_credentials(sandbox: S3Sandbox) -> None:
    url = presigned_url_of_upload(sandbox, 60)
    with read(url) as answer:
        assert (answer.status, answer.read()) == (200, DATA)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == "inline; filename*=UTF-8''Men%C3%BC.png"
    with read(url, Range="bytes=10-19") as answer:
        assert (answer.status, answer.read()) == (206, DATA[10:20])


def test_a_presigned_url_has_a_version_4_signature(sandbox: S3Sandbox) -> None:
    url = presigned_url_of_upload(sandbox, 59.5)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert "X-Amz-Expires=60" in url


def test_a_presigned_url_expires(sandbox: S3Sandbox) -> None:
    url = presigned_url_of_upload(sandbox, 1)
    time.sleep(2.5)
    with pytest.raises(urllib.error.HTTPError) as caught:
        read(url)
    assert caught.value.code == 403
    caught.value.close()
