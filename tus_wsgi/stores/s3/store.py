"""`S3Store`: uploads are created and found here; `upload.py` says what happens to one."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from tus_wsgi.domain.errors import UploadNotFound
from tus_wsgi.domain.model import MIB, Final, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartLimits, plan_for
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.context import StoreContext, no_lock_needed
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.final_upload import S3FinalUpload
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.tails import TailCache
from tus_wsgi.stores.s3.transfers import map_concurrently
from tus_wsgi.stores.s3.upload import S3Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEFAULT_BUDGET = 256 * MIB
"""Bytes of memory for parts on their way, per process."""


MAX_CONCURRENT_CALLS = 32
"""Small calls that run beside another one of the same request, over all uploads of the process."""


class S3Store:
    """Uploads in one bucket. It implements `tus_wsgi.domain.interfaces.Store`.

    Args:
        client: a boto3 client, see `tus_wsgi.stores.s3.client.make_client`.
        bucket: its name.
        keys: the prefixes of the objects.
        limits: what the service allows, and the preferred part size.
        spool: where parts wait.
        parallel_parts: parts that this process uploads at the same time, over all uploads.
        has_checksums: whether the service is to verify the CRC-32 of what it gets.
        tail_budget: bytes of memory for tails that need not be read back.
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
    ) -> None:
        self._keys = keys or Keys()
        self._limits = limits or PartLimits()
        self._context = StoreContext(
            bucket=Bucket(client, bucket, has_checksums=has_checksums),
            keys=self._keys,
            limits=self._limits,
            spool=spool or Spool(DEFAULT_BUDGET),
            part_executor=ThreadPoolExecutor(parallel_parts, thread_name_prefix="tus-part"),
            call_executor=ThreadPoolExecutor(MAX_CONCURRENT_CALLS, thread_name_prefix="tus-look"),
            tails=TailCache(tail_budget),
        )

    @property
    def max_size(self) -> int:
        """Bytes of the largest upload."""
        return self._limits.max_length

    def create(self, info: UploadInfo, *, record_now: bool) -> S3Upload:
        """Begin an upload: its multipart upload if it is sure to need one, and its record.

        Without `record_now` a one-part upload's record is written with its bytes, so that together
        they cost two S3 calls.

        Raises:
            UploadTooLarge: it cannot be stored in any number of parts.
            StoreUnavailable: nothing was begun, and nothing is left.
        """
        plan = plan_for(info.length, self._limits)
        record = UploadRecord(
            info=info,
            bucket=self._context.bucket.name,
            key=self._keys.data(info.id),
            multipart=None,
            plan=plan,
        )
        upload = self._upload(record.with_expected_state(), self._context.info_object(info.id))
        upload.create(record_now=record_now)
        return upload

    def open(self, id: UploadId) -> S3Upload:
        """The upload of this id. One S3 call.

        Raises:
            UploadNotFound: there is none.
            StoreUnavailable: S3 did not answer, or the info object is broken.
        """
        try:
            return self._upload(*self._context.load(id))
        except NotFound as error:
            raise UploadNotFound from error

    def discard(self, ids: Iterable[UploadId]) -> None:
        """Remove uploads, several at once. Four S3 calls each.

        Raises:
            StoreUnavailable: S3 did not answer, and some of them are left.
        """
        with map_concurrently(
            self._context.part_executor, self._discard, dict.fromkeys(ids)
        ) as removed:
            for _ in removed:
                pass

    def _discard(self, id: UploadId) -> None:
        with suppress(UploadNotFound):
            self.open(id).terminate(no_lock_needed)

    def _upload(self, record: UploadRecord, object: InfoObject) -> S3Upload:
        kind = S3FinalUpload if isinstance(record.info.concat, Final) else S3Upload
        return kind(self._context, record, object)
