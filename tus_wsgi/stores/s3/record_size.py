"""Let the size of an info object show whether its upload is finished. No I/O.

A listing of the bucket shows the size of each object, but nothing of its content. If the record is
in a state for which a sweep has nothing to read (`ListedState`), spaces after its JSON give the
info object a size that shows this state. No record in another state gets such a size.

The size depends on the content. So one PutObject changes both, and a copy of the bucket keeps both.
The time of the last write would prove less: S3 rounds it to a second, a copy of a bucket changes
it, and for an object from a multipart upload it is the time of the creation, not of the completion
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html).

Records of tusd and of earlier versions have any size: one in 1,024 has the size of a given state by
accident. So a size proves that nothing has to be done, and never that something may be removed
(D-08).
"""

from __future__ import annotations

from enum import IntEnum

from tus_wsgi.domain.model import State
from tus_wsgi.stores.s3.record import UploadRecord

MODULUS = 1024
"""The size of an info object in bytes, divided by this number, leaves the `ListedState` as the
remainder. Most records have less than 1,000 bytes, so they are padded to 1,021 or 1,022 bytes."""


class ListedState(IntEnum):
    """What the size of an info object says about the record."""

    FINISHED = 1021
    """The upload is finished, and nothing is due: `on_finish` has returned, and the upload is not
    being removed."""
    ANNOUNCED = 1022
    """The record of a one-part upload says `FINISHING`, and the finish need not be recorded. If the
    data object exists, the upload is finished, except that an `on_finish` hook may still be due.
    The upload is neither partial nor final."""


def listed_state(size: int) -> ListedState | None:
    """Return what an info object of `size` bytes says; None if it has to be read."""
    remainder = size % MODULUS
    return ListedState(remainder) if remainder in _REMAINDERS else None


def pad_to_state(record: UploadRecord, content: bytes) -> bytes:
    """Append spaces to the encoded record until its size shows the state of the record."""
    state = _state_to_list(record)
    if state is not None:
        return content + b" " * ((state - len(content)) % MODULUS)
    # The size must not show a state that the record does not have.
    while len(content) % MODULUS in _REMAINDERS:
        content += b" "
    return content


_REMAINDERS = frozenset(ListedState)


def _state_to_list(record: UploadRecord) -> ListedState | None:
    info = record.info
    if info.terminating is not None or info.rejection is not None:
        return None
    if info.state is State.FINISHED:
        return ListedState.FINISHED
    # Partial and final uploads (`info.concat`) are excluded: their finish is always recorded,
    # because concatenations need it.
    if info.state is State.FINISHING and info.concat is None and record.multipart is None:
        return ListedState.ANNOUNCED
    return None
