"""A multipart upload's beginning, such that a record always names it, and its parts.

What no record names is lost.
"""

from __future__ import annotations

from dataclasses import replace

from tus_wsgi.domain.errors import LockLost, StoreUnavailable, Unavailable, UploadGone
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.context import PARTS_GONE
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.headers import object_headers
from tus_wsgi.stores.s3.info import InfoObject, NotWritten
from tus_wsgi.stores.s3.record import UploadRecord


def create_recorded_multipart(
    bucket: Bucket, object: InfoObject, record: UploadRecord, assert_held: AssertHeld
) -> UploadRecord:
    """Begin the multipart upload, and record it; returns the record that is written.

    Raises:
        LockLost: somebody else has written the record, or may write it now. No multipart upload is
            left.
        StoreUnavailable: S3 did not answer. None is left but one that the record may name.
    """
    is_new = not object.exists
    headers = object_headers(record.info.metadata)
    assert_held()
    multipart = bucket.create_multipart(
        record.key, content_type=headers.content_type, metadata=headers.metadata
    )
    begun = replace(record, multipart=multipart)
    try:
        object.write(begun, assert_held)
    except Unavailable as error:
        # If the record might name it, and somebody knows of the upload, it has to stay.
        if is_new or isinstance(error, NotWritten | LockLost):
            bucket.abort(record.key, multipart)
        raise
    return begun


def abort_empty_multipart(
    bucket: Bucket, object: InfoObject, record: UploadRecord, assert_held: AssertHeld
) -> UploadRecord:
    """Forget the multipart upload of what turned out to be empty: S3 completes none without parts.

    Raises:
        LockLost, StoreUnavailable: it may still be there, and no record may name it any more.
    """
    assert record.multipart is not None
    without = replace(record, multipart=None).with_expected_state()
    object.write(without, assert_held)
    bucket.abort(record.key, record.multipart)
    return without


def upload_part(bucket: Bucket, record: UploadRecord, number: int, payload: Payload) -> Part:
    """Write part `number` of the upload.

    Raises:
        UploadGone: the multipart upload was removed behind our back.
        StoreUnavailable: S3 did not answer. Or the parts have become the object, by the hand of
            somebody who did not know that he had lost the lock: whoever looks next sees that.
    """
    assert record.multipart is not None
    try:
        return bucket.upload_part(record.key, record.multipart, number, payload)
    except NotFound as error:
        found = bucket.find(record.key)
        if found is not None and found.size == record.info.length:
            raise StoreUnavailable("UploadPart") from error
        raise UploadGone(PARTS_GONE) from error
