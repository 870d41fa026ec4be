"""Read the bytes of a finished upload from S3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tus_wsgi.domain.errors import UploadGone
from tus_wsgi.domain.model import KIB
from tus_wsgi.stores.s3.bucket import Bucket, ObjectFacts
from tus_wsgi.stores.s3.errors import NotFound

CHUNK_SIZE = 256 * KIB
"""Bytes of a download that are in memory at a time."""


class S3Content:
    """A data object. It implements `tus_wsgi.domain.commands.Content`."""

    def __init__(self, bucket: Bucket, key: str, facts: ObjectFacts) -> None:
        self._bucket = bucket
        self._key = key
        self._facts = facts

    @classmethod
    def load(cls, bucket: Bucket, key: str, facts: ObjectFacts | None = None) -> S3Content:
        """Return the content of the object `key`. One S3 call if `facts` is None.

        Args:
            bucket: the bucket of the object.
            key: the object's key.
            facts: the result of an earlier HEAD; None to make a HEAD now.

        Raises:
            UploadGone: the object was deleted.
            StoreUnavailable: S3 did not answer.
        """
        try:
            return cls(bucket, key, facts or bucket.head(key))
        except NotFound as error:
            raise UploadGone("the file was removed from the store") from error

    @property
    def length(self) -> int:
        """The size of the object in bytes."""
        return self._facts.size

    @property
    def etag(self) -> str:
        """S3's ETag without quotes."""
        return self._facts.etag.strip('"')

    @property
    def modified(self) -> datetime:
        """The time when the object was written, in UTC."""
        return self._facts.modified

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to `stop` (exclusive) in chunks. One S3 call.

        Raises:
            UploadGone: the object was deleted or replaced; raised before the first byte.
            StoreUnavailable: S3 did not answer.
        """
        if start == stop:
            return iter(())
        try:
            return self._bucket.read(
                self._key, start, stop, etag=self._facts.etag, chunk_size=CHUNK_SIZE
            )
        except NotFound as error:
            raise UploadGone("the file was removed from the store") from error

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> str:
        """Return a presigned URL of the object. No S3 call; the signer needs only `s3:GetObject`.

        Raises:
            StoreUnavailable: boto3 found no credentials to sign the URL with.
        """
        return self._bucket.presigned_url(self._key, lifetime, type=type, disposition=disposition)
