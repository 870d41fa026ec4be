"""`S3Upload`: how far an upload in S3 is, and each step from its first byte to its object.

The rules that keep bytes safe:

- The offset is the parts 1, 2, ... without a gap, and the tail if it begins exactly behind them.
- A tail is replaced or removed only after the part that swallowed it is confirmed.
- What lies behind a gap counts for nothing, and neither does a tail of another start.
- The record says `finished` only after the object is there and has the right size.
- Every write is preceded by a look at the lock, and writes to the record and the tail happen only
  if nobody else has written (where the service knows conditional writes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from tus_wsgi.errors import UploadGone, UploadUnfinished
from tus_wsgi.model import State, UploadInfo
from tus_wsgi.parts import Part, contiguous
from tus_wsgi.ports import Body
from tus_wsgi.spool import Spool, SpooledPart
from tus_wsgi.stores.s3.bucket import Absent, Bucket, Condition, Payload
from tus_wsgi.stores.s3.content import S3Content
from tus_wsgi.stores.s3.headers import ObjectHeaders
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.pipeline import PartPipeline
from tus_wsgi.stores.s3.record import Record, encode
from tus_wsgi.stores.s3.tails import TailCache, TailObject

AssertHeld = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all uploads of a store share."""

    bucket: Bucket
    keys: Keys
    spool: Spool
    executor: Executor
    tails: TailCache


