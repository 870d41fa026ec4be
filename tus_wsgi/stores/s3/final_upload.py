"""`S3FinalUpload`: an upload that S3 puts together from the bytes of other uploads.

It is an upload like any other whose bytes happen to be stored elsewhere: `load_offset` asks its
partials how many of them there are, and `assemble` makes the object. Parts that lie within one
partial are copied by S3 itself; those across a seam, and pieces of small partials, are read and
sent. No more of a seam is held than its part.

- The partials are finished, so nobody changes them. They are not locked: each copy and each reading
  names the very version of the object that was looked at, so a partial that is removed meanwhile
  ends the request, and never gets into the object.
- What is there already is not copied again: whoever looks next goes on.
- The record is written before the first part, and names the partials.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from tus_wsgi.domain.concat_plan import ConcatPart, Slice, concat_parts, copyable_slice
from tus_wsgi.domain.errors import InvalidPartial, StoreUnavailable, UploadGone
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import Final, Partial, UploadId
from tus_wsgi.domain.parts import Part, plan_for
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.stores.s3.bucket import CopyRange
from tus_wsgi.stores.s3.content import CHUNK_SIZE
from tus_wsgi.stores.s3.context import PARTS_GONE, no_lock_needed
from tus_wsgi.stores.s3.errors import NotFound, SourceGone
from tus_wsgi.stores.s3.transfers import map_concurrently
from tus_wsgi.stores.s3.upload import S3Upload

MAX_PREFETCHED_SLICE = CHUNK_SIZE
"""Bytes of a piece that is read ahead of its turn. Larger ones come when they are needed."""


@dataclass(frozen=True, slots=True)
class CopySource:
    """The object of a finished partial, in the version that was looked at."""

    id: UploadId
    key: str
    length: int
    etag: str


class S3FinalUpload(S3Upload):
    """A final upload in S3. It implements `Upload`, and never gets a body."""

    _partials: list[S3Upload]

    @property
    def is_cacheable(self) -> bool:
        """It does not: its bytes come from others."""
        return False

    def create(self, *, record_now: bool) -> None:
        """Write the record, if somebody has to find it; S3 has nothing to do before `assemble`."""
        if record_now:
            self._info_object.write(self._record, no_lock_needed)

    def load_offset(self) -> None:
        """Find out how many of its bytes are there. An S3 call for each partial, several at once.

        Raises:
            PartialUnusable: one is not there (any more), or is none.
            UploadGone: the parts of the object were removed behind our back.
            StoreUnavailable: S3 did not answer.
        """
        if self._is_assembled:
            return
        if self._load_parts():
            self._mark_assembled()
            return
        self._partials = self._load_partials()
        infos = [partial.info for partial in self._partials]
        self._offset = sum(info.offset for info in infos if info.is_finished)
        if self._record.multipart is None:
            lengths = [info.length for info in infos if info.length is not None]
            length = sum(lengths) if len(lengths) == len(infos) else None
            info = replace(self._record.info, length=length)
            self._record = replace(self._record, info=info)

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the data object; returns whether this instance made it.

        Raises:
            PartialUnusable: a partial was removed meanwhile.
            LockLost, UploadGone, StoreUnavailable: as `S3Upload.assemble`.
        """
        assert self.info.is_full
        if not self._is_assembled:
            sources = self._copy_sources()
            if self._record.multipart is None:
                plan = plan_for(self._record.info.length, self._context.limits)
                self._record = replace(self._record, plan=plan)
            if self._record.is_one_part:
                self._put_concatenated(sources, assert_held)
            else:
                self._complete_concatenated(sources, assert_held)
        return self._assembled_here

    # -- its partials ----------------------------------------------------------------------------

    def _load_partials(self) -> list[S3Upload]:
        """Each partial once, although one may come twice in the final."""
        final = self._record.info.concat
        assert isinstance(final, Final)
        once = dict.fromkeys(final.partials)
        with map_concurrently(self._context.part_executor, self._load_partial, once) as found:
            by_id = dict(zip(once, found, strict=True))
        return [by_id[id] for id in final.partials]

    def _load_partial(self, id: UploadId) -> S3Upload:
        try:
            record, object = self._context.load(id)
        except NotFound as error:
            raise _invalid_partial(id, "is not there") from error
        if not isinstance(record.info.concat, Partial):
            raise _invalid_partial(id, "was not created as a partial one")
        partial = S3Upload(self._context, record, object)
        if record.plan is None:
            # tusd never writes down that it has finished an upload, so its object has to tell.
            partial.load_offset()
        return partial

    def _copy_sources(self) -> list[CopySource]:
        """The objects of the partials, each looked at once; those without bytes need none."""
        once = {partial.info.id: partial for partial in self._partials}
        with map_concurrently(
            self._context.part_executor, self._copy_source, once.values()
        ) as found:
            by_id = dict(zip(once, found, strict=True))
        return [by_id[partial.info.id] for partial in self._partials]

    def _copy_source(self, partial: S3Upload) -> CopySource:
        info, key = partial.info, partial.storage["Key"]
        if not info.length:
            return CopySource(info.id, key, 0, "")
        try:
            facts = self._context.bucket.head(key)
        except NotFound as error:
            raise _invalid_partial(info.id, "was removed") from error
        if facts.size != info.length:
            raise _invalid_partial(info.id, "is not what was uploaded")
        return CopySource(info.id, key, facts.size, facts.etag)

    # -- its object ------------------------------------------------------------------------------

    def _put_concatenated(self, sources: list[CopySource], assert_held: AssertHeld) -> None:
        lengths = [source.length for source in sources]
        whole = next(concat_parts(lengths, self._plan), ConcatPart(1, ()))
        with self._read_part(whole, sources) as part:
            self._put_object(part.payload(), assert_held)

    def _complete_concatenated(self, sources: list[CopySource], assert_held: AssertHeld) -> None:
        """Bring the parts that are missing into the multipart upload, and make the object."""
        if self._record.multipart is None:
            self._create_multipart(assert_held)
        lengths = [source.length for source in sources]

        def store_part(splice: ConcatPart) -> Part:
            slice = copyable_slice(splice, lengths)
            if slice is None:
                with self._read_part(splice, sources) as part:
                    assert_held()
                    return self._upload_part(splice.number, part.payload())
            assert_held()
            return self._copy_part(splice.number, slice, sources[slice.source])

        there = len(self._parts)
        missing = (part for part in concat_parts(lengths, self._plan) if part.number > there)
        with map_concurrently(self._context.part_executor, store_part, missing) as parts:
            self._parts += parts
        self._complete(None, assert_held)

    def _copy_part(self, number: int, slice: Slice, source: CopySource) -> Part:
        is_whole = slice.size == source.length
        copy = CopyRange(source.key, source.etag, None if is_whole else (slice.start, slice.stop))
        assert self._record.multipart is not None
        try:
            etag, crc32 = self._context.bucket.copy_part(
                self._record.key, self._record.multipart, number, copy
            )
        except SourceGone as error:
            raise _invalid_partial(source.id, "was removed") from error
        except NotFound as error:
            raise UploadGone(PARTS_GONE) from error
        return Part(number, slice.size, etag, crc32)

    def _read_part(self, splice: ConcatPart, sources: list[CopySource]) -> SpooledPart:
        """The bytes of a part, read from S3. The caller closes it."""
        part = self._context.spool.part(splice.size, splice.size)

        def fetch(slice: Slice) -> Iterable[bytes]:
            # Small pieces come ahead of their turn, since there may be thousands in a part.
            pieces = self._read_slice(slice, sources[slice.source])
            return list(pieces) if slice.size <= MAX_PREFETCHED_SLICE else pieces

        try:
            with map_concurrently(self._context.call_executor, fetch, splice.slices) as fetched:
                for pieces in fetched:
                    for piece in pieces:
                        part.write(piece)
        except BaseException:
            part.close()
            raise
        if part.size != splice.size:  # a service that ends an answer too early, and says nothing
            part.close()
            raise StoreUnavailable("GetObject")
        return part

    def _read_slice(self, slice: Slice, source: CopySource) -> Iterator[bytes]:
        try:
            pieces = self._context.bucket.read(
                source.key, slice.start, slice.stop, etag=source.etag, chunk_size=CHUNK_SIZE
            )
        except NotFound as error:
            raise _invalid_partial(source.id, "was removed") from error
        with closing(pieces):
            yield from pieces


def _invalid_partial(id: UploadId, what: str) -> InvalidPartial:
    return InvalidPartial(f"the partial upload {id} {what}")
