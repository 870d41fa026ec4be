"""The bytes of a finished upload, as S3 hands them out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tus_wsgi.domain.errors import UploadGone
from tus_wsgi.domain.model import KIB
from tus_wsgi.stores.s3.bucket import Bucket, ObjectFacts
from tus_wsgi.stores.s3.errors import NotFound

CHUNK_SIZE = 256 * KIB
"""Bytes that a download holds in memory at a time."""


class S3Content:
    """A data object. It implements `tus_wsgi.domain.commands.Content`."""

    def __init__(self, bucket: Bucket, key: str, facts: ObjectFacts) -> None:
        self._bucket = bucket
        self._key = key
        self._facts = facts

    @classmethod
    def of(cls, bucket: Bucket, key: str, facts: ObjectFacts | None = None) -> S3Content:
        """The object as it is now, or was when `facts` were found. One S3 call without them.

        Raises:
            UploadGone: it was removed.
            StoreUnavailable: S3 did not answer.
        """
        try:
            return cls(bucket, key, facts or bucket.head(key))
        except NotFound as error:
            raise UploadGone("the file was removed from the store") from error

    @property
    def length(self) -> int:
        """Bytes in all."""
        return self._facts.size

    @property
    def etag(self) -> str:
        """S3's own validator, without quotes."""
        return self._facts.etag.strip('"')

    @property
    def modified(self) -> datetime:
        """When the object was made, in UTC."""
        return self._facts.modified

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to and without `stop`, of the very object that was looked at.

        Raises:
            UploadGone: it was removed or replaced meanwhile. Before the first byte.
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
        """A presigned URL. No S3 call, and no permission beside that of reading.

        Raises:
            StoreUnavailable: there are no credentials to sign it with.
        """
        return self._bucket.presigned_url(self._key, lifetime, type=type, disposition=disposition)
