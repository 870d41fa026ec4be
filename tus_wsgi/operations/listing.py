"""What is in the bucket: for `tus-wsgi sweep` alone, because serving must not need these rights.

Permissions beside those of a server: `s3:ListBucket` and `s3:ListBucketMultipartUploads`, both on
the bucket. Costs: a call for each 1,000 entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from tus_wsgi.domain.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object that is there. Bytes, and an instant in UTC."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ListedMultipart:
    """A multipart upload that is neither completed nor aborted. An instant in UTC."""

    key: str
    multipart: str
    begun: datetime


class Listing:
    """Lists a bucket.

    Args:
        client: its credentials may list.
        bucket: its name.
        page: entries of one answer, 1,000 at most.
    """

    def __init__(self, client: S3Client, bucket: str, *, page: int = 1000) -> None:
        self._client = client
        self._bucket = bucket
        self._page = page

    def objects(self, prefix: str) -> Iterator[ListedObject]:
        """The objects right below `prefix`, and none below a further slash.

        Raises:
            StoreUnavailable: S3 did not answer, or listing is not allowed.
        """
        more: dict[str, Any] = {}
        while True:
            with _calling("ListObjectsV2"):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=prefix, Delimiter="/", MaxKeys=self._page, **more
                )
                _check(page, "Name")
            for one in page.get("Contents", []):
                yield ListedObject(one["Key"], one["Size"], one["LastModified"])
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token:
                return
            more = {"ContinuationToken": token}

    def has(self, key: str) -> bool:
        """Whether there is an object `key`. Unlike a 404 or a 403, a listing is proof of absence.

        Raises:
            StoreUnavailable: S3 did not answer, or listing is not allowed.
        """
        with _calling("ListObjectsV2"):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
            _check(page, "Name")
        return any(one["Key"] == key for one in page.get("Contents", []))

    def multiparts(self, prefix: str) -> Iterator[ListedMultipart]:
        """The open multipart uploads whose keys begin with `prefix`, in any order.

        Raises:
            StoreUnavailable: S3 did not answer, or listing is not allowed.
        """
        seen: set[tuple[str, str]] = set()
        more: dict[str, Any] = {}
        while True:
            with _calling("ListMultipartUploads"):
                page = self._client.list_multipart_uploads(
                    Bucket=self._bucket, Prefix=prefix, MaxUploads=self._page, **more
                )
                _check(page, "Bucket")
            for one in page.get("Uploads", []):
                yield ListedMultipart(one["Key"], one["UploadId"], one["Initiated"])
            marker = (page.get("NextKeyMarker", ""), page.get("NextUploadIdMarker", ""))
            # SeaweedFS does not sort them, so its marker may come back to where it was.
            if not page.get("IsTruncated") or marker in seen or not marker[0]:
                return
            seen.add(marker)
            more = {"KeyMarker": marker[0]}
            if marker[1]:
                more["UploadIdMarker"] = marker[1]


@contextmanager
def _calling(operation: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError, OSError, KeyError) as error:
        raise StoreUnavailable(operation) from error


def _check(page: Mapping[str, Any], name: str) -> None:
    """Let an answer fail that does not even name the bucket: it is no proof of absence."""
    page[name]
