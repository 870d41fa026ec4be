"""S3 goes down and comes back: clients are told to wait, and lose nothing."""

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

PATIENCE = 9.0
"""Seconds after which common clients give up."""


def test_while_s3_is_down_clients_wait_and_afterwards_all_goes_on(tmp_path: Path) -> None:
    """HEAD is never 5xx: clients would start again from the first byte. All else is."""
    stored = PART_SIZE + 77
    with start_seaweedfs(tmp_path / "s3") as s3:
        deployment = Deployment(s3, tmp_path / "deployment")
        deployment.expected_errors = r"Traceback|\bERROR\b"
        tus = TusClient(deployment.start().port)
        begun, finished = tus.create(len(FILE)), tus.upload(b"hello")
        tus.append(begun, 0, FILE[:stored])
        s3.stop(hard=True)

        began = time.monotonic()
        head = tus.head(begun)
        assert head.status == 423
        assert int(head["Retry-After"]) >= 1
        assert head.get("Upload-Offset") is None
        assert time.monotonic() - began < PATIENCE
        rest = FILE[stored : stored + 1000]
        creation = {"Upload-Length": "5"}
        told = {
            "PATCH": tus.patch(begun, stored, rest),
            "POST": tus.request("POST", "/files", creation),
            "POST with data": tus.request("POST", "/files", {**creation, **STREAM}, b"hello"),
            "GET": tus.request("GET", finished),
            "DELETE": tus.delete(finished),
        }
        assert {name: response.status for name, response in told.items()} == dict.fromkeys(
            told, 503
        )
        for response in told.values():
            assert int(response["Retry-After"]) >= 1
            assert response["Tus-Resumable"] == "1.0.0"
            assert b"seaweed" not in response.body.lower(), "what it is made of is our own business"
        assert tus.request("OPTIONS", "/files").status == 204
        deployment.close()

    with start_seaweedfs(tmp_path / "s3") as s3:
        # Its secrets are new at every start.
        again = TusClient(deployment.start(settings=s3.environ()).port)
        assert again.offset(begun) == stored
        again.append(begun, stored, FILE[stored:])
        assert again.request("GET", begun).body == FILE
        assert again.request("GET", finished).body == b"hello"
        deployment.close()


def test_s3_dies_in_the_middle_of_a_patch(tmp_path: Path) -> None:
    """The client learns of it, and what was acknowledged before is there afterwards."""
    with start_seaweedfs(tmp_path / "s3") as s3:
        deployment = Deployment(s3, tmp_path / "deployment")
        deployment.expected_errors = r"Traceback|\bERROR\b"
        tus = TusClient(deployment.start().port)
        path = tus.create(len(FILE))
        tus.append(path, 0, FILE[:1000])
        s3.stop(hard=True)
        response = tus.patch(path, 1000, FILE[1000:])
        assert response.status == 503
        assert response.get("Upload-Offset") is None, "nobody knows it now"
        deployment.close()
    with start_seaweedfs(tmp_path / "s3") as s3:
        again = TusClient(deployment.start(settings=s3.environ()).port)
        assert again.offset(path) == 1000
        again.append(path, 1000, FILE[1000:])
        assert again.request("GET", path).body == FILE
        deployment.close()


@pytest.mark.parametrize("path", ["/files/aaaaaaaaaaaaaaaaaaaaaa", "/files/not-an-id", "/files/"])
def test_head_of_what_is_not_there_is_404_and_not_a_fault(path: str, tus: TusClient) -> None:
    """C-24: with the least privilege, S3 must still say that a key is absent."""
    response = tus.head(path)
    assert response.status in {404, 405}
    assert response.get("Upload-Offset") is None
