"""List the contents of a bucket, for `tus-wsgi sweep`. A server never lists.

Listing requires two permissions on the bucket that a server does not need: `s3:ListBucket` and
`s3:ListBucketMultipartUploads`. It costs one call for each 1,000 entries.
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
    """An object in a listing.

    Attributes:
        key: the object's key.
        size: in bytes.
        modified: the time of the last write, in UTC.
    """

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ListedMultipart:
    """An open multipart upload in a listing.

    Attributes:
        key: the key of its future object.
        multipart: the UploadId.
        created: the time of its creation, in UTC.
    """

    key: str
    multipart: str
    created: datetime


class Listing:
    """Lists the objects and the multipart uploads of a bucket.

    Args:
        client: a client whose credentials allow listing.
        bucket: the name of the bucket.
        page: entries per call, 1,000 at most.
    """

    def __init__(self, client: S3Client, bucket: str, *, page: int = 1000) -> None:
        self._client = client
        self._bucket = bucket
        self._page = page

    def objects(self, prefix: str, *, is_deep: bool = False) -> Iterator[ListedObject]:
        """Yield the objects whose keys start with `prefix`.

        Args:
            prefix: the beginning of the keys.
            is_deep: whether keys with a slash after the prefix count too.

        Raises:
            StoreUnavailable: S3 did not answer, or the credentials do not allow listing.
        """
        seen: set[str] = set()
        more: dict[str, Any] = {} if is_deep else {"Delimiter": "/"}
        while True:
            with _translate_errors("ListObjectsV2"):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=prefix, MaxKeys=self._page, **more
                )
                _require(page, "Name")
                entries = [
                    ListedObject(entry["Key"], entry["Size"], entry["LastModified"])
                    for entry in page.get("Contents", [])
                ]
                token = page["NextContinuationToken"] if page.get("IsTruncated") else None
            yield from entries
            if token is None:
                return
            if token in seen:
                raise StoreUnavailable("ListObjectsV2")  # the listing would never end
            seen.add(token)
            more["ContinuationToken"] = token

    def has_object(self, key: str) -> bool:
        """Return whether `key` exists. A listing proves absence; a 404 or 403 does not (D-07).

        Raises:
            StoreUnavailable: S3 did not answer, or the credentials do not allow listing.
        """
        # Not every service sorts the keys, so the first may be a longer key with this prefix.
        return any(listed.key == key for listed in self.objects(key))

    def has_multipart(self, key: str, multipart: str) -> bool:
        """Return whether this multipart upload is open.

        Raises:
            StoreUnavailable: S3 did not answer, or the credentials do not allow listing.
        """
        return any(
            (listed.key, listed.multipart) == (key, multipart) for listed in self.multiparts(key)
        )

    def multiparts(self, prefix: str) -> Iterator[ListedMultipart]:
        """Yield the open multipart uploads whose keys start with `prefix`, in any order.

        Raises:
            StoreUnavailable: S3 did not answer, or the credentials do not allow listing.
        """
        seen: set[tuple[str, str]] = set()
        more: dict[str, Any] = {}
        while True:
            with _translate_errors("ListMultipartUploads"):
                page = self._client.list_multipart_uploads(
                    Bucket=self._bucket, Prefix=prefix, MaxUploads=self._page, **more
                )
                _require(page, "Bucket")
                entries = [
                    ListedMultipart(entry["Key"], entry["UploadId"], entry["Initiated"])
                    for entry in page.get("Uploads", [])
                ]
            yield from entries
            marker = (page.get("NextKeyMarker", ""), page.get("NextUploadIdMarker", ""))
            # SeaweedFS does not sort the uploads, so it may return a marker again.
            if not page.get("IsTruncated") or marker in seen or not marker[0]:
                return
            seen.add(marker)
            more = {"KeyMarker": marker[0]}
            if marker[1]:
                more["UploadIdMarker"] = marker[1]


@contextmanager
def _translate_errors(operation: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError, OSError, KeyError) as error:
        raise StoreUnavailable(operation) from error


def _require(page: Mapping[str, Any], field: str) -> None:
    """Raise KeyError if a response lacks `field`. Such a response does not prove absence."""
    page[field]
