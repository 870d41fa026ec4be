"""The objects that a final upload is concatenated from, and the parts that are made of their bytes.

S3 copies a part that lies within one object (UploadPartCopy). The bytes of all other parts are read
from S3 and sent. If the service refuses a copy, the bytes are read and sent too: some services have
no UploadPartCopy, and MinIO refuses it if the multipart upload has checksums. A process remembers a
refused copy (`CopySupport`).

Each copy and each read names the ETag that the object had when it was looked up. If the object was
deleted or replaced since then, the copy or the read fails, so no other bytes get into the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from tus_wsgi.domain.concat_plan import ConcatPart, Slice, concat_parts, copyable_slice
from tus_wsgi.domain.errors import InvalidPartial, StoreUnavailable, UploadGone
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import UploadId
from tus_wsgi.domain.parts import Part, PartPlan
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.stores.s3.bucket import CopyRange
from tus_wsgi.stores.s3.completion import PARTS_GONE
from tus_wsgi.stores.s3.content import CHUNK_SIZE
from tus_wsgi.stores.s3.context import StoreContext
from tus_wsgi.stores.s3.errors import CopyRefused, NotFound, SourceGone
from tus_wsgi.stores.s3.multipart import upload_part, with_listed_checksums
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.transfers import map_concurrently

MAX_PREFETCHED_SLICE = CHUNK_SIZE
"""Slices of at most this many bytes are read ahead, larger slices when they are needed."""


@dataclass(frozen=True, slots=True)
class CopySource:
    """The object of a finished partial upload, in the version that was looked up."""

    id: UploadId
    key: str
    length: int
    etag: str


class ConcatSources:
    """The sources of one final upload, in order.

    Args:
        context: the clients, limits and executors that all uploads share.
        sources: the objects.
    """

    def __init__(self, context: StoreContext, sources: Sequence[CopySource]) -> None:
        self._context = context
        self._sources = sources
        self.lengths = [source.length for source in sources]

    def store(self, record: UploadRecord, concat_part: ConcatPart, assert_held: AssertHeld) -> Part:
        """Store a part in the record's multipart upload. One S3 call, or two if bytes are sent.

        D-01: a copy that S3 carries out late, after the bytes were sent, has the same bytes.

        Raises:
            InvalidPartial: a source was deleted or replaced.
            LockLost: another request holds the lock.
            UploadGone: another program aborted the multipart upload.
            StoreUnavailable: S3 did not answer.
        """
        slice = copyable_slice(concat_part, self.lengths)
        if slice is not None and self._context.copies.is_enabled:
            assert_held()
            try:
                return self._copy(record, concat_part.number, slice)
            except CopyRefused:
                self._context.copies.note_refused(slice.size)
        return self._send(record, concat_part, assert_held)

    def replace_copies(
        self,
        record: UploadRecord,
        plan: PartPlan,
        parts: list[Part],
        assert_held: AssertHeld,
    ) -> list[Part]:
        """Return the parts with checksums, after S3 has refused to complete them without checksums.

        If S3 does not list the checksum of a copied part, send the bytes of the part.

        Raises:
            InvalidPartial, LockLost, UploadGone, StoreUnavailable: see `store`.
        """
        bucket = self._context.bucket
        if not bucket.has_checksums or all(part.crc32 for part in parts):
            return parts
        assert record.multipart is not None
        try:
            parts = with_listed_checksums(bucket, record.key, record.multipart, parts)
        except NotFound:  # an earlier attempt of the completion succeeded
            return parts
        copies = [
            concat_part
            for concat_part in concat_parts(self.lengths, plan)
            if parts[concat_part.number - 1].crc32 is None
            and copyable_slice(concat_part, self.lengths) is not None
        ]
        if copies:
            self._context.copies.disable()
        with map_concurrently(
            self._context.concatenation.executor,
            lambda concat_part: self._send(record, concat_part, assert_held),
            copies,
        ) as sent:
            by_number = {part.number: part for part in sent}
        return [by_number.get(part.number, part) for part in parts]

    def _send(self, record: UploadRecord, concat_part: ConcatPart, assert_held: AssertHeld) -> Part:
        assert_held()
        with self._context.concatenation.sending, self.read(concat_part, assert_held) as part:
            assert_held()
            return upload_part(self._context.bucket, record, concat_part.number, part.payload())

    def _copy(self, record: UploadRecord, number: int, slice: Slice) -> Part:
        assert record.multipart is not None
        source = self._sources[slice.source]
        is_whole = slice.size == source.length
        copy = CopyRange(source.key, source.etag, None if is_whole else (slice.start, slice.stop))
        try:
            etag, crc32 = self._context.bucket.copy_part(record.key, record.multipart, number, copy)
        except SourceGone as error:
            raise invalid_partial(source.id, "was deleted") from error
        except NotFound as error:
            raise UploadGone(PARTS_GONE) from error
        return Part(number, slice.size, etag, crc32)

    def read(self, concat_part: ConcatPart, assert_held: AssertHeld) -> SpooledPart:
        """Read the bytes of a part from S3 into a buffer, which the caller closes.

        Raises:
            LockLost: another request holds the lock.
            InvalidPartial: a source was deleted or replaced.
            StoreUnavailable: S3 did not answer, or sent too few bytes.
        """
        part = self._context.spool.part(concat_part.size, concat_part.size)

        def fetch(slice: Slice) -> Iterable[bytes]:
            # A part may have thousands of small slices, so small slices are read ahead.
            chunks = self._read_slice(slice)
            return list(chunks) if slice.size <= MAX_PREFETCHED_SLICE else chunks

        try:
            with map_concurrently(
                self._context.concatenation.reads, fetch, concat_part.slices
            ) as fetched:
                for chunks in fetched:
                    assert_held()
                    for chunk in chunks:
                        part.write(chunk)
        except BaseException:
            part.close()
            raise
        if part.size != concat_part.size:  # the service truncated a response without an error
            part.close()
            raise StoreUnavailable("GetObject")
        return part

    def _read_slice(self, slice: Slice) -> Iterator[bytes]:
        source = self._sources[slice.source]
        try:
            chunks = self._context.bucket.read(
                source.key, slice.start, slice.stop, etag=source.etag, chunk_size=CHUNK_SIZE
            )
        except NotFound as error:
            raise invalid_partial(source.id, "was deleted") from error
        with closing(chunks):
            yield from chunks


def invalid_partial(id: UploadId, problem: str) -> InvalidPartial:
    """Return the error about one of the partial uploads."""
    return InvalidPartial(f"the partial upload {id} {problem}")