class S3Upload:
    """One upload in S3. It implements `tus_wsgi.ports.Upload`.

    Args:
        shop: what all uploads share.
        record: the upload as its info object describes it, or is going to.
        headers: of its data object.
        etag: the info object's; None when it has not been written yet.
    """

    def __init__(
        self, shop: Workshop, record: Record, headers: ObjectHeaders, *, etag: str | None = None
    ) -> None:
        self._shop = shop
        self._record = record
        self._headers = headers
        self._etag = etag
        self._offset = record.info.offset if record.info.is_finished else 0
        self._run: list[Part] = []
        self._tail = TailObject(shop.bucket, shop.keys.tail(record.info.id), shop.tails)
        self._is_assembled = record.info.is_finished
        self._made_here = False

    @property
    def info(self) -> UploadInfo:
        """What is known of the upload."""
        return replace(self._record.info, offset=self._offset)

    @property
    def storage(self) -> Mapping[str, str]:
        """The type of the store, the bucket, and the data object's key."""
        return self._record.storage

    # -- how far it is ---------------------------------------------------------------------------

    def measure(self) -> None:
        """Find out how many bytes are stored. At most two S3 calls, and one for 1,000 parts.

        Raises:
            UploadGone: the multipart upload is gone, and there is no object of the right size.
            StoreUnavailable: S3 did not answer.
        """
        if self._is_assembled:
            return
        if self._was_assembled_elsewhere():
            self._note_object()
            return
        self._tail.look()
        self._offset = self._base + self._tail.size_at(self._base)

    @property
    def _base(self) -> int:
        """Where the parts end and a tail has to begin."""
        if not self._run:
            return 0
        last = self._run[-1]
        return self._record.plan.start(last.number) + last.size

    def _was_assembled_elsewhere(self) -> bool:
        """List the parts, and notice when they have become an object meanwhile."""
        record = self._record
        if record.multipart is None:
            # One part is one object, and only a record in this state was written before it.
            return record.info.state is State.FINISHING and self._has_whole_object()
        try:
            listed = self._shop.bucket.list_parts(record.key, record.multipart)
        except Absent:
            if self._has_whole_object():
                return True
            raise UploadGone("the parts of this upload were removed from the store") from None
        self._run = contiguous(record.plan, record.info.length, listed)
        return False

    def _has_whole_object(self) -> bool:
        try:
            facts = self._shop.bucket.head(self._record.key)
        except Absent:
            return False
        return facts.size == self._record.info.length

    # -- the record ------------------------------------------------------------------------------

    def open_multipart(self) -> None:
        """Begin the multipart upload and record it; on failure nothing of it is left.

        Raises:
            StoreUnavailable: S3 did not answer.
        """
        bucket, record = self._shop.bucket, self._record
        multipart = bucket.create_multipart(
            record.key,
            content_type=self._headers.content_type,
            metadata=self._headers.metadata,
        )
        self._record = replace(record, multipart=multipart)
        try:
            self.write_record()
        except BaseException:
            self._record = record
            bucket.abort(record.key, multipart)
            raise

    def write_record(self) -> None:
        """Write the info object, if nobody else has written it meanwhile.

        Raises:
            LockLost: somebody has.
            StoreUnavailable: S3 did not answer.
        """
        self._etag = self._shop.bucket.put(
            self._shop.keys.info(self._record.info.id),
            encode(self._record),
            content_type="application/json",
            condition=None if self._etag is None else Condition(self._etag),
        )

    def declare_length(self, length: int) -> None:
        """Record the length of an upload that was begun without one. One S3 call."""
        record = self._record
        self._record = replace(record, info=replace(record.info, length=length))
        try:
            self.write_record()
        except BaseException:
            self._record = record
            raise

    # -- bytes -----------------------------------------------------------------------------------

    def append(self, body: Body, assert_held: AssertHeld) -> None:
        """Store the body behind what is there: full parts as parts, the rest as the tail.

        Raises:
            LockLost: the upload is somebody else's now.
            StoreUnavailable: something could not be stored.
        """
        if self._is_assembled:
            _read_end(body)
            return

        def upload(number: int, part: SpooledPart) -> Part:
            assert_held()
            return self._upload_part(number, part)

        with PartPipeline(self._shop.executor, upload) as pipeline:
            number, part = self._receive(body, pipeline, assert_held)
            with part:
                self._run += pipeline.wait()
                self._settle_tail(number, part, assert_held)
        if self._etag is None:
            self.write_record()

    def _receive(
        self, body: Body, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> tuple[int, SpooledPart]:
        """Read the body to its end, handing on each part that is full; returns the last one."""
        number = len(self._run) + 1
        part = self._begin_part(number, body)
        while True:
            try:
                part.fill(body)
            except BaseException:
                part.close()
                raise
            if not part.is_full or part.capacity == 0:
                break
            self._hand_on(number, part, pipeline, assert_held)
            number += 1
            part = self._begin_part(number, body)
        _read_end(body)
        return number, part

    def _begin_part(self, number: int, body: Body) -> SpooledPart:
        """An empty part; or, where there is a tail to go on from, one that begins with it."""
        capacity = self._record.plan.expected_size(number, self._record.info.length)
        begun = self._tail.size_at(self._record.plan.start(number))
        expected = None if body.announced is None else begun + body.announced
        part = self._shop.spool.part(capacity, expected)
        if begun:
            part.write(self._tail.read())
        return part

    def _hand_on(
        self, number: int, part: SpooledPart, pipeline: PartPipeline, assert_held: AssertHeld
    ) -> None:
        """Store a full part: as the object itself if it is all there is, else as a part."""
        if self._is_one_part:
            with part:
                assert_held()
                self._put_object(part.content())
            self._run = [Part(number, part.size, "")]
            return
        if self._record.multipart is None:
            assert_held()
            self.open_multipart()
        pipeline.submit(number, part)

    @property
    def _is_one_part(self) -> bool:
        record = self._record
        length = record.info.length
        return record.multipart is None and length is not None and length <= record.plan.part_size

    def _upload_part(self, number: int, part: SpooledPart) -> Part:
        assert self._record.multipart is not None
        try:
            etag = self._shop.bucket.upload_part(
                self._record.key, self._record.multipart, number, part.content()
            )
        except Absent as error:
            raise UploadGone("the parts of this upload were removed from the store") from error
        return Part(number, part.size, etag)

    def _settle_tail(self, number: int, part: SpooledPart, assert_held: AssertHeld) -> None:
        """Write what does not fill a part as the tail; every part before it is confirmed."""
        if self._is_assembled:
            # Until the record says so, the tail is all that anybody else knows of these bytes.
            return
        if part.size > self._tail.size_at(self._base):
            assert_held()
            if self._etag is None:
                self.write_record()
            self._tail.write(self._record.plan.start(number), part)
        elif part.size == 0 and self._tail.exists and self._run:
            assert_held()
            self._tail.delete()
        self._offset = self._base + part.size

    # -- the end ---------------------------------------------------------------------------------

    def assemble(self) -> bool:
        """Make the data object; returns whether this instance made it.

        Raises:
            UploadGone: the parts are gone, or what S3 made of them is not what was sent.
            StoreUnavailable: S3 did not answer.
        """
        assert self.info.is_full
        if self._is_assembled:
            return self._made_here
        tail = self._tail.read() if self._tail.size_at(self._base) else b""
        if self._is_one_part:
            self._put_object(tail)
        else:
            self._complete(tail)
        return self._made_here

    def _put_object(self, content: Payload) -> None:
        """Write the data object in one piece."""
        if self._etag is None:
            # Whoever finds this record looks for the object itself, so it need not be written again.
            self._record = self._record.at(State.FINISHING)
            self.write_record()
        self._shop.bucket.put(
            self._record.key,
            content,
            content_type=self._headers.content_type,
            metadata=self._headers.metadata,
        )
        self._made_here = True
        self._note_object()

    def _complete(self, tail: bytes) -> None:
        """Make the data object out of the parts, and of the tail if it is the last of them."""
        bucket, key, multipart = self._shop.bucket, self._record.key, self._record.multipart
        assert multipart is not None
        parts = list(self._run)
        if tail:
            number = len(parts) + 1
            parts.append(Part(number, len(tail), bucket.upload_part(key, multipart, number, tail)))
        assert sum(part.size for part in parts) == self._record.info.length
        try:
            bucket.complete(key, multipart, parts)
            self._made_here = True
        except Absent:
            # Perhaps this was done before and the answer was lost: the object tells.
            pass
        if not self._has_whole_object():
            raise UploadGone("the parts of this upload were removed from the store")
        self._note_object()

    def _note_object(self) -> None:
        self._is_assembled = True
        self._offset = self._record.info.length or 0

    def finish(self, *, lazily: bool) -> None:
        """Record that the upload is finished; then its tail is of no use any more.

        Raises:
            LockLost, StoreUnavailable: it is not recorded. Whoever looks next does it again.
        """
        if lazily and self._record.info.state is State.FINISHING:
            return
        if self._record.info.is_finished:
            return
        self._record = self._record.at(State.FINISHED)
        self.write_record()
        if self._tail.exists:
            self._tail.delete()

    def terminate(self) -> None:
        """Remove the upload. The record goes last, so that what failed can be tried again.

        Raises:
            StoreUnavailable: something is left.
        """
        bucket, record = self._shop.bucket, self._record
        if record.multipart is not None and not record.info.is_finished:
            bucket.abort(record.key, record.multipart)
        self._tail.delete()
        bucket.delete(record.key)
        bucket.delete(self._shop.keys.info(record.info.id))

    def content(self) -> S3Content:
        """The bytes of the data object. One S3 call here and one for each reading.

        Raises:
            UploadUnfinished: there is no such object yet.
            UploadGone: somebody removed the object.
            StoreUnavailable: S3 did not answer.
        """
        if not self._is_assembled:
            raise UploadUnfinished
        try:
            facts = self._shop.bucket.head(self._record.key)
        except Absent as error:
            raise UploadGone("the file was removed from the store") from error
        return S3Content(self._shop.bucket, self._record.key, facts)


def _read_end(body: Body) -> None:
    """Let the body learn that it has ended, which it does from a read behind its last byte."""
    count = body.readinto(memoryview(bytearray(1)))
    assert count == 0
