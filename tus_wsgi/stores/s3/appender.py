"""Append a body to an upload: store full parts, and the rest as the tail.

- D-01: part k always has the same bytes: those that the plan says.
- D-03: the offset advances only after S3 has confirmed the bytes.
- D-04: a tail is replaced only by a tail that contains its bytes, or after S3 has confirmed the
  part that contains them.

Every write checks the lock first (D-10).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.part import SpooledPart, read_end
from tus_wsgi.stores.s3.assembler import Assembler
from tus_wsgi.stores.s3.context import OnStored
from tus_wsgi.stores.s3.multipart import upload_part
from tus_wsgi.stores.s3.transfers import PartPipeline
from tus_wsgi.stores.s3.upload_state import UploadState

RECORD_INTERVAL = 250
"""Parts after which the record is written again. A request whose process has not cached the upload
has to list about this many parts at most."""


@dataclass(frozen=True, slots=True)
class _Buffer:
    """The newest bytes of a part.

    Attributes:
        number: the number of the part.
        skipped: bytes at the beginning of the part that are in the tail and not in the buffer.
        part: the buffered bytes.
    """

    number: int
    skipped: int
    part: SpooledPart


class Appender:
    """Appends bodies to one upload.

    Args:
        state: what is known of the upload.
        assembler: makes the data object if it is a single part.
    """

    def __init__(self, state: UploadState, assembler: Assembler) -> None:
        self._state = state
        self._assembler = assembler

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
        state = self._state
        if state.is_assembled:
            read_end(body)
            return
        state.assign_plan(assert_held)

        def upload(number: int, part: SpooledPart) -> Part:
            assert_held()
            return upload_part(state.context.bucket, state.record, number, part.payload())

        def report(parts: list[Part]) -> None:
            if on_stored is not None:
                on_stored(state.parts_end + sum(part.size for part in parts))

        with PartPipeline(state.context.part_executor, upload, report) as pipeline:
            rest = self._receive_parts(body, pipeline, assert_held)
            with rest.part:
                if parts := pipeline.wait():
                    state.parts.add(parts)
                    state.tail.discard_cached()
                if not state.is_assembled:
                    self._write_tail(rest, assert_held)
                if rest.part.error is not None:
                    raise rest.part.error
        if not state.info_object.exists:
            state.info_object.write(state.record, assert_held)
        self._record_parts(assert_held)

    def _receive_parts(
        self, body: Body, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> _Buffer:
        """Read the body to its end and store each full part; return the rest.

        If the disk is full, reading ends early: the returned part has the bytes that fitted, and
        its `error` is set.
        """
        buffer = self._new_buffer(self._state.parts.count + 1, body)
        try:
            while True:
                part = buffer.part
                part.fill(body)
                if not part.is_full or part.capacity == 0:
                    break
                is_fast, seconds = part.is_fast, part.seconds
                self._store_full_part(buffer, pipeline, assert_held)
                buffer = self._new_buffer(buffer.number + 1, body, is_fast=is_fast)
                pipeline.before_part(seconds)
        except BaseException:
            buffer.part.close()
            raise
        if part.error is None:
            read_end(body)
        return buffer

    def _new_buffer(self, number: int, body: Body, *, is_fast: bool = False) -> _Buffer:
        """Return a buffer for part `number`.

        The tail belongs to the first part of a request. If the body may fill this part, the buffer
        begins with the tail, which is read from S3. Otherwise the buffer skips the tail.
        """
        state = self._state
        start, skipped = state.plan.start(number), 0
        capacity = state.plan.expected_size(number, state.final_length)
        end = None if body.content_length is None else state.offset + body.content_length
        first_bytes: Iterable[bytes] = ()
        is_first = number == state.parts.count + 1
        tail_size = state.tail_size if is_first else 0
        if tail_size:
            may_fill_part = end is None or end >= start + capacity
            if may_fill_part:
                first_bytes = state.tail.read()
            else:
                skipped = tail_size
        expected = None if end is None else end - start - skipped
        part = state.context.spool.part(capacity - skipped, expected, first_bytes, is_fast=is_fast)
        return _Buffer(number, skipped, part)

    def _store_full_part(
        self, buffer: _Buffer, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> None:
        """Store a full part: with PutObject if it is the only part, else with UploadPart."""
        number, part = buffer.number, buffer.part
        if buffer.skipped:
            raise AssertionError("the tail is missing")  # not `assert`, which -O removes
        if self._state.record.is_one_part:
            with part:
                self._assembler.put_object(part.payload(), assert_held)
            self._state.parts.add([Part(number, part.size, "")])
            return
        if self._state.record.multipart is None:
            self._state.create_multipart(assert_held)
        pipeline.submit(number, part)

    def _write_tail(self, rest: _Buffer, assert_held: AssertHeld) -> None:
        """Write the rest of the body as the tail, after all parts before it are confirmed (D-04).

        A tail whose bytes are now in a part is not deleted here: if S3 carried out the DELETE late,
        it would delete the next tail. The old tail no longer counts (D-02), and stays until the
        next tail replaces it or the upload is complete.
        """
        state = self._state
        start = state.parts_end
        position = start + rest.skipped
        end = position + rest.part.size
        has_new_bytes = end > start + state.tail_size
        if has_new_bytes:
            if not state.info_object.exists:
                state.info_object.write(state.record, assert_held)
            if not state.record.has_numbered_tails:
                state.number_tails_if_needed(assert_held)
            assert_held()
            state.tail.write(state.tail_layout, position, rest.part)
        state.offset = end

    def _record_parts(self, assert_held: AssertHeld) -> None:
        """Record how many parts are stored, from time to time, so that no request lists all parts.

        The parts are confirmed and never change (D-01), so a record that S3 writes late is true
        too. One S3 call for each `RECORD_INTERVAL` parts.
        """
        state = self._state
        if state.is_assembled or state.offset == state.record.info.length:
            return  # the completion is next
        state.parts.trim()
        count = state.parts.count
        if count - state.record.confirmed_parts >= RECORD_INTERVAL:
            state.write_record(replace(state.record, confirmed_parts=count), assert_held)
