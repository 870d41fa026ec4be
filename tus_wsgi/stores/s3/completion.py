"""Tell a completion that is in progress from parts that another program removed (D-09).

A service may answer CompleteMultipartUpload only after minutes. Meanwhile ListParts and a repeated
CompleteMultipartUpload answer `NoSuchUpload`, and the object does not exist yet. If another program
aborts the multipart upload, the responses are the same. Only time tells the two cases apart: the
record says since when the object is awaited, and until `CompletionWait.timeout` has passed, the
upload is neither complete nor gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tus_wsgi.domain.errors import StoreUnavailable, UploadGone
from tus_wsgi.stores.s3.record import UploadRecord

PARTS_GONE = "the parts of this upload were removed from the store"
"""The reason of `UploadGone` if the multipart upload does not exist."""

COMPLETION_TIMEOUT = 15 * 60.0
"""Seconds after which a completion without an object counts as failed.

AWS says that a completion can take several minutes:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""


class CompletionPending(StoreUnavailable):
    """The parts are gone and the object does not exist, so a completion may be in progress."""

    def __init__(self) -> None:
        super().__init__("CompleteMultipartUpload")


@dataclass(frozen=True, slots=True)
class CompletionWait:
    """How long the store waits for the object of a completion whose outcome is unknown.

    Attributes:
        timeout: seconds.
        now: returns the current time, in UTC.
    """

    timeout: float = COMPLETION_TIMEOUT
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def begin(self, record: UploadRecord) -> UploadRecord:
        """Return the record of an upload whose completion may have begun now."""
        return replace(record, completing_since=self.now())

    def begin_if_missing(self, record: UploadRecord) -> UploadRecord:
        """Return the record of an upload whose parts and object are both missing.

        If the record does not say since when the object is awaited, the wait begins now. So the
        upload does not look gone after a process was killed during the completion.

        Raises:
            UploadGone: no completion can be in progress. The wait has timed out, or the record does
                not have the final length, which a completion needs.
        """
        if record.info.length is None or record.info.is_open:
            raise UploadGone(PARTS_GONE)
        awaited = record if record.completing_since is not None else self.begin(record)
        assert awaited.completing_since is not None
        if self.now() - awaited.completing_since >= timedelta(seconds=self.timeout):
            raise UploadGone(PARTS_GONE)
        return awaited
