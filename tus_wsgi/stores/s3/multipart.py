"""Create multipart uploads and record them, and upload their parts.

D-13: a multipart upload that no record names leaks: no request can find or abort it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from tus_wsgi.domain.errors import LockLost, StoreUnavailable, Unavailable, UploadGone
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.completion import PARTS_GONE
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.headers import ObjectHeaders
from tus_wsgi.stores.s3.info import InfoObject, NotWritten
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.termination import write_tombstone


def create_recorded_multipart(
    bucket: Bucket,
    info_object: InfoObject,
    record: UploadRecord,
    headers: ObjectHeaders,
    assert_held: AssertHeld,
) -> UploadRecord:
    """Create the multipart upload and record it; return the written record. Two S3 calls.

    Raises:
        LockLost: another request holds the lock or has written the record.
        StoreUnavailable: S3 did not answer, or refused the write of the record.
    """
    is_new = not info_object.exists
    assert_held()
    multipart = bucket.create_multipart(
        record.key,
        content_type=headers.content_type,
        metadata=headers.metadata,
        parameters=headers.parameters,
    )
    recorded = replace(record, multipart=multipart, confirmed_parts=0)
    try:
        assert_held()
    except LockLost:
        bucket.abort(record.key, multipart)  # no record names it yet
        raise
    try:
        info_object.write(recorded, assert_held)
    except NotWritten:
        bucket.abort(record.key, multipart)
        raise
    except Unavailable:
        # D-08, D-09, D-10: the record may name the multipart upload, now or later, and the next
        # holder of the lock may use it. If it is unused, a sweep removes it.
        if is_new:
            _try_write_tombstone(info_object, recorded, assert_held)
        raise
    return recorded


def _try_write_tombstone(
    info_object: InfoObject, record: UploadRecord, assert_held: AssertHeld
) -> None:
    """Prevent the late write of a new record, whose upload no client knows. One S3 call.

    The tombstone names the multipart upload, so a sweep aborts it. Without the tombstone, a sweep
    only reports it.
    """
    with suppress(Unavailable):
        write_tombstone(info_object, record, assert_held)


def abort_empty_multipart(
    bucket: Bucket, info_object: InfoObject, record: UploadRecord, assert_held: AssertHeld
) -> UploadRecord:
    """Abort the multipart upload of an empty upload, and return the record without it.

    S3 does not complete a multipart upload that has no parts.

    Raises:
        LockLost, StoreUnavailable: the multipart upload may still exist, and the record may no
            longer name it.
    """
    assert record.multipart is not None
    without = replace(record, multipart=None, confirmed_parts=0).with_expected_state()
    info_object.write(without, assert_held)
    bucket.abort(record.key, record.multipart)
    return without


def upload_part(bucket: Bucket, record: UploadRecord, number: int, payload: Payload) -> Part:
    """Upload part `number`.

    Raises:
        UploadGone: another program aborted the multipart upload.
        StoreUnavailable: S3 did not answer, or an earlier holder of the lock has completed the
            upload meanwhile. The next request finds the object.
    """
    assert record.multipart is not None
    try:
        return bucket.upload_part(record.key, record.multipart, number, payload)
    except NotFound as error:
        facts = bucket.find(record.key)
        if facts is not None and facts.size == record.info.length:
            raise StoreUnavailable("UploadPart") from error
        raise UploadGone(PARTS_GONE) from error


def with_listed_checksums(
    bucket: Bucket, key: str, multipart: str, parts: list[Part]
) -> list[Part]:
    """Return the parts, with the checksum that S3 lists for each part that has none. One S3 call.

    A service may compute the checksum of a copied part without returning it with the copy.

    Raises:
        NotFound: the multipart upload does not exist.
        StoreUnavailable: S3 did not answer.
    """
    listed = bucket.list_parts(key, multipart)
    checksums = {(part.number, part.etag): part.crc32 for part in listed}
    return [
        replace(part, crc32=part.crc32 or checksums.get((part.number, part.etag))) for part in parts
    ]
