"""What all uploads of a store share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from tus_wsgi.domain.model import UploadId
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.tails import TailCache

PARTS_GONE = "the parts of this upload were removed from the store"
"""Why an upload is gone whose multipart upload is."""

MAX_CACHED_PARTS = 250
"""Parts of an upload that is remembered from one request to the next: some 60 KB."""

OnStored = Callable[[int], None]
"""Told the offset that is stored for good, while a body comes."""


def no_lock_needed() -> None:
    """In place of `assert_held` where nobody is locked out: nobody knows the upload yet, or it is
    not to be changed any more."""


@dataclass(frozen=True, slots=True)
class StoreContext:
    """The tools of an `S3Store`.

    Attributes:
        bucket: the door to S3.
        keys: which objects are whose.
        limits: what the service allows.
        spool: where parts wait.
        executor: uploads parts. Its size is the number of parts on their way at the same time.
        side: makes small calls beside another one of the same request.
        tails: the tails that need not be read back.
    """

    bucket: Bucket
    keys: Keys
    limits: PartLimits
    spool: Spool
    part_executor: Executor
    call_executor: Executor
    tails: TailCache

    def info_object(self, id: UploadId) -> InfoObject:
        """The info object of this upload, be there one or not."""
        return InfoObject(self.bucket, self.keys.info(id))

    def load(self, id: UploadId) -> tuple[UploadRecord, InfoObject]:
        """The record of this upload, and the info object that it was read from. One S3 call.

        Raises:
            Absent: there is no such upload.
            StoreUnavailable: S3 did not answer, or the info object is broken.
        """
        object = self.info_object(id)
        record = object.read()
        # Whoever asks for an object that merely lies where an info would be gets nothing.
        if record.info.id != id:
            raise NotFound
        return (record if record.key else replace(record, key=self.keys.data(id))), object
