"""Read and write the info object, which holds the record of an upload."""

from __future__ import annotations

from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition
from tus_wsgi.stores.s3.errors import NotFound, TooLarge, is_refusal
from tus_wsgi.stores.s3.record import UploadRecord, decode, encode
from tus_wsgi.stores.s3.record_size import pad_to_state

_CONTENT_TYPE = "application/json"


class NotWritten(StoreUnavailable):
    """S3 refused the only attempt of the write, so it cannot change the record later either."""


class InvalidInfo(StoreUnavailable):
    """The object at the key is not a valid info object."""


class InfoObject:
    """The info object of one upload.

    Args:
        bucket: the bucket of the object.
        key: the object's key.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._etag: str | None = None
        self._is_untouched = True

    @property
    def is_untouched(self) -> bool:
        """Whether this instance has neither read the object nor tried to write it."""
        return self._is_untouched

    @property
    def exists(self) -> bool:
        """Whether this instance has read or written the object."""
        return self._etag is not None

    def read(self) -> UploadRecord:
        """Return the record. One S3 call.

        Raises:
            NotFound: the object does not exist.
            InvalidInfo: the object is not a valid info object.
            StoreUnavailable: S3 did not answer.
        """
        try:
            content, facts = self._bucket.get(self._key)
            record = decode(content)
        except (TooLarge, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidInfo("reading the info object") from error
        self._etag, self._is_untouched = facts.etag, False
        return record

    def write(self, record: UploadRecord, assert_held: AssertHeld) -> None:
        """Write the record, if the object is as this instance last read or wrote it. One S3 call.

        D-09: if the outcome is unknown, read the record back, and write it again if it is missing.

        Raises:
            LockLost: another request holds the lock or has written the record. Nothing is written.
            NotWritten: S3 refused the write. Nothing is written.
            StoreUnavailable: the outcome is unknown; S3 may still write the record.
        """
        content = _encode(record)
        assert_held()
        self._is_untouched = False
        try:
            self._etag = self._put(content)
        except StoreUnavailable as failure:
            etag = self._etag_if_written(content, failure)
            self._etag = etag or self._retry_put(content, failure, assert_held)

    def test_conditions(self, record: UploadRecord, assert_held: AssertHeld) -> bool:
        """Test whether the service honours conditions; write the record if it does not (D-11).

        Returns:
            whether the record is written. One S3 call, or two if the service answers 501.

        Raises:
            LockLost: another request holds the lock.
            StoreUnavailable: the outcome is unknown; S3 may still write the record.
        """
        assert_held()
        self._is_untouched = False
        payload = Payload.of(_encode(record))
        etag = self._bucket.test_conditions(self._key, payload, content_type=_CONTENT_TYPE)
        if etag is None:
            return False
        self._etag = etag
        return True

    def _put(self, content: bytes) -> str:
        return self._bucket.put(
            self._key,
            Payload.of(content),
            content_type=_CONTENT_TYPE,
            # The first write has a condition too: S3 may carry it out late, after later writes.
            condition=Condition(self._etag),
        )

    def _etag_if_written(self, content: bytes, failure: StoreUnavailable) -> str | None:
        """Return the ETag if S3 carried out a write whose response was lost; None if it did not.

        Without this check it would be unknown whether the multipart upload in the record is needed,
        and the client would create a second upload.

        Raises:
            StoreUnavailable: the object could not be read; raises `failure` of the write.
        """
        try:
            found, facts = self._bucket.get(self._key)
        except NotFound:
            return None
        except StoreUnavailable:
            raise failure from failure.__cause__
        return facts.etag if found == content else None

    def _retry_put(self, content: bytes, failure: StoreUnavailable, assert_held: AssertHeld) -> str:
        """Write a missing record again, unless S3 refused the first write. Return the ETag.

        The second write makes the condition of the first write fail, in case S3 carries out the
        first write late. Otherwise a late record could name a multipart upload that was aborted.
        """
        if is_refusal(failure):
            raise NotWritten("PutObject") from failure
        try:
            assert_held()
        except LockLost:
            raise failure from failure.__cause__  # S3 may still carry out the first write
        try:
            return self._put(content)
        except (StoreUnavailable, LockLost) as second:
            # The first write may have made the condition of the second one fail.
            etag = self._etag_if_written(content, failure)
            if etag is None:
                raise second from failure
            return etag


def _encode(record: UploadRecord) -> bytes:
    return pad_to_state(record, encode(record))
