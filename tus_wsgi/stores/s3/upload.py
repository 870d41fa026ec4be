"""`S3Upload`: find the offset of an upload in S3, append bytes, and make the data object.

The durability rules that this module keeps (`docs/durability.md`):

- D-02: the offset is the sum of the parts 1, 2, ... without a gap, plus the tail if it starts where
  these parts end. Parts after a gap and tails with another start do not count.
- D-03: the offset advances only after S3 has confirmed the bytes.
- D-04: a tail is replaced only after the part that contains its bytes is confirmed, and deleted
  only when every byte is in a part or in the object. No tail is written after the deletion, so a
  DELETE that S3 carries out late is harmless.
- D-05: a completion is verified by the size of the object.
- D-06: the record says `finished` only after this verification.

Every write checks the lock first. If the service supports conditional writes, the record and the
tail are only written if they are unchanged since this instance read them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from tus_wsgi.domain.answer import Answer, Rejection
from tus_wsgi.domain.errors import StoreUnavailable, Unavailable, UploadGone, UploadIncomplete
from tus_wsgi.domain.hooks import StoredObject
from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.model import State, TerminationReason, UploadInfo
from tus_wsgi.domain.parts import Part, PartPlan, contiguous, plan_after
from tus_wsgi.spool.part import SpooledPart, read_end
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import ObjectFacts
from tus_wsgi.stores.s3.completion import CompletionPending
from tus_wsgi.stores.s3.content import S3Content
from tus_wsgi.stores.s3.context import (
    MAX_CACHED_PARTS,
    TERMINATED,
    OnStored,
    StoreContext,
    no_lock_needed,
)
from tus_wsgi.stores.s3.errors import NotFound, is_refusal
from tus_wsgi.stores.s3.headers import object_headers
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.multipart import (
    abort_empty_multipart,
    create_recorded_multipart,
    upload_part,
)
from tus_wsgi.stores.s3.numbered_tails import NumberedTails
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.stored_object import object_of_facts, object_of_put
from tus_wsgi.stores.s3.tails import TailObject
from tus_wsgi.stores.s3.termination import plan_removal, write_tombstone
from tus_wsgi.stores.s3.transfers import PartPipeline


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
        self._record = record
        self._info_object = info_object
        self._headers = object_headers(record.info.metadata, context.options_of(record.info))
        self._tail = self._new_tail()
        self._parts: list[Part] = []  # the contiguous parts 1 to k
        self._listed_parts: list[Part] = []  # every part that S3 listed
        # `load_offset` sets the offset of an upload that is not finished.
        self._offset = record.info.offset if record.info.is_finished else 0
        self._is_assembled = record.info.is_finished
        self._has_made_object = False  # whether this instance made the data object
        self._object_facts: ObjectFacts | None = None  # known after `_verify_object`
        self._stored_object: StoredObject | None = None

    @property
    def info(self) -> UploadInfo:
        """The upload's info. Its offset is valid after `load_offset`, or if it is finished."""
        return replace(self._record.info, offset=self._offset)

    @property
    def storage(self) -> Mapping[str, str]:
        """The type of the store, the bucket and the key of the data object."""
        return self._record.storage

    def _new_tail(self) -> TailObject | NumberedTails:
        kind = NumberedTails if self._record.has_numbered_tails else TailObject
        context = self._context
        return kind(context.bucket, context.keys.tail(self._record.info.id), context.tails)

    # -- the record ------------------------------------------------------------------------------

    def create(self, *, record_now: bool) -> None:
        """Write the record of a new upload, if `record_now` or if it needs a multipart upload.

        Raises:
            StoreUnavailable: S3 did not answer; the upload was not created.
        """
        length, plan = self._record.info.length, self._plan
        if length is not None and length > plan.part_size:
            self._create_multipart(no_lock_needed)
        elif record_now:
            self._info_object.write(self._record, no_lock_needed)

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        """Record the length of an upload that was created without it. One S3 call."""
        info = replace(self._record.info, length=length, is_open=is_open)
        self._write_record(replace(self._record, info=info).with_expected_state(), assert_held)

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record a later expiry. One S3 call."""
        info = replace(self._record.info, expires=expires)
        self._write_record(replace(self._record, info=info), assert_held)

    def _write_record(self, record: UploadRecord, assert_held: AssertHeld) -> None:
        self._info_object.write(record, assert_held)
        self._record = record

    def _create_multipart(self, assert_held: AssertHeld) -> None:
        self._record = create_recorded_multipart(
            self._context.bucket, self._info_object, self._record, self._headers, assert_held
        )

    @property
    def _plan(self) -> PartPlan:
        """The size of each part (D-01)."""
        assert self._record.plan is not None
        return self._record.plan

    def _assign_plan(self, assert_held: AssertHeld) -> None:
        """If tusd created the upload, record a plan for the parts after the existing ones."""
        if self._record.plan is None:
            plan = plan_after(
                self._parts, self._record.info.length, self._context.limits, self._listed_parts
            )
            self._write_record(replace(self._record, plan=plan), assert_held)

    @property
    def _final_length(self) -> int | None:
        """The length if it cannot change any more, else None."""
        return None if self._record.info.is_open else self._record.info.length

    # -- the offset ------------------------------------------------------------------------------

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        """Find how many bytes are stored. Two S3 calls, plus one for each 1,000 parts.

        Raises:
            UploadGone: neither the multipart upload nor an object of the right size exists, or the
                upload was terminated, and S3 has written its record late.
            CompletionPending: neither of them exists, but a completion may be in progress. With the
                lock, the record says so afterwards.
            StoreUnavailable: S3 did not answer.
        """
        if self._is_assembled:
            return
        # The two calls do not depend on each other, so they run concurrently.
        load_tail = self._context.call_executor.submit(self._tail.load)
        try:
            is_complete = self._load_parts(assert_held)
        finally:
            wait([load_tail])
        load_tail.result()
        if self._tail.is_terminated:
            raise UploadGone(TERMINATED)
        self._load_numbers()
        if is_complete:
            self._mark_assembled()
        else:
            self._offset = self._parts_end + self._tail_size

    @property
    def _parts_end(self) -> int:
        """The offset after the confirmed parts, where a tail must start (D-02)."""
        return sum(part.size for part in self._parts)

    @property
    def _tail_size(self) -> int:
        """The size of the tail; 0 if the tail does not start where the parts end (D-02)."""
        plan = self._record.plan
        default_start = self._parts_end if plan is None else plan.bytes_before
        return self._tail.size_at(self._parts_end, default_start=default_start)

    def _load_parts(self, assert_held: AssertHeld | None = None) -> bool:
        """Load the parts that count (D-02); return True if the data object is already complete."""
        record = self._record
        if record.multipart is None:
            # `_put_object` writes the object only after a record in this state.
            return record.info.state is State.FINISHING and self._verify_object()
        try:
            listed = self._context.bucket.list_parts(record.key, record.multipart)
        except NotFound:
            if not self._verify_object(is_likely=True):
                self._await_object(assert_held)
            if record.plan is None:
                # tusd completed the upload and called its own hooks, but does not record that.
                self._record = record.with_state(State.FINISHED)
            return True
        self._listed_parts = listed
        self._parts = contiguous(record.plan, self._final_length, listed)
        return False

    def _verify_object(self, *, is_likely: bool = False) -> bool:
        """Return whether the data object exists and has the upload's length (D-05)."""
        bucket, key = self._context.bucket, self._record.key
        facts = self._object_facts = bucket.find(key, is_likely=is_likely)
        return facts is not None and facts.size == self._record.info.length

    def _await_object(self, assert_held: AssertHeld | None) -> NoReturn:
        """Raise the error for an upload whose parts and object are both missing.

        D-09: a completion may be in progress. With the lock, record since when the object is
        awaited, unless the record is a late one of a terminated upload.
        """
        self._tail.load()
        if self._tail.is_terminated:
            raise UploadGone(TERMINATED)
        record = self._context.completion_wait.begin_if_missing(self._record)
        if assert_held is not None and record != self._record:
            self._write_record(record, assert_held)
        raise CompletionPending

    def _mark_assembled(self) -> None:
        self._is_assembled = True
        self._offset = self._record.info.length or 0

    # -- appending -------------------------------------------------------------------------------

    def append(
        self, body: Body, assert_held: AssertHeld, on_stored: OnStored | None = None
    ) -> None:
        """Append the body to the stored bytes: upload full parts, and write the rest as the tail.

        Raises:
            LockLost: another request holds the lock.
            UploadGone: another program aborted the multipart upload.
            UploadTooLarge: tusd has used up the part numbers.
            StoreUnavailable: S3 did not answer, or the spool is full.
        """
        if self._is_assembled:
            read_end(body)
            return
        self._assign_plan(assert_held)

        def upload(number: int, part: SpooledPart) -> Part:
            assert_held()
            return self._upload_part(number, part.payload())

        def report(parts: list[Part]) -> None:
            if on_stored is not None:
                on_stored(self._parts_end + sum(part.size for part in parts))

        with PartPipeline(self._context.part_executor, upload, report) as pipeline:
            number, part = self._receive_parts(body, pipeline, assert_held)
            with part:
                self._parts += pipeline.wait()
                if not self._is_assembled:
                    self._write_tail(number, part, assert_held)
                if part.error is not None:
                    raise part.error
        if not self._info_object.exists:
            self._info_object.write(self._record, assert_held)

    def _receive_parts(
        self, body: Body, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> tuple[int, SpooledPart]:
        """Read the body to its end and store each full part; return the rest and its part number.

        If the disk is full, reading ends early: the returned part has the bytes that fitted, and
        its `error` is set.
        """
        number = len(self._parts) + 1
        part = self._new_part(number, body)
        try:
            while True:
                part.fill(body)
                if not part.is_full or part.capacity == 0:
                    break
                is_fast = part.is_fast
                self._store_full_part(number, part, pipeline, assert_held)
                number += 1
                part = self._new_part(number, body, is_fast=is_fast)
        except BaseException:
            part.close()
            raise
        if part.error is None:
            read_end(body)
        return number, part

    def _new_part(self, number: int, body: Body, *, is_fast: bool = False) -> SpooledPart:
        """Return a buffer for part `number`. The first buffer of a request starts with the tail."""
        capacity = self._plan.expected_size(number, self._final_length)
        has_tail = self._tail_size and number == len(self._parts) + 1
        first_bytes = self._tail.read() if has_tail else ()
        end = None if body.content_length is None else self._offset + body.content_length
        expected = None if end is None else end - self._plan.start(number)
        return self._context.spool.part(capacity, expected, first_bytes, is_fast=is_fast)

    def _store_full_part(
        self, number: int, part: SpooledPart, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> None:
        """Store a full part: with PutObject if it is the only part, else with UploadPart."""
        if self._record.is_one_part:
            with part:
                self._put_object(part.payload(), assert_held)
            self._parts = [Part(number, part.size, "")]
            return
        if self._record.multipart is None:
            self._create_multipart(assert_held)
        pipeline.submit(number, part)

    def _upload_part(self, number: int, payload: Payload) -> Part:
        return upload_part(self._context.bucket, self._record, number, payload)

    def _write_tail(self, number: int, part: SpooledPart, assert_held: AssertHeld) -> None:
        """Write the rest of the body as the tail, after all parts before it are confirmed (D-04).

        A tail whose bytes are now in a part is not deleted here: if S3 carried out the DELETE late,
        it would delete the next tail. The old tail no longer counts (D-02), and stays until the
        next tail replaces it or the upload is complete.
        """
        if part.size > self._tail_size:
            if not self._info_object.exists:
                self._info_object.write(self._record, assert_held)
            if not self._record.has_numbered_tails:
                self._number_tails_if_needed(assert_held)
            assert_held()
            self._tail.write(self._plan.start(number), part)
        self._offset = self._parts_end + part.size

    def _number_tails_if_needed(self, assert_held: AssertHeld) -> None:
        """Let the upload have numbered tails if the service ignores conditional writes (D-11).

        The record says so before the first of them is written, so every reader looks for them. The
        test costs one S3 call for each process.
        """
        conditions = self._context.bucket.conditions
        numbered = replace(self._record, has_numbered_tails=True)
        if conditions.is_test_due:
            if not self._info_object.test_conditions(numbered, assert_held):
                return
        elif conditions.are_ignored:
            self._info_object.write(numbered, assert_held)
        else:
            return
        self._record = numbered
        self._tail = self._new_tail()
        self._tail.load()
        self._load_numbers()

    def _load_numbers(self) -> None:
        if isinstance(self._tail, NumberedTails):
            start = self._parts_end
            if self._parts and start == self._record.info.length:
                # A request may have failed to delete the tails of the last part.
                start -= self._parts[-1].size
            self._tail.load_numbers(start)

    # -- finishing -------------------------------------------------------------------------------

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the data object; return whether this instance made it.

        Raises:
            LockLost: another request holds the lock.
            UploadGone: the parts do not exist, or the object has another size.
            StoreUnavailable: S3 did not answer.
        """
        assert self.info.is_full
        if not self._is_assembled:
            self._assign_plan(assert_held)
            if self._record.info.length == 0 and self._record.multipart is not None:
                self._record = abort_empty_multipart(
                    self._context.bucket, self._info_object, self._record, assert_held
                )
            size = self._tail_size
            rest = self._tail.read() if size else ()
            with self._context.spool.part(size, size, rest) as last_part:
                if self._record.is_one_part:
                    self._put_object(last_part.payload(), assert_held)
                else:
                    self._complete(last_part, assert_held)
        return self._has_made_object

    def _put_object(self, payload: Payload, assert_held: AssertHeld) -> None:
        """Write the data object with one PutObject, after a record in state `FINISHING` (D-13)."""
        if not (self._info_object.exists and self._record.info.state is State.FINISHING):
            self._write_record(self._record.with_state(State.FINISHING), assert_held)
        assert_held()
        headers = self._headers
        written = self._context.bucket.put_data(
            self._record.key,
            payload,
            content_type=headers.content_type,
            metadata=headers.metadata,
            parameters=headers.parameters,
        )
        self._stored_object = object_of_put(written, payload)
        self._has_made_object = True
        self._mark_assembled()

    def _complete(self, last_part: SpooledPart | None, assert_held: AssertHeld) -> None:
        """Upload the last part, delete the tail object, and complete the multipart upload."""
        if last_part is not None and last_part.size:
            assert_held()
            self._parts.append(self._upload_part(len(self._parts) + 1, last_part.payload()))
        if self._tail.exists:
            assert_held()
            self._tail.delete()
        if self._parts_end != self._record.info.length:
            raise AssertionError("parts are missing")  # not `assert`, which -O removes
        self._complete_multipart(assert_held)
        if not self._verify_object(is_likely=True):
            self._await_object(assert_held)
        self._mark_assembled()

    def _complete_multipart(self, assert_held: AssertHeld) -> None:
        """Complete the multipart upload. If the outcome is unknown, record that (D-09).

        If a completion of unknown outcome has failed, so that the parts are still there, the wait
        for the object begins again.
        """
        record, wait = self._record, self._context.completion_wait
        assert record.multipart is not None
        if record.completing_since is not None:
            self._write_record(wait.begin(record), assert_held)
        assert_held()
        try:
            self._context.bucket.complete(record.key, record.multipart, self._parts)
        except NotFound:
            return  # D-05: an earlier completion may have succeeded, and its response was lost
        except StoreUnavailable as failure:
            if not is_refusal(failure):
                with suppress(Unavailable):  # the next request finds out that the parts are gone
                    self._write_record(wait.begin(record), assert_held)
            raise
        self._has_made_object = True

    @property
    def stored_object(self) -> StoredObject:
        """The ETag, the version and the CRC-32 of the data object.

        One S3 call if an earlier request has written the object with one PutObject.
        """
        if self._stored_object is None:
            facts, bucket = self._object_facts, self._context.bucket
            assert facts is not None
            if facts.crc32 is None and not self._parts and bucket.has_checksums:
                facts = bucket.head(self._record.key)  # only a HEAD says the CRC-32
            self._stored_object = object_of_facts(facts, self._parts)
        return self._stored_object

    def finish(
        self, assert_held: AssertHeld, *, may_defer: bool, answer: Answer | None = None
    ) -> None:
        """Record that the upload is finished (D-06), and delete the tail.

        Raises:
            LockLost, StoreUnavailable: the finish is not recorded; the next request retries.
        """
        if self._record.info.is_finished:
            return
        if self._tail.exists:
            assert_held()
            self._tail.delete()
        elif may_defer and self._record.info.state is State.FINISHING:
            return
        finished = self._record.with_state(State.FINISHED)
        self._write_record(
            replace(finished, info=replace(finished.info, answer=answer)), assert_held
        )

    def reject(self, rejection: Rejection, assert_held: AssertHeld) -> None:
        """Record that the application rejects the file. One S3 call, and one for a tail.

        D-13: the record is written before the object is removed, so a process that is killed in
        between leaves an upload whose object the next request, or a sweep, removes.

        Raises:
            LockLost, StoreUnavailable: the rejection may not be recorded.
        """
        if self._tail.exists:
            assert_held()
            self._tail.delete()
        rejected = self._record.with_state(State.REJECTED)
        info = replace(rejected.info, rejection=rejection)
        self._write_record(replace(rejected, info=info), assert_held)

    def remove_rejected(self, assert_held: AssertHeld) -> None:
        """Delete the object, unless the application keeps it. One S3 call.

        D-10: the deletion checks the lock first.

        Raises:
            LockLost, StoreUnavailable: the object may still exist.
        """
        rejection = self._record.info.rejection
        assert rejection is not None
        if not rejection.keep:
            assert_held()
            self._context.bucket.delete(self._record.key)

    @property
    def is_cacheable(self) -> bool:
        """Whether the next request may use this instance without loading the offset."""
        is_in_progress = self._record.plan is not None and not self._is_assembled
        return is_in_progress and len(self._parts) <= MAX_CACHED_PARTS

    def begin_termination(self, reason: TerminationReason, assert_held: AssertHeld) -> None:
        """Record that the upload is being removed, and then remove parts and object (D-13).

        D-08: nothing is removed before the record says so. The application has yet to learn of the
        termination, so the record keeps what it needs for that. `terminate` removes the tail.

        Raises:
            LockLost, StoreUnavailable: some objects are left.
        """
        if self._info_object.is_untouched:
            return
        steps = self._removal_steps()
        if self._record.info.terminating is None:
            info = replace(self._record.info, terminating=reason)
            self._write_record(replace(self._record, info=info), assert_held)
        for step in steps:
            assert_held()
            step()

    def terminate(self, assert_held: AssertHeld) -> None:
        """Replace the record by a tombstone, and then remove everything else.

        D-10: each step checks the lock first. See `tus_wsgi.stores.s3.termination`.

        Raises:
            LockLost, StoreUnavailable: some objects are left.
        """
        if self._info_object.is_untouched:
            return  # D-13: nothing is written before the record
        if self._record.has_numbered_tails and not self._record.is_terminated:
            with suppress(UploadGone, CompletionPending):
                self.load_offset()  # it finds the numbers
        steps = self._removal_steps()
        if not self._record.is_terminated:
            self._record = write_tombstone(self._info_object, self._record, assert_held)
        for step in (self._tail.write_tombstone, *steps):
            assert_held()
            step()

    def _removal_steps(self) -> list[Callable[[], None]]:
        record = self._record
        return plan_removal(
            self._context.bucket,
            record,
            is_own_key=self._context.keys.is_own(record.key, record.info.id),
            is_complete=lambda: self._is_assembled or self._load_parts(),
        )

    def content(self) -> S3Content:
        """Return the content of the data object. At most one S3 call, and one for each read.

        Raises:
            UploadIncomplete: the data object does not exist yet.
            UploadGone: the data object was deleted.
            StoreUnavailable: S3 did not answer.
        """
        if not self._is_assembled:
            raise UploadIncomplete
        return S3Content.load(self._context.bucket, self._record.key, self._object_facts)
