"""S3 outages: clients get retryable errors, and no acknowledged byte is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from demo.seaweedfs import start_seaweedfs
from tests.harness.clients.tus import STREAM, TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment

pytestmark = pytest.mark.live

FILE = some_bytes(2 * PART_SIZE + 500)

CLIENT_TIMEOUT = 9.0
"""Seconds after which common clients give up."""


def test_requests_fail_with_retry_after_during_an_outage_and_uploads_resume(tmp_path: Path) -> None:
    """HEAD is 423, because clients restart from zero after a 5xx. Other methods are 503."""
    stored = PART_SIZE + 77
    with start_seaweedfs(tmp_path / "s3") as s3:
        deployment = Deployment(s3, tmp_path / "deployment")
        deployment.expected_errors = r"Traceback|\bERROR\b"
        tus = TusClient(deployment.start().port)
        unfinished, finished = tus.create(len(FILE)), tus.upload(b"hello")
        tus.append(unfinished, 0, FILE[:stored])
        s3.stop(hard=True)

        began = time.monotonic()
        head = tus.head(unfinished)
        assert head.status == 423
        assert int(head["Retry-After"]) >= 1
        assert head.get("Upload-Offset") is None
        assert time.monotonic() - began < CLIENT_TIMEOUT
        data = FILE[stored : stored + 1000]
        creation = {"Upload-Length": "5"}
        responses = {
            "PATCH": tus.patch(unfinished, stored, data),
            "POST": tus.request("POST", "/files", creation),
            "POST with data": tus.request("POST", "/files", {**creation, **STREAM}, b"hello"),
            "GET": tus.request("GET", finished),
            "DELETE": tus.delete(finished),
        }
        assert {name: response.status for name, response in responses.items()} == dict.fromkeys(
            responses, 503
        )
        for response in responses.values():
            assert int(response["Retry-After"]) >= 1
            assert response["Tus-Resumable"] == "1.0.0"
            assert b"seaweed" not in response.body.lower(), "the body names the storage"
        assert tus.request("OPTIONS", "/files").status == 204
        deployment.close()

    with start_seaweedfs(tmp_path / "s3") as s3:
        # SeaweedFS has new secrets after a restart.
        restarted = TusClient(deployment.start(settings=s3.environ()).port)
        assert restarted.offset(unfinished) == stored
        restarted.append(unfinished, stored, FILE[stored:])
        assert restarted.request("GET", unfinished).body == FILE
        assert restarted.request("GET", finished).body == b"hello"
        deployment.close()


def test_a_patch_during_an_outage_is_503_and_keeps_acknowledged_bytes(tmp_path: Path) -> None:
    """D-03: the bytes that were acknowledged before the outage are stored after it."""
    with start_seaweedfs(tmp_path / "s3") as s3:
        deployment = Deployment(s3, tmp_path / "deployment")
        deployment.expected_errors = r"Traceback|\bERROR\b"
        tus = TusClient(deployment.start().port)
        path = tus.create(len(FILE))
        tus.append(path, 0, FILE[:1000])
        s3.stop(hard=True)
        response = tus.patch(path, 1000, FILE[1000:])
        assert response.status == 503
        assert response.get("Upload-Offset") is None, "the offset is unknown"
        deployment.close()
    with start_seaweedfs(tmp_path / "s3") as s3:
        restarted = TusClient(deployment.start(settings=s3.environ()).port)
        assert restarted.offset(path) == 1000
        restarted.append(path, 1000, FILE[1000:])
        assert restarted.request("GET", path).body == FILE
        deployment.close()


@pytest.mark.parametrize("path", ["/files/aaaaaaaaaaaaaaaaaaaaaa", "/files/not-an-id", "/files/"])
def test_head_of_an_unknown_upload_is_404_and_no_server_error(path: str, tus: TusClient) -> None:
    """C-24: S3 reports an absent key although the server has no permission to list."""
    response = tus.head(path)
    assert response.status in {404, 405}
    assert response.get("Upload-Offset") is None
