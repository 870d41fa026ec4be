"""The clients, limits and executors that all uploads of an S3 store share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.domain.plan import NO_PLAN, ObjectOptions
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.completion import CompletionWait
from tus_wsgi.stores.s3.concat_share import ConcatShare
from tus_wsgi.stores.s3.copy_support import CopySupport
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.options import NO_OPTIONS
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.tails import TailCache

TERMINATED = "this upload was terminated"
"""The reason of `UploadGone` if S3 has written the record again after a termination."""

OnStored = Callable[[int], None]
"""Called with the durable offset while a body is received."""


def no_lock_needed() -> None:
    """Do nothing: an `assert_held` for uploads that no other request can change.

    These are new uploads, whose URL no client knows yet, and finished partial uploads.
    """


@dataclass(frozen=True, slots=True)
class StoreContext:
    """The clients, limits and executors of an `S3Store`.

    Attributes:
        bucket: makes the S3 calls.
        keys: the keys of an upload's objects.
        limits: the part sizes and object sizes that the service allows.
        spool: buffers parts.
        part_executor: uploads parts. Its size limits the concurrent part uploads of the process.
        call_executor: makes small calls concurrently with another call of the same request.
        concatenation: the share of concatenations.
        tails: caches tails that this process wrote.
        object_options: the options of data objects whose plan does not say otherwise.
        copies: whether the service copies parts.
        completion_wait: how long a completion of unknown outcome is waited for.
    """

    bucket: Bucket
    keys: Keys
    limits: PartLimits
    spool: Spool
    part_executor: Executor
    call_executor: Executor
    concatenation: ConcatShare
    tails: TailCache
    completion_wait: CompletionWait
    object_options: ObjectOptions = NO_OPTIONS
    copies: CopySupport = field(default_factory=CopySupport)

    def options_of(self, info: UploadInfo) -> ObjectOptions:
        """Return the options of the upload's data object."""
        plan = info.plan
        return self.object_options if plan is NO_PLAN else plan.object.over(self.object_options)

    def info_object(self, id: UploadId) -> InfoObject:
        """Return the info object of this upload, which may not exist. No S3 call."""
        return InfoObject(self.bucket, self.keys.info(id))

    def load_record(self, id: UploadId) -> tuple[UploadRecord, InfoObject]:
        """Return the record of this upload and the info object that holds it. One S3 call.

        Raises:
            NotFound: no upload has this id, or it was terminated.
            StoreUnavailable: S3 did not answer, or the info object is invalid.
        """
        record, info_object = self.load_any_record(id)
        if record.is_terminated:
            raise NotFound
        return record, info_object

    def load_any_record(self, id: UploadId) -> tuple[UploadRecord, InfoObject]:
        """Return the record as `load_record` does, or the tombstone of a terminated upload.

        Raises:
            NotFound: no upload has this id (D-12): there is no info object, it names another id, or
                it names a data key that no upload of this deployment has.
            StoreUnavailable: S3 did not answer, or the info object is invalid.
        """
        info_object = self.info_object(id)
        return self.check_record(info_object.read(), id), info_object

    def check_record(self, record: UploadRecord, id: UploadId) -> UploadRecord:
        """Return the record, with the key of its data object.

        Raises:
            NotFound: the record names another id, or a data key that no upload of this deployment
                has (D-12).
        """
        record = record if record.key else replace(record, key=self.keys.data(id))
        if record.info.id != id or not self.keys.is_data_key(record.key):
            raise NotFound
        return record
