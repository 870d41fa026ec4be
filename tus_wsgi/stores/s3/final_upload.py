"""`S3FinalUpload`: an upload whose object is concatenated from the objects of partial uploads.

`load_offset` looks up the partial uploads, and `assemble` makes the object. S3 copies each part
that lies within one partial upload (UploadPartCopy). A part that spans several partial uploads, or
that the service does not copy, is read from S3 and sent; each thread buffers at most one such part.

- The partial uploads are finished, so their bytes do not change and no lock is needed. Each copy
  and each read names the ETag of the object. If a partial upload is deleted or replaced meanwhile,
  the request fails, and none of the new bytes get into the object.
- The record, which names the partial uploads, is written before the first part (D-13).
- After a failure, the next request copies only the missing parts.
"""

from __future__ import annotations

from dataclasses import replace

from tus_wsgi.domain.concat_plan import ConcatPart, concat_parts
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import Final, Partial, UploadId
from tus_wsgi.domain.parts import Part, plan_for
from tus_wsgi.stores.s3.concat_sources import ConcatSources, CopySource, invalid_partial
from tus_wsgi.stores.s3.confirmed_parts import ConfirmedParts
from tus_wsgi.stores.s3.context import no_lock_needed
from tus_wsgi.stores.s3.errors import NotFound, Refused
from tus_wsgi.stores.s3.transfers import map_concurrently
from tus_wsgi.stores.s3.upload import S3Upload


class S3FinalUpload(S3Upload):
    """A final upload in S3. It implements `Upload` but never gets a body."""

    _partials: list[S3Upload]

    @property
    def is_cacheable(self) -> bool:
        """Return False: the partial uploads may have changed."""
        return False

    def create(self, *, record_now: bool) -> None:
        """Write the record if `record_now`; otherwise `assemble` writes it."""
        if record_now:
            self._state.info_object.write(self._state.record, no_lock_needed)

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        """Add up the lengths of the finished partial uploads. One concurrent S3 call for each.

        Raises:
            InvalidPartial: a partial upload does not exist, or is not a partial upload.
            UploadGone: another program deleted the parts of the object.
            StoreUnavailable: S3 did not answer, or a completion may be in progress.
        """
        state = self._state
        if state.is_assembled:
            return
        if state.load_parts(assert_held):
            state.mark_assembled()
            return
        self._partials = self._load_partials()
        infos = [partial.info for partial in self._partials]
        state.offset = sum(info.offset for info in infos if info.is_finished)
        if state.record.multipart is None:
            lengths = [info.length for info in infos if info.length is not None]
            length = sum(lengths) if len(lengths) == len(infos) else None
            info = replace(state.record.info, length=length)
            state.record = replace(state.record, info=info)

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the data object; return whether this instance made it.

        Raises:
            InvalidPartial: a partial upload was deleted meanwhile.
            LockLost, UploadGone, StoreUnavailable: see `S3Upload.assemble`.
        """
        state = self._state
        assert self.info.is_full
        if not state.is_assembled:
            sources = ConcatSources(self._context, self._copy_sources())
            if state.record.multipart is None:
                plan = plan_for(state.record.info.length, self._context.limits)
                state.record = replace(state.record, plan=plan)
            if state.record.is_one_part:
                self._put_concatenated(sources, assert_held)
            else:
                self._complete_concatenated(sources, assert_held)
        return self._assembler.has_made_object

    # -- the partial uploads ---------------------------------------------------------------------

    def _load_partials(self) -> list[S3Upload]:
        """Return the partial uploads in order; look up each id once, even if it is listed twice."""
        final = self._state.record.info.concat
        assert isinstance(final, Final)
        unique_ids = dict.fromkeys(final.partials)
        with map_concurrently(
            self._context.concatenation.executor, self._load_partial, unique_ids
        ) as loaded:
            by_id = dict(zip(unique_ids, loaded, strict=True))
        return [by_id[id] for id in final.partials]

    def _load_partial(self, id: UploadId) -> S3Upload:
        try:
            record, info_object = self._context.load_record(id)
        except NotFound as error:
            raise invalid_partial(id, "does not exist") from error
        if record.info.terminating is not None:
            raise invalid_partial(id, "does not exist")
        if not isinstance(record.info.concat, Partial):
            raise invalid_partial(id, "was not created as a partial upload")
        partial = S3Upload(self._context, record, info_object)
        if record.plan is None:
            # tusd never records that an upload is finished; its object shows it.
            partial.load_offset()
        return partial

    def _copy_sources(self) -> list[CopySource]:
        """Look up the object of each partial upload. An empty partial upload needs no object."""
        unique = {partial.info.id: partial for partial in self._partials}
        with map_concurrently(
            self._context.concatenation.executor, self._copy_source, unique.values()
        ) as sources:
            by_id = dict(zip(unique, sources, strict=True))
        return [by_id[partial.info.id] for partial in self._partials]

    def _copy_source(self, partial: S3Upload) -> CopySource:
        info, key = partial.info, partial.storage["Key"]
        if not info.length:
            return CopySource(info.id, key, 0, "")
        try:
            facts = self._context.bucket.head(key)
        except NotFound as error:
            raise invalid_partial(info.id, "was deleted") from error
        if facts.size != info.length:
            raise invalid_partial(info.id, "has an object of another size")
        return CopySource(info.id, key, facts.size, facts.etag)

    # -- the object ------------------------------------------------------------------------------

    def _put_concatenated(self, sources: ConcatSources, assert_held: AssertHeld) -> None:
        empty = ConcatPart(1, ())  # `concat_parts` yields nothing for an empty object
        whole = next(concat_parts(sources.lengths, self._state.plan), empty)
        with self._context.concatenation.sending, sources.read(whole, assert_held) as part:
            self._assembler.put_object(part.payload(), assert_held)

    def _complete_concatenated(self, sources: ConcatSources, assert_held: AssertHeld) -> None:
        """Store the missing parts in the multipart upload, and complete it."""
        state = self._state
        if state.record.multipart is None:
            state.create_multipart(assert_held)

        def store_part(concat_part: ConcatPart) -> Part:
            return sources.store(state.record, concat_part, assert_held)

        stored = state.parts.count
        parts = concat_parts(sources.lengths, state.plan)
        missing = (part for part in parts if part.number > stored)
        with map_concurrently(
            self._context.concatenation.executor, store_part, missing
        ) as stored_parts:
            state.parts.add(stored_parts)
        try:
            self._assembler.complete(None, assert_held)
        except Refused:
            # S3 may require the checksums of copied parts, which it did not return.
            known = state.parts.known
            replaced = sources.replace_copies(state.record, state.plan, known, assert_held)
            if replaced == known:
                raise
            state.parts = ConfirmedParts()
            state.parts.add(replaced)
            self._assembler.complete(None, assert_held)
