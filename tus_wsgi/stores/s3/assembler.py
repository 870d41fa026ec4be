"""Make the data object of an upload whose bytes are all stored, or arrive now.

- D-05: a completion is verified by the size of the object, and repeated if in doubt.
- D-04: the tail is deleted only when every byte is in a part or in the object. No tail is written
  after the deletion, so a DELETE that S3 carries out late is harmless.
- D-13: the record announces an object before a single PutObject writes it.

Every write checks the lock first (D-10).
"""

from __future__ import annotations

from contextlib import suppress

from tus_wsgi.domain.errors import StoreUnavailable, Unavailable
from tus_wsgi.domain.hooks import StoredObject
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import State
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.errors import NotFound, is_refusal
from tus_wsgi.stores.s3.multipart import abort_empty_multipart, upload_part
from tus_wsgi.stores.s3.stored_object import object_of_facts, object_of_put
from tus_wsgi.stores.s3.upload_state import UploadState


class Assembler:
    """Makes the data object of one upload.

    Args:
        state: what is known of the upload.

    Attributes:
        has_made_object: whether this instance made the data object.
    """

    def __init__(self, state: UploadState) -> None:
        self._state = state
        self.has_made_object = False
        self._stored_object: StoredObject | None = None

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the data object; return whether this instance made it.

        Raises:
            LockLost: another request holds the lock.
            UploadGone: the parts do not exist, or the object has another size.
            StoreUnavailable: S3 did not answer.
        """
        state = self._state
        assert state.info.is_full
        if not state.is_assembled:
            state.assign_plan(assert_held)
            if state.record.info.length == 0 and state.record.multipart is not None:
                state.record = abort_empty_multipart(
                    state.context.bucket, state.info_object, state.record, assert_held
                )
            size = state.tail_size
            rest = state.tail.read() if size else ()
            with state.context.spool.part(size, size, rest) as last_part:
                if state.record.is_one_part:
                    self.put_object(last_part.payload(), assert_held)
                else:
                    self.complete(last_part, assert_held)
        return self.has_made_object

    def put_object(self, payload: Payload, assert_held: AssertHeld) -> None:
        """Write the data object with one PutObject, after a record in state `FINISHING` (D-13)."""
        state = self._state
        is_announced = state.info_object.exists and state.record.info.state is State.FINISHING
        if not is_announced:
            state.write_record(state.record.with_state(State.FINISHING), assert_held)
        assert_held()
        headers = state.headers
        written = state.context.bucket.put_data(
            state.record.key,
            payload,
            content_type=headers.content_type,
            metadata=headers.metadata,
            parameters=headers.parameters,
        )
        self._stored_object = object_of_put(written, payload)
        self.has_made_object = True
        state.mark_assembled()

    def complete(self, last_part: SpooledPart | None, assert_held: AssertHeld) -> None:
        """Upload the last part, delete the tail object, and complete the multipart upload."""
        state = self._state
        if last_part is not None and last_part.size:
            assert_held()
            number, payload = state.parts.count + 1, last_part.payload()
            state.parts.add([upload_part(state.context.bucket, state.record, number, payload)])
        if state.tail.exists:
            assert_held()
            state.tail.delete()
        if state.parts_end != state.record.info.length:
            raise AssertionError("parts are missing")  # not `assert`, which -O removes
        self._complete_multipart(assert_held)
        if not state.verify_object(is_likely=True):
            state.await_object(assert_held)
        state.mark_assembled()

    def _complete_multipart(self, assert_held: AssertHeld) -> None:
        """Complete the multipart upload. If the outcome is unknown, record that (D-09).

        If the parts still exist, an earlier completion of unknown outcome has failed. The wait for
        the object then begins again.
        """
        state = self._state
        record, wait = state.record, state.context.completion_wait
        assert record.multipart is not None
        try:
            state.load_part_etags()
        except NotFound:
            return  # D-05: an earlier completion may have succeeded, and its response was lost
        if record.completing_since is not None:
            state.write_record(wait.begin(record), assert_held)
        assert_held()
        try:
            state.context.bucket.complete(record.key, record.multipart, state.parts.known)
        except NotFound:
            return  # as above
        except StoreUnavailable as failure:
            if not is_refusal(failure):
                # If this write fails too, the next request finds out whether the parts are gone.
                with suppress(Unavailable):
                    state.write_record(wait.begin(record), assert_held)
            raise
        self.has_made_object = True

    @property
    def stored_object(self) -> StoredObject:
        """The ETag, the version and the CRC-32 of the data object.

        One S3 call if an earlier request has written the object with one PutObject.
        """
        state = self._state
        if self._stored_object is None:
            facts, bucket = state.object_facts, state.context.bucket
            assert facts is not None
            is_single_put = not state.parts.count
            if is_single_put and facts.crc32 is None and bucket.has_checksums:
                facts = bucket.head(state.record.key)  # only the response to a HEAD has the CRC-32
            parts = state.parts.known if state.parts.are_known else []
            self._stored_object = object_of_facts(facts, parts)
        return self._stored_object
