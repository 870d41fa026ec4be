"""The objects that a final upload is concatenated from: copy their bytes into parts, or read them.

Each copy and each read names the ETag that the object had when it was looked up. If the object was
deleted or replaced since then, the copy or the read fails, so no other bytes get into the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from tus_wsgi.domain.concat_plan import ConcatPart, Slice, copyable_slice
from tus_wsgi.domain.errors import InvalidPartial, StoreUnavailable, UploadGone
from tus_wsgi.domain.model import UploadId
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.stores.s3.bucket import CopyRange
from tus_wsgi.stores.s3.content import CHUNK_SIZE
from tus_wsgi.stores.s3.context import PARTS_GONE, StoreContext
from tus_wsgi.stores.s3.errors import NotFound, SourceGone
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

    def copyable_slice(self, concat_part: ConcatPart) -> Slice | None:
        """Return the slice that S3 can copy as the whole part; None if its bytes must be sent."""
        return copyable_slice(concat_part, self.lengths)

    def copy(self, record: UploadRecord, number: int, slice: Slice) -> Part:
        """Let S3 copy the slice into part `number` of the record's multipart upload. One S3 call.

        Raises:
            InvalidPartial: the source was deleted or replaced.
            UploadGone: another program aborted the multipart upload.
            StoreUnavailable: S3 did not answer.
        """
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

    def read(self, concat_part: ConcatPart) -> SpooledPart:
        """Read the bytes of a part from S3 into a buffer, which the caller closes.

        Raises:
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
                self._context.call_executor, fetch, concat_part.slices
            ) as fetched:
                for chunks in fetched:
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
