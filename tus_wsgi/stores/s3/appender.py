"""Append a body to an upload: store full parts, and the rest as the tail.

- D-01: part k always has the same bytes: those that the plan says.
- D-03: the offset advances only after S3 has confirmed the bytes.
- D-04: a tail is replaced only after the part that contains its bytes is confirmed.

Every write checks the lock first (D-10).
"""

from __future__ import annotations

from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.part import SpooledPart, read_end
from tus_wsgi.stores.s3.assembler import Assembler
from tus_wsgi.stores.s3.context import OnStored
from tus_wsgi.stores.s3.multipart import upload_part
from tus_wsgi.stores.s3.transfers import PartPipeline
from tus_wsgi.stores.s3.upload_state import UploadState


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
            number, part = self._receive_parts(body, pipeline, assert_held)
            with part:
                state.parts += pipeline.wait()
                if not state.is_assembled:
                    self._write_tail(number, part, assert_held)
                if part.error is not None:
                    raise part.error
        if not state.info_object.exists:
            state.info_object.write(state.record, assert_held)

    def _receive_parts(
        self, body: Body, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> tuple[int, SpooledPart]:
        """Read the body to its end and store each full part; return the rest and its part number.

        If the disk is full, reading ends early: the returned part has the bytes that fitted, and
        its `error` is set.
        """
        number = len(self._state.parts) + 1
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
        state = self._state
        capacity = state.plan.expected_size(number, state.final_length)
        has_tail = state.tail_size and number == len(state.parts) + 1
        first_bytes = state.tail.read() if has_tail else ()
        end = None if body.content_length is None else state.offset + body.content_length
        expected = None if end is None else end - state.plan.start(number)
        return state.context.spool.part(capacity, expected, first_bytes, is_fast=is_fast)

    def _store_full_part(
        self, number: int, part: SpooledPart, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> None:
        """Store a full part: with PutObject if it is the only part, else with UploadPart."""
        if self._state.record.is_one_part:
            with part:
                self._assembler.put_object(part.payload(), assert_held)
            self._state.parts = [Part(number, part.size, "")]
            return
        if self._state.record.multipart is None:
            self._state.create_multipart(assert_held)
        pipeline.submit(number, part)

    def _write_tail(self, number: int, part: SpooledPart, assert_held: AssertHeld) -> None:
        """Write the rest of the body as the tail, after all parts before it are confirmed (D-04).

        A tail whose bytes are now in a part is not deleted here: if S3 carried out the DELETE late,
        it would delete the next tail. The old tail no longer counts (D-02), and stays until the
        next tail replaces it or the upload is complete.
        """
        state = self._state
        if part.size > state.tail_size:
            if not state.info_object.exists:
                state.info_object.write(state.record, assert_held)
            if not state.record.has_numbered_tails:
                state.number_tails_if_needed(assert_held)
            assert_held()
            state.tail.write(state.plan.start(number), part)
        state.offset = state.parts_end + part.size
