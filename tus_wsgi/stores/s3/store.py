"""`S3Store`: create and open uploads in a bucket. `upload.py` implements the uploads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tus_wsgi.domain.errors import InvalidPlan, UploadNotFound
from tus_wsgi.domain.events import S3Called
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import MIB, Final, Partial, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartLimits, plan_for
from tus_wsgi.domain.plan import ObjectOptions
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.completion import COMPLETION_TIMEOUT, CompletionWait
from tus_wsgi.stores.s3.concat_share import ConcatShare
from tus_wsgi.stores.s3.context import StoreContext, no_lock_needed
from tus_wsgi.stores.s3.copy_support import CopySupport
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.executor import ContextExecutor
from tus_wsgi.stores.s3.final_upload import S3FinalUpload
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.keys import InvalidKey, Keys
from tus_wsgi.stores.s3.options import NO_OPTIONS, side_object_parameters
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.tails import TailCache
from tus_wsgi.stores.s3.transfers import map_concurrently
from tus_wsgi.stores.s3.upload import S3Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEFAULT_BUDGET = 256 * MIB
"""Bytes of memory for buffered parts, per process."""


MAX_CONCURRENT_CALLS = 32
"""The maximum number of small calls that a process makes while another call of the same request
runs."""


class S3Store:
    """A store in one bucket. It implements `tus_wsgi.domain.interfaces.Store`.

    Args:
        client: a boto3 client; see `tus_wsgi.stores.s3.client.make_client`.
        bucket: the bucket's name.
        keys: the prefixes of the objects.
        limits: the service's limits and the preferred part size.
        spool: buffers parts.
        parallel_parts: the maximum number of concurrent part uploads of this process.
        has_checksums: whether to send the CRC-32 of each object and part, for S3 to verify.
        tail_budget: bytes of memory for cached tails.
        object_options: the options of data objects whose plan does not say otherwise. The
            encryption applies to all other objects too.
        copies: whether the service copies parts.
        completion_timeout: seconds to wait for the object of a completion of unknown outcome.
        on_call: called after each call of S3; None to measure nothing.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        keys: Keys | None = None,
        limits: PartLimits | None = None,
        spool: Spool | None = None,
        parallel_parts: int = 10,
        has_checksums: bool = True,
        tail_budget: int = DEFAULT_BUDGET // 4,
        object_options: ObjectOptions = NO_OPTIONS,
        copies: CopySupport | None = None,
        completion_timeout: float = COMPLETION_TIMEOUT,
        on_call: Callable[[S3Called], None] | None = None,
    ) -> None:
        self._keys = keys or Keys()
        self._limits = limits or PartLimits()
        self._context = StoreContext(
            bucket=Bucket(
                client,
                bucket,
                has_checksums=has_checksums,
                write_parameters=side_object_parameters(object_options),
                on_call=on_call,
            ),
            keys=self._keys,
            limits=self._limits,
            spool=spool or Spool(DEFAULT_BUDGET),
            part_executor=ContextExecutor(parallel_parts, thread_name_prefix="tus-part"),
            call_executor=ContextExecutor(MAX_CONCURRENT_CALLS, thread_name_prefix="tus-call"),
            concatenation=ConcatShare(parallel_parts),
            tails=TailCache(tail_budget),
            object_options=object_options,
            copies=copies or CopySupport(),
            completion_wait=CompletionWait(completion_timeout),
        )

    @property
    def max_size(self) -> int:
        """The maximum size of an upload in bytes."""
        return self._limits.max_length

    def with_bucket(self, bucket: Bucket) -> S3Store:
        """Return a store of the same uploads that makes its S3 calls through `bucket`."""
        store = copy.copy(self)
        store._context = replace(self._context, bucket=bucket)  # noqa: SLF001 - of this class
        return store

    def create(self, info: UploadInfo, *, record_now: bool) -> S3Upload:
        """Create an upload: its multipart upload if it needs one, and its record.

        Without `record_now`, the record of a one-part upload is written when its bytes are stored,
        so that the upload takes two S3 calls in all.

        Raises:
            InvalidPlan: the key of the plan cannot be used.
            UploadTooLarge: the upload does not fit in the maximum number of parts.
            StoreUnavailable: S3 did not answer; the upload was not created.
        """
        plan = plan_for(info.length, self._limits)
        conditions_are_ignored = self._context.bucket.conditions.are_ignored
        record = UploadRecord(
            info=info,
            bucket=self._context.bucket.name,
            key=self._new_key(info),
            multipart=None,
            plan=plan,
            # A final upload has no tail.
            has_numbered_tails=conditions_are_ignored and not isinstance(info.concat, Final),
        )
        upload = self._upload(record.with_expected_state(), self._context.info_object(info.id))
        upload.create(record_now=record_now)
        return upload

    def _new_key(self, info: UploadInfo) -> str:
        try:
            return self._keys.new_data(info)
        except InvalidKey as error:
            raise InvalidPlan([f"key: {error}"]) from error

    def open(self, id: UploadId) -> S3Upload:
        """Return the upload with this id. One S3 call.

        Raises:
            UploadNotFound: no upload has this id.
            StoreUnavailable: S3 did not answer, or the info object is invalid.
        """
        try:
            return self._upload(*self._context.load_record(id))
        except NotFound as error:
            raise UploadNotFound from error

    def open_read(self, record: UploadRecord, info_object: InfoObject) -> S3Upload:
        """Return the upload of a record that the caller has just read. No S3 call.

        Args:
            record: the record, which is no tombstone.
            info_object: the info object that has read the record.

        Raises:
            UploadNotFound: the record names a data key that no upload of this deployment has.
        """
        try:
            return self._upload(self._context.check_record(record, record.info.id), info_object)
        except NotFound as error:
            raise UploadNotFound from error

    def terminate(self, id: UploadId, assert_held: AssertHeld) -> None:
        """Remove the upload. Up to six S3 calls, and two for each further segment of the tail.

        If the upload was terminated before, the removal is repeated, because the first removal may
        have failed.

        Raises:
            UploadNotFound: no upload has this id, or it was terminated before.
            LockLost: another request holds the lock.
            StoreUnavailable: some objects are left. A retry, or a sweep, removes them.
        """
        try:
            record, info_object = self._context.load_any_record(id)
        except NotFound as error:
            raise UploadNotFound from error
        self._upload(record, info_object).terminate(assert_held)
        if record.is_terminated:
            raise UploadNotFound

    def discard(self, ids: Iterable[UploadId]) -> None:
        """Delete partial uploads concurrently. Four S3 calls for each.

        No lock is needed: the uploads are finished, so no request writes to them. If a client
        deletes them at the same time, both terminations end with the same tombstones.

        Raises:
            StoreUnavailable: S3 did not answer; some of the uploads are left.
        """
        with map_concurrently(
            self._context.concatenation.executor, self._discard, dict.fromkeys(ids)
        ) as results:
            for _ in results:  # raises the error of a removal that failed
                pass

    def _discard(self, id: UploadId) -> None:
        with suppress(UploadNotFound):
            upload = self.open(id)
            # D-12: the record of the final upload only names ids.
            if isinstance(upload.info.concat, Partial):
                upload.terminate(no_lock_needed)

    def _upload(self, record: UploadRecord, info_object: InfoObject) -> S3Upload:
        kind = S3FinalUpload if isinstance(record.info.concat, Final) else S3Upload
        return kind(self._context, record, info_object)
