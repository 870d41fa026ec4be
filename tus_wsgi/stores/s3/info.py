"""The info object in the bucket: reading the record of an upload, and writing it once at a time."""

from __future__ import annotations

from botocore.exceptions import ClientError

from tus_wsgi.domain.aws_errors import classify_error
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.record import UploadRecord, decode, encode


class NotWritten(StoreUnavailable):
    """The store failed, and the record is certainly as it was before."""


class InvalidInfo(StoreUnavailable):
    """What is there is no info object, or one of a shape that nobody wrote."""


class InfoObject:
    """The info object of one upload.

    Args:
        bucket: where it is.
        key: its key.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._etag: str | None = None

    @property
    def exists(self) -> bool:
        """Whether it has been read or written here."""
        return self._etag is not None

    def read(self) -> UploadRecord:
        """The record that it holds. One S3 call.

        Raises:
            Absent: there is none.
            NoInfo: what is there is something else.
            StoreUnavailable: S3 did not answer.
        """
        content, facts = self._bucket.get(self._key)
        try:
            record = decode(content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidInfo("reading the info object") from error
        self._etag = facts.etag
        return record

    def write(self, record: UploadRecord, assert_held: AssertHeld) -> None:
        """Replace the record, or write the first one. One S3 call.

        Raises:
            LockLost: somebody else has written it meanwhile, or may write it now. It is certainly
                not written.
            NotWritten: it is not written.
            StoreUnavailable: nobody can tell whether it is written.
        """
        content = encode(record)
        assert_held()
        try:
            self._etag = self._put(content)
        except StoreUnavailable as failure:
            found = self._etag_if_written(content, failure)
            self._etag = found or self._retry_put(content, failure, assert_held)

    def delete(self) -> None:
        """Remove it. There need not be one."""
        self._bucket.delete(self._key)

    def _put(self, content: bytes) -> str:
        return self._bucket.put(
            self._key,
            Payload.of(content),
            content_type="application/json",
            # The first one too: should it come late, it must not undo what was written after it.
            condition=Condition(self._etag),
        )

    def _etag_if_written(self, content: bytes, failure: StoreUnavailable) -> str | None:
        """The etag of what was written although the answer was lost; None if it is not there.

        Without this look nobody could tell whether a multipart upload that the record names is
        still needed, and the client would begin a second upload beside the first.
        """
        try:
            found, facts = self._bucket.get(self._key)
        except NotFound:
            return None
        except StoreUnavailable:
            raise failure from failure.__cause__
        return facts.etag if found == content else None

    def _retry_put(self, content: bytes, failure: StoreUnavailable, assert_held: AssertHeld) -> str:
        """Write what is not there yet, if the first try was not refused and may come late.

        Once this is written, the condition of the late one does not hold any more. Without it, a
        record could turn up that names a multipart upload which was aborted in the belief that
        nobody knew of it.
        """
        if _is_refusal(failure):
            raise NotWritten("PutObject") from failure
        try:
            assert_held()
        except LockLost:
            raise failure from failure.__cause__  # the first try may still come
        try:
            return self._put(content)
        except (StoreUnavailable, LockLost) as second:
            # It may be the first one by which the condition does not hold any more.
            etag = self._etag_if_written(content, failure)
            if etag is None:
                raise second from failure
            return etag


def _is_refusal(failure: StoreUnavailable) -> bool:
    """Whether S3 has said no. A 5xx says nothing: what a 504 is about may still be under way."""
    cause = failure.__cause__
    return isinstance(cause, ClientError) and classify_error(cause).is_refusal
