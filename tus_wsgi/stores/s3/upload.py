"""`S3Upload`: how far an upload in S3 is, and each step from its first byte to its object.

The rules that keep bytes safe:

- The offset is the parts 1, 2, ... without a gap, and the tail if it begins exactly behind them.
  What lies behind a gap counts for nothing, and neither does a tail of another start.
- A tail is replaced only after the part that swallowed it is confirmed, and removed only when
  every byte is in a part or in the object: no tail is written after that, so no removal is late.
- The record says `finished` only after the object is there and has the right size.
- Every write is preceded by a look at the lock, and the record and the tail are written only if
  nobody else has written them meanwhile (where the service knows conditional writes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from tus_wsgi.domain.errors import UploadGone, UploadIncomplete
from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.model import State, UploadInfo
from tus_wsgi.domain.parts import Part, PartPlan, contiguous, plan_after
from tus_wsgi.spool.part import SpooledPart, read_end
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import ObjectFacts
from tus_wsgi.stores.s3.content import S3Content
from tus_wsgi.stores.s3.context import (
    MAX_CACHED_PARTS,
    PARTS_GONE,
    OnStored,
    StoreContext,
    no_lock_needed,
)
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.headers import object_headers
from tus_wsgi.stores.s3.info import InfoObject
from tus_wsgi.stores.s3.multipart import (
    abort_empty_multipart,
    create_recorded_multipart,
    upload_part,
)
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.tails import TailObject
from tus_wsgi.stores.s3.transfers import PartPipeline


class S3Upload:
    """One upload in S3. It implements `tus_wsgi.domain.interfaces.Upload`.

    Args:
        shop: what all uploads share.
        record: the upload as its info object describes it, or is going to.
        object: the info object.
    """

    def __init__(self, context: StoreContext, record: UploadRecord, object: InfoObject) -> None:
        self._context = context
        self._record = record
        self._info_object = object
        self._headers = object_headers(record.info.metadata)
        self._tail = TailObject(context.bucket, context.keys.tail(record.info.id), context.tails)
        self._parts, self._listed_parts = list[Part](), list[Part]()
        self._offset = record.info.offset if record.info.is_finished else 0
        self._is_assembled, self._assembled_here = record.info.is_finished, False
        self._object_facts: ObjectFacts | None = None  # of the data object, once it was looked at

    @property
    def info(self) -> UploadInfo:
        """What is known of the upload."""
        return replace(self._record.info, offset=self._offset)

    @property
    def storage(self) -> Mapping[str, str]:
        """The type of the store, the bucket, and the data object's key."""
        return self._record.storage

    # -- the record ------------------------------------------------------------------------------

    def create(self, *, record_now: bool) -> None:
        """Write what a new upload needs to be found; with `record_now` in any case.

        Raises:
            StoreUnavailable: S3 did not answer, and nothing is left.
        """
        length, plan = self._record.info.length, self._plan
        if length is not None and length > plan.part_size:
            self._create_multipart(no_lock_needed)
        elif record_now:
            self._info_object.write(self._record, no_lock_needed)

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        """Record the length of an upload that was begun without one. One S3 call."""
        info = replace(self._record.info, length=length, is_open=is_open)
        self._write_record(replace(self._record, info=info).with_expected_state(), assert_held)

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record a later instant at which the upload lapses. One S3 call."""
        info = replace(self._record.info, expires=expires)
        self._write_record(replace(self._record, info=info), assert_held)

    def _write_record(self, record: UploadRecord, assert_held: AssertHeld) -> None:
        self._info_object.write(record, assert_held)
        self._record = record

    def _create_multipart(self, assert_held: AssertHeld) -> None:
        self._record = create_recorded_multipart(
            self._context.bucket, self._info_object, self._record, assert_held
        )

    @property
    def _plan(self) -> PartPlan:
        """Which bytes are which part."""
        assert self._record.plan is not None
        return self._record.plan

    def _assign_plan(self, assert_held: AssertHeld) -> None:
        """Give an upload of tusd's a plan, which has none, for what follows its parts."""
        if self._record.plan is None:
            plan = plan_after(
                self._parts, self._record.info.length, self._context.limits, self._listed_parts
            )
            self._write_record(replace(self._record, plan=plan), assert_held)

    @property
    def _final_length(self) -> int | None:
        """Where the last part ends; None while nobody can say that it is the last one."""
        return None if self._record.info.is_open else self._record.info.length

    # -- how far it is ---------------------------------------------------------------------------

    def load_offset(self) -> None:
        """Find out how many bytes are stored. Two S3 calls, and one more for each 1,000 parts.

        Raises:
            UploadGone: the multipart upload is gone, and there is no object of the right size.
            StoreUnavailable: S3 did not answer.
        """
        if self._is_assembled:
            return
        # A look at the tail at the same time, since neither call needs the other.
        load_tail = self._context.call_executor.submit(self._tail.load)
        try:
            is_whole = self._load_parts()
        finally:
            wait([load_tail])
        load_tail.result()
        if is_whole:
            self._mark_assembled()
        else:
            self._offset = self._parts_end + self._tail_size

    @property
    def _parts_end(self) -> int:
        """Where the parts end and a tail has to begin."""
        return sum(part.size for part in self._parts)

    @property
    def _tail_size(self) -> int:
        """Bytes of the tail that count."""
        plan = self._record.plan
        unrecorded = self._parts_end if plan is None else plan.bytes_before
        return self._tail.size_at(self._parts_end, default_start=unrecorded)

    def _load_parts(self) -> bool:
        """Find the parts that count; returns whether they have become the object already."""
        record = self._record
        if record.multipart is None:
            # One part is one object, and only a record in this state was written before it.
            return record.info.state is State.FINISHING and self._verify_object()
        try:
            listed = self._context.bucket.list_parts(record.key, record.multipart)
        except NotFound:
            if not self._verify_object():
                raise UploadGone(PARTS_GONE) from None
            if record.plan is None:
                # tusd finished it and told whom it had to tell; it just never writes that down.
                self._record = record.with_state(State.FINISHED)
            return True
        self._listed_parts, self._parts = (
            listed,
            contiguous(record.plan, self._final_length, listed),
        )
        return False

    def _verify_object(self) -> bool:
        self._object_facts = self._context.bucket.find(self._record.key)
        return (
            self._object_facts is not None and self._object_facts.size == self._record.info.length
        )

    def _mark_assembled(self) -> None:
        self._is_assembled = True
        self._offset = self._record.info.length or 0

    # -- bytes -----------------------------------------------------------------------------------

    def append(
        self, body: Body, assert_held: AssertHeld, on_stored: OnStored | None = None
    ) -> None:
        """Store the body behind what is there: full parts as parts, the rest as the tail.

        Raises:
            LockLost: the upload is somebody else's now.
            UploadGone: the multipart upload was removed behind our back.
            UploadTooLarge: tusd has used up the part numbers.
            StoreUnavailable: something could not be stored.
        """
        if self._is_assembled:
            read_end(body)
            return
        self._assign_plan(assert_held)

        def upload(number: int, part: SpooledPart) -> Part:
            assert_held()
            return self._upload_part(number, part.payload())

        def stored(parts: list[Part]) -> None:
            if on_stored is not None:
                on_stored(self._parts_end + sum(part.size for part in parts))

        with PartPipeline(self._context.part_executor, upload, stored) as pipeline:
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
        """Read the body to its end, handing on each part that is full; returns the last one.

        A full disk ends the reading too: the last part has what fitted, and its `error`.
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
        """An empty part; or, where there is a tail to go on from, one that begins with it."""
        capacity = self._plan.expected_size(number, self._final_length)
        goes_on = self._tail_size and number == len(self._parts) + 1
        begun = self._tail.read() if goes_on else ()
        end = None if body.content_length is None else self._offset + body.content_length
        expected = None if end is None else end - self._plan.start(number)
        return self._context.spool.part(capacity, expected, begun, is_fast=is_fast)

    def _store_full_part(
        self, number: int, part: SpooledPart, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> None:
        """Store a full part: as the object itself if it is all there is, else as a part."""
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
        """Write what does not fill a part as the tail; every part before it is confirmed.

        A tail that a part has swallowed stays until the next one replaces it, or the end: it counts
        for nothing, and a removal that reaches S3 late would remove the next one.
        """
        if part.size > self._tail_size:
            if not self._info_object.exists:
                self._info_object.write(self._record, assert_held)
            assert_held()
            self._tail.write(self._plan.start(number), part)
        self._offset = self._parts_end + part.size

    # -- the end ---------------------------------------------------------------------------------

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the data object; returns whether this instance made it.

        Raises:
            LockLost: the upload is somebody else's now.
            UploadGone: the parts are gone, or what S3 made of them is not what was sent.
            StoreUnavailable: S3 did not answer.
        """
        assert self.info.is_full
        if not self._is_assembled:
            self._assign_plan(assert_held)
            if self._record.info.length == 0 and self._record.multipart is not None:
                bucket, object = self._context.bucket, self._info_object
                self._record = abort_empty_multipart(bucket, object, self._record, assert_held)
            size = self._tail_size
            with self._context.spool.part(size, size, self._tail.read() if size else ()) as tail:
                if self._record.is_one_part:
                    self._put_object(tail.payload(), assert_held)
                else:
                    self._complete(tail, assert_held)
        return self._assembled_here

    def _put_object(self, payload: Payload, assert_held: AssertHeld) -> None:
        """Write the data object in one piece; before that a record that says it may be there."""
        if not (self._info_object.exists and self._record.info.state is State.FINISHING):
            self._write_record(self._record.with_state(State.FINISHING), assert_held)
        assert_held()
        key, type, metadata = self._record.key, self._headers.content_type, self._headers.metadata
        self._context.bucket.put(key, payload, content_type=type, metadata=metadata)
        self._assembled_here = True
        self._mark_assembled()

    def _complete(self, tail: SpooledPart | None, assert_held: AssertHeld) -> None:
        """Make the data object out of the parts, and of the tail if it is the last of them."""
        bucket, key, multipart = self._context.bucket, self._record.key, self._record.multipart
        assert multipart is not None
        if tail is not None and tail.size:
            assert_held()
            self._parts.append(self._upload_part(len(self._parts) + 1, tail.payload()))
        if self._tail.exists:
            assert_held()
            self._tail.delete()
        if self._parts_end != self._record.info.length:
            raise AssertionError("the parts are not the whole")  # under -O, too
        assert_held()
        # Absent: perhaps this was done before and the answer was lost. The object tells.
        with suppress(NotFound):
            bucket.complete(key, multipart, self._parts)
            self._assembled_here = True
        if not self._verify_object():
            raise UploadGone(PARTS_GONE)
        self._mark_assembled()

    def finish(self, assert_held: AssertHeld, *, may_defer: bool) -> None:
        """Record that the upload is finished, and remove a tail that its object has swallowed.

        Raises:
            LockLost, StoreUnavailable: it is not recorded. Whoever looks next does it again.
        """
        if self._record.info.is_finished:
            return
        if self._tail.exists:
            assert_held()
            self._tail.delete()
        elif may_defer and self._record.info.state is State.FINISHING:
            return
        self._write_record(self._record.with_state(State.FINISHED), assert_held)

    @property
    def is_cacheable(self) -> bool:
        """Whether the next request may go on from here without asking S3 anything."""
        is_running = self._record.plan is not None and not self._is_assembled
        return is_running and len(self._parts) <= MAX_CACHED_PARTS

    def terminate(self, assert_held: AssertHeld) -> None:
        """Remove the upload. The record goes last, so that what failed can be tried again.

        Raises:
            LockLost, StoreUnavailable: something is left.
        """
        bucket, record = self._context.bucket, self._record
        steps: list[Callable[[], None]] = [self._tail.delete]
        if self._owns_object():
            steps.append(partial(bucket.delete, record.key))
        if record.multipart is not None and not record.info.is_finished:
            steps.insert(0, partial(bucket.abort, record.key, record.multipart))
        for remove in (*steps, self._info_object.delete):
            assert_held()
            remove()

    def _owns_object(self) -> bool:
        """Whether what lies at the key can only be this upload's. Where somebody else chose the key
        (tusd's hooks may), there may be an older file of that name until the upload is whole."""
        record = self._record
        if record.info.is_finished or record.key == self._context.keys.data(record.info.id):
            return True
        with suppress(UploadGone):
            return self._is_assembled or self._load_parts()
        return False

    def content(self) -> S3Content:
        """The bytes of the data object. At most one S3 call here and one for each reading.

        Raises:
            UploadUnfinished: there is no such object yet.
            UploadGone: somebody removed the object.
            StoreUnavailable: S3 did not answer.
        """
        if not self._is_assembled:
            raise UploadIncomplete
        return S3Content.of(self._context.bucket, self._record.key, self._object_facts)
