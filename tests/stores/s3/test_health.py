"""Which answers of S3 prove that it works."""

from __future__ import annotations

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from demo.seaweedfs import SeaweedFS
from tests.stores.s3.stubbed_bucket import StubbedBucket, stub_client, stubbed
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.health import S3Check

__all__ = ["stub_client", "stubbed"]


@pytest.mark.parametrize(("code", "status"), [("NoSuchKey", 404), ("AccessDenied", 403)])
def test_a_missing_object_proves_that_s3_answers(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    stubbed.add_error("get_object", code, status)
    S3Check(stubbed.client, "bucket", "")()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("NoSuchBucket", 404),
        ("404", 404),
        ("403", 403),
        ("InvalidAccessKeyId", 403),
        ("SignatureDoesNotMatch", 403),
        ("ExpiredToken", 400),
        ("SlowDown", 503),
        ("InternalError", 500),
    ],
)
def test_other_errors_are_failures(stubbed: StubbedBucket, code: str, status: int) -> None:
    stubbed.add_error("get_object", code, status)
    with pytest.raises(ClientError):
        S3Check(stubbed.client, "bucket", "")()


def test_a_server_without_permission_to_list_passes_the_check(
    s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in s3.environ().items():
        monkeypatch.setenv(name, text)
    client = make_client(endpoint=s3.endpoint, parallel_parts=1, timeout=30)
    S3Check(client, s3.bucket, "a/")()


def test_a_client_with_a_timeout_makes_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that hangs for minutes would not notice that S3 is back."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    client = make_client(endpoint="http://127.0.0.1:9", parallel_parts=1, timeout=1)
    attempts: list[object] = []
    client.meta.events.register("before-send.s3", lambda request, **_: attempts.append(request))
    with pytest.raises(BotoCoreError):
        S3Check(client, "bucket", "")()
    assert len(attempts) == 1
