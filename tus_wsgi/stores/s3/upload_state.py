"""What is known of an upload, and how it is looked up in S3.

- D-02: the offset is the sum of the parts 1, 2, ... without a gap, plus the tail if it starts where
  these parts end. Parts after a gap and tails with another start do not count.
- D-05: an object counts as complete only if it has the size of the upload.
"""

from __future__ import annotations

from concurrent.futures import wait
from dataclasses import replace
from typing import NoReturn

from tus_wsgi.domain.errors import LockLost, StoreUnavailable, UploadGone
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import State, UploadInfo
from tus_wsgi.domain.parts import Part, PartPlan, contiguous, plan_after
from tus_wsgi.stores.s3.bucket import ObjectFacts
from tus_wsgi.stores.s3.completion import CompletionPending
from tus_wsgi.stores.s3.confirmed_parts import ConfirmedParts
from tus_wsgi.stores.s3.context import TERMINATED, StoreContext
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.headers import object_headers
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.multipart import create_recorded_multipart
from tus_wsgi.stores.s3.numbered_tails import NumberedTails
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.tail_chain import TailChain, TailLayout


class UploadState:
    """What is known of an upload in S3. The modules that change the upload share it.

    Args:
        context: the clients, limits and executors that all uploads share.
        record: the content of the info object, which may not be written yet.
        info_object: the info object.

    Attributes:
        context, record, info_object: see above.
        headers: the headers and parameters with which the data object is written.
        tail: the newest bytes, which do not fill a part yet.
        parts: the contiguous parts 1 to k, which S3 has confirmed.
        listed_parts: every part that S3 listed.
        offset: the number of stored bytes. `load_offset` sets it, unless the upload is finished.
        is_assembled: whether the data object is complete.
        object_facts: the headers of the data object; known after `verify_object`.
    """

    def __init__(
        self, context: StoreContext, record: UploadRecord, info_object: InfoObject
    ) -> None:
        self.context = context
        self.record = record
        self.info_object = info_object
        self.headers = object_headers(record.info.metadata, context.options_of(record.info))
        self.tail = self._new_tail()
        self.parts = ConfirmedParts()
        self.listed_parts: list[Part] = []
        self.offset = record.info.offset if record.info.is_finished else 0
        self.is_assembled = record.info.is_finished
        self.object_facts: ObjectFacts | None = None
        self._info = self._recorded_info = record.info

    def _new_tail(self) -> TailChain | NumberedTails:
        kind = NumberedTails if self.record.has_numbered_tails else TailChain
        context = self.context
        key = context.keys.tail(self.record.info.id)
        return kind(context.bucket, key, context.tails, context.spool)

    # -- the record ------------------------------------------------------------------------------

    @property
    def info(self) -> UploadInfo:
        """The upload's info with the current offset."""
        recorded = self.record.info
        if self._info.offset != self.offset or self._recorded_info is not recorded:
            self._recorded_info = recorded
            self._info = replace(recorded, offset=self.offset)
        return self._info

    def write_record(self, record: UploadRecord, assert_held: AssertHeld) -> None:
        """Write the record, and keep it. See `InfoObject.write`."""
        self.info_object.write(record, assert_held)
        self.record = record

    def create_multipart(self, assert_held: AssertHeld) -> None:
        """Create the multipart upload and record it. See `create_recorded_multipart`."""
        self.record = create_recorded_multipart(
            self.context.bucket, self.info_object, self.record, self.headers, assert_held
        )

    @property
    def plan(self) -> PartPlan:
        """The size of each part (D-01)."""
        assert self.record.plan is not None
        return self.record.plan

    def assign_plan(self, assert_held: AssertHeld) -> None:
        """If tusd created the upload, record a plan for the parts after the existing ones."""
        if self.record.plan is None:
            plan = plan_after(
                self.parts.known,
                self.record.info.length,
                self.context.limits,
                self.listed_parts,
                tail_size=self.tail_size,
            )
            self.write_record(replace(self.record, plan=plan), assert_held)

    @property
    def final_length(self) -> int | None:
        """The length if it cannot change any more, else None."""
        return None if self.record.info.is_open else self.record.info.length

    # -- the offset ------------------------------------------------------------------------------

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        """Find how many bytes are stored.

        This takes two S3 calls, one more for each segment of the tail, and one more for each
        further 1,000 parts. The parts that the record confirms are not listed.

        Args:
            assert_held: checks the lock; None if the caller does not hold it.

        Raises:
            UploadGone: neither the multipart upload nor an object of the right size exists. Or the
                upload was terminated, and a late write has restored its record.
            CompletionPending: neither the multipart upload nor the object exists, but a completion
                may be in progress. If the caller holds the lock, the wait for the object is
                recorded.
            StoreUnavailable: S3 did not answer.
        """
        if self.is_assembled:
            return
        # The two calls do not depend on each other, so they run concurrently.
        load_tail = self.context.call_executor.submit(self.tail.load)
        try:
            is_complete = self.load_parts(assert_held)
        finally:
            wait([load_tail])
        load_tail.result()
        if self.tail.is_terminated:
            raise UploadGone(TERMINATED)
        self._load_rest_of_tail()
        if is_complete:
            self.mark_assembled()
            return
        self.offset = self.parts_end + self.tail_size
        # Keep the ETags only to plan the rest of tusd's upload, or to complete the object.
        if self.record.plan is not None and self.offset != self.record.info.length:
            self.parts.trim()

    @property
    def parts_end(self) -> int:
        """The offset after the confirmed parts, where a tail must start (D-02)."""
        return self.parts.end

    @property
    def tail_size(self) -> int:
        """The size of the tail; 0 if the tail does not start where the parts end (D-02)."""
        return self.tail.size_at(self.parts_end)

    def load_parts(self, assert_held: AssertHeld | None = None) -> bool:
        """Load the parts that count (D-02), unless the data object is complete.

        Returns:
            whether the data object is complete.

        Raises:
            UploadGone, CompletionPending, StoreUnavailable: see `load_offset`.
        """
        record = self.record
        if record.multipart is None:
            # `Assembler.put_object` writes the object only after a record in this state.
            return record.info.state is State.FINISHING and self.verify_object()
        confirmed = record.confirmed_parts
        try:
            listed = self.context.bucket.list_parts(record.key, record.multipart, after=confirmed)
        except NotFound:
            if not self.verify_object(is_likely=True):
                if record.info.state is State.FINISHING and record.info.length == 0:
                    # `abort_empty_multipart` has aborted it, but the id of tusd still names it.
                    self.record = replace(record, multipart=None)
                    return False
                self.await_object(assert_held)
            if record.plan is None:
                # tusd completed the upload and called its own hooks, but does not record that.
                self.record = record.with_state(State.FINISHED)
            return True
        self.listed_parts = listed
        end = self.plan.start(confirmed + 1) if confirmed else 0
        self.parts = ConfirmedParts(confirmed, end)
        self.parts.add(contiguous(record.plan, self.final_length, listed, first=confirmed + 1))
        return False

    def load_part_etags(self) -> None:
        """Look up the ETags of all parts, unless they are known. One S3 call per 1,000 parts.

        Raises:
            NotFound: the multipart upload does not exist.
            StoreUnavailable: S3 did not answer, or does not list all parts.
        """
        if self.parts.are_known:
            return
        assert self.record.multipart is not None
        listed = self.context.bucket.list_parts(self.record.key, self.record.multipart)
        parts = ConfirmedParts()
        parts.add(contiguous(self.record.plan, self.final_length, listed))
        if parts.count < self.parts.count:
            raise StoreUnavailable("ListParts")
        self.parts = parts

    def verify_object(self, *, is_likely: bool = False) -> bool:
        """Return whether the data object exists and has the upload's length (D-05)."""
        bucket, key = self.context.bucket, self.record.key
        facts = self.object_facts = bucket.find(key, is_likely=is_likely)
        return facts is not None and facts.size == self.record.info.length

    def await_object(self, assert_held: AssertHeld | None) -> NoReturn:
        """Raise the error for an upload whose parts and object are both missing.

        D-09: a completion may be in progress. If the caller holds the lock, record since when the
        object is awaited.

        Raises:
            UploadGone: no completion can be in progress. Or the upload was terminated, and a late
                write has restored its record.
            CompletionPending: a completion may be in progress.
        """
        self.tail.load()
        if self.tail.is_terminated:
            raise UploadGone(TERMINATED)
        record = self.context.completion_wait.begin_if_missing(self.record)
        if assert_held is not None and record != self.record:
            self.write_record(record, assert_held)
        raise CompletionPending

    def mark_assembled(self) -> None:
        """Note that the data object is complete."""
        self.is_assembled = True
        self.offset = self.record.info.length or 0

    def number_tails_if_needed(self, assert_held: AssertHeld) -> None:
        """Let the upload have numbered tails if the service ignores conditional writes (D-11).

        The record says so before the first numbered tail is written, so every reader looks for
        numbered tails. The test of the service costs one S3 call for each process.

        Raises:
            LockLost: another request has written a tail meanwhile. The bytes of this request may
                not follow it.
        """
        conditions = self.context.bucket.conditions
        numbered = replace(self.record, has_numbered_tails=True)
        if conditions.is_test_due:
            if not self.info_object.test_conditions(numbered, assert_held):
                return
        elif conditions.are_ignored:
            self.info_object.write(numbered, assert_held)
        else:
            return
        known_size = self.tail_size
        self.record = numbered
        self.tail = self._new_tail()
        self.tail.load()
        self._load_rest_of_tail()
        if self.tail_size != known_size:
            raise LockLost("another request has written to this upload")

    @property
    def tail_layout(self) -> TailLayout:
        """Where the tail of the upload is (D-02)."""
        return TailLayout.of(self.record.plan, self.parts_end)

    def _load_rest_of_tail(self) -> None:
        """Look up the objects of the tail that `self.tail.load` has not looked up."""
        self.tail.load_rest(self.tail_layout)
        start = self.parts_end
        if isinstance(self.tail, NumberedTails):
            if self.parts.count and start == self.record.info.length:
                # A request may have failed to delete the tails of the last part.
                known, count = self.parts.known, self.parts.count
                start -= known[-1].size if known else self.plan.size(count)
            self.tail.load_numbers(start)
