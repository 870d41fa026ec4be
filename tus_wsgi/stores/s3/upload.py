"""`S3Upload`: an upload in S3, and how its record changes.

| module            | what it does                                                     |
|-------------------|------------------------------------------------------------------|
| `upload_state.py` | look up the parts, the tail and the object, and so the offset     |
| `appender.py`     | store the bytes of a request as parts and a tail                  |
| `assembler.py`    | make the data object, or complete the multipart upload            |
| `removal.py`      | remove the upload                                                 |

D-06: the record says `finished` only after the data object is verified. Every write checks the lock
first. If the service supports conditional writes, the record and the tail are only written if they
are unchanged since this instance read them (D-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from tus_wsgi.domain.answer import Answer, Rejection
from tus_wsgi.domain.errors import UploadIncomplete
from tus_wsgi.domain.hooks import StoredObject
from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.model import State, TerminationReason, UploadInfo
from tus_wsgi.stores.s3.appender import Appender
from tus_wsgi.stores.s3.assembler import Assembler
from tus_wsgi.stores.s3.content import S3Content
from tus_wsgi.stores.s3.context import OnStored, StoreContext, no_lock_needed
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.removal import remove_data, remove_upload
from tus_wsgi.stores.s3.upload_state import UploadState


class S3Upload:
    """An upload in S3. It implements `tus_wsgi.domain.interfaces.Upload`.

    Args:
        context: the clients, limits and executors that all uploads share.
        record: the content of the info object, which may not be written yet.
        info_object: the info object.
    """

    def __init__(
        self, context: StoreContext, record: UploadRecord, info_object: InfoObject
    ) -> None:
        self._context = context
        self._state = UploadState(context, record, info_object)
        self._assembler = Assembler(self._state)
        self._appender = Appender(self._state, self._assembler)

    @property
    def info(self) -> UploadInfo:
        """The upload's info. The offset is valid after `load_offset`, and in a finished upload."""
        return self._state.info

    @property
    def storage(self) -> Mapping[str, str]:
        """The type of the store, the bucket and the key of the data object."""
        return self._state.record.storage

    @property
    def is_cacheable(self) -> bool:
        """Whether the next request may use this instance without loading the offset."""
        state = self._state
        return state.record.plan is not None and not state.is_assembled

    # -- the record ------------------------------------------------------------------------------

    def create(self, *, record_now: bool) -> None:
        """Write the record of a new upload, if `record_now` or if it needs a multipart upload.

        Raises:
            StoreUnavailable: S3 did not answer; the upload was not created.
        """
        state = self._state
        state.tail.note_absent()
        length = state.record.info.length
        if length is not None and length > state.plan.part_size:
            state.create_multipart(no_lock_needed)
        elif record_now:
            state.info_object.write(state.record, no_lock_needed)

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        """Record the length of an upload that was created without it. One S3 call."""
        record = self._state.record
        info = replace(record.info, length=length, is_open=is_open)
        self._state.write_record(replace(record, info=info).with_expected_state(), assert_held)

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record a later expiry. One S3 call."""
        record = self._state.record
        info = replace(record.info, expires=expires)
        self._state.write_record(replace(record, info=info), assert_held)

    # -- the bytes -------------------------------------------------------------------------------

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        """Find how many bytes are stored; see `UploadState.load_offset`."""
        self._state.load_offset(assert_held)

    def append(
        self, body: Body, assert_held: AssertHeld, on_stored: OnStored | None = None
    ) -> None:
        """Append the body to the stored bytes; see `Appender.append`."""
        self._appender.append(body, assert_held, on_stored)

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the data object; see `Assembler.assemble`."""
        return self._assembler.assemble(assert_held)

    @property
    def stored_object(self) -> StoredObject:
        """The ETag, the version and the CRC-32 of the data object; at most one S3 call."""
        return self._assembler.stored_object

    def content(self) -> S3Content:
        """Return the content of the data object. At most one S3 call, and one for each read.

        Raises:
            UploadIncomplete: the data object does not exist yet.
            UploadGone: the data object was deleted.
            StoreUnavailable: S3 did not answer.
        """
        state = self._state
        if not state.is_assembled:
            raise UploadIncomplete
        return S3Content.load(self._context.bucket, state.record.key, state.object_facts)

    # -- the end ---------------------------------------------------------------------------------

    def finish(
        self, assert_held: AssertHeld, *, may_defer: bool, answer: Answer | None = None
    ) -> None:
        """Record that the upload is finished (D-06), and delete the tail.

        Raises:
            LockLost, StoreUnavailable: the finish is not recorded; the next request retries.
        """
        state = self._state
        if state.record.info.is_finished:
            return
        if state.tail.exists:
            assert_held()
            state.tail.delete()
        elif may_defer and state.record.info.state is State.FINISHING:
            return  # in this state, the next request looks for the object
        finished = state.record.with_state(State.FINISHED)
        info = replace(finished.info, answer=answer)
        state.write_record(replace(finished, info=info), assert_held)

    def reject(self, rejection: Rejection, assert_held: AssertHeld) -> None:
        """Record that the application rejects the file. One S3 call, and one for a tail.

        D-13: the record is written before the object is removed, so a process that is killed in
        between leaves an upload whose object the next request, or a sweep, removes.

        Raises:
            LockLost, StoreUnavailable: the rejection may not be recorded.
        """
        state = self._state
        if state.tail.exists:
            assert_held()
            state.tail.delete()
        rejected = state.record.with_state(State.REJECTED)
        info = replace(rejected.info, rejection=rejection)
        state.write_record(replace(rejected, info=info), assert_held)

    def remove_rejected(self, assert_held: AssertHeld) -> None:
        """Delete the object, unless the application keeps it. One S3 call.

        D-10: the deletion checks the lock first.

        Raises:
            LockLost, StoreUnavailable: the object may still exist.
        """
        rejection = self._state.record.info.rejection
        assert rejection is not None
        if not rejection.keep:
            assert_held()
            self._context.bucket.delete(self._state.record.key)

    def begin_termination(self, reason: TerminationReason, assert_held: AssertHeld) -> None:
        """Record that the upload is being removed, and then remove parts and object (D-13).

        Raises:
            LockLost, StoreUnavailable: some objects are left.
        """
        remove_data(self._state, reason, assert_held)

    def terminate(self, assert_held: AssertHeld) -> None:
        """Replace the record by a tombstone, and then remove everything else.

        Raises:
            LockLost, StoreUnavailable: some objects are left.
        """
        remove_upload(self._state, assert_held)
