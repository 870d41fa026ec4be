"""A bucket whose S3 responses the test scripts, behind the real boto3 client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from tus_wsgi.stores.s3.bucket import Bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class StubbedBucket:
    """A bucket whose S3 responses come from botocore's Stubber."""

    def __init__(self, client: S3Client) -> None:
        self.client = client
        self.stubber = Stubber(client)
        self.bucket = Bucket(client, "bucket")

    def add_error(self, operation: str, code: str, status: int, message: str = "") -> None:
        self.stubber.add_client_error(operation, code, message, http_status_code=status)

    def add_response(self, operation: str, **fields: Any) -> None:
        fields.setdefault("ResponseMetadata", {"HTTPStatusCode": 200})
        self.stubber.add_response(operation, fields)

    def add_object(self) -> None:
        """Let the next GetObject succeed."""
        self.add_response("get_object", **FACTS, Body=EmptyBody())

    def read_something(self, key: str = "something") -> None:
        """Read an object, which the bucket then knows."""
        self.add_object()
        self.bucket.get(key)


class EmptyBody:
    """A response body without bytes."""

    def read(self, size: int = -1) -> bytes:
        return b""

    def close(self) -> None:
        pass


FACTS: dict[str, Any] = {"ContentLength": 0, "ETag": '"e"', "LastModified": "2026-01-02T03:04:05Z"}


@pytest.fixture(scope="module")
def stub_client() -> S3Client:
    """A client that opens no connection."""
    return boto3.session.Session().client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def stubbed(stub_client: S3Client) -> Iterator[StubbedBucket]:
    stubbed = StubbedBucket(stub_client)
    with stubbed.stubber:
        yield stubbed
    stubbed.stubber.assert_no_pending_responses()
