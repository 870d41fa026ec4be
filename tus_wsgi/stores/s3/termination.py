"""Terminate an upload: record the decision durably, then remove the objects.

S3 may carry out a write of the upload after the termination (D-09): of the record, the tail or the
object, or a CompleteMultipartUpload. Therefore a termination replaces the record by a **tombstone**
instead of deleting it.

- A late write of the record is conditional, so the tombstone makes it fail (D-11).
- A service that ignores conditions overwrites the tombstone. Therefore the object at the key of the
  tail becomes a tombstone too, and `UploadState.load_offset` finds it.
- A late object, tail or multipart upload belongs to this deployment, because the tombstone names it
  (D-12). `tus-wsgi sweep` removes it after `TOMBSTONE_LIFETIME`, and then the tombstones (D-13).

The tombstone is written first. Until it is confirmed, nothing is removed, so no late abort or
deletion can damage an upload that a client continues after its DELETE has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from tus_wsgi.domain.errors import LockLost, UploadGone
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import State
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.completion import CompletionPending
from tus_wsgi.stores.s3.errors import Forbidden, NotFound
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.record import UploadRecord

TOMBSTONE_LIFETIME = timedelta(days=1)
"""The minimum age of a tombstone that a sweep removes: longer than any write can be late.

A service that verifies signatures refuses a request that is more than 15 minutes old
(RequestTimeTooSkewed), and CompleteMultipartUpload takes minutes:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html.
"""


def write_tombstone(
    info_object: InfoObject, record: UploadRecord, assert_held: AssertHeld
) -> UploadRecord:
    """Replace the record by its tombstone, and return the tombstone. One S3 call.

    Raises:
        LockLost: another request holds the lock or has written the record.
        StoreUnavailable: the outcome is unknown.
    """
    tombstone = record.as_tombstone()
    try:
        info_object.write(tombstone, assert_held)
    except LockLost:
        # An earlier termination may have written the tombstone without getting the response.
        assert_held()
        if not _is_terminated(info_object):
            raise
    return tombstone


def _is_terminated(info_object: InfoObject) -> bool:
    try:
        return info_object.read().is_terminated
    except NotFound:
        return False


def plan_removal(
    bucket: Bucket, record: UploadRecord, *, is_own_key: bool, is_complete: Callable[[], bool]
) -> list[Callable[[], None]]:
    """Return the steps that remove the multipart upload and the data object of an upload.

    D-12: the object is only removed if the record, or its size, shows that this upload wrote it.

    Args:
        bucket: makes the S3 calls.
        record: the record before the termination.
        is_own_key: whether the key contains the upload's id, see `Keys.is_own`.
        is_complete: returns whether S3 shows that the multipart upload became the object.
    """
    key, multipart, state = record.key, record.multipart, record.info.state
    steps: list[Callable[[], None]] = []
    if multipart is not None and state is not State.FINISHED:
        steps.append(lambda: bucket.abort(key, multipart))
    if record.info.rejection is not None:
        if not record.info.rejection.keep:  # D-08: otherwise the object is the application's
            steps.append(lambda: bucket.delete(key))
    elif state is State.FINISHED or (state is State.FINISHING and is_own_key):
        # `Assembler.put_object` writes an object only after a record in state `FINISHING`.
        steps.append(lambda: bucket.delete(key))
    elif not is_own_key:
        # tusd's hooks may choose the key, so an older, unrelated object may exist there.
        with suppress(UploadGone, CompletionPending):
            if not record.is_terminated and is_complete():
                steps.append(lambda: bucket.delete(key))
    elif record.may_have_object:
        steps.append(lambda: _delete_if_whole(bucket, record))
    return steps


def _delete_if_whole(bucket: Bucket, record: UploadRecord) -> None:
    """Delete the object if it has the size that a completion of this upload gives it."""
    try:
        facts = bucket.find(record.key)
    except Forbidden:
        return  # the credentials do not show whether there is an object; a sweep removes it
    if facts is not None and facts.size == record.info.length:
        bucket.delete(record.key)
