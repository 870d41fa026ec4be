"""`TailChain`: each request writes its own bytes, and no late write makes the offset smaller."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.stores.s3.memory_bucket import MemoryBucket, StoredObject
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.model import GIB, KIB, MIB
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.tail_chain import MAX_SEGMENTS, TailChain, TailLayout, next_slot
from tus_wsgi.stores.s3.tails import TailCache

FILE = random.Random(5).randbytes(5000)

KEYS = ["a.part", *(f"a.part.segment.{number}" for number in range(1, MAX_SEGMENTS))]


class Writer:
    """A process that appends to the tail of an upload.

    Args:
        bucket: the bucket of the tail.
        start: where the parts end.
        file: the upload's bytes.
        memory: bytes that the spool may hold in memory.
        min_segment: the size from which another segment may follow a segment.
        is_new: whether the upload is new, so that nothing is looked up.
    """

    def __init__(
        self,
        bucket: MemoryBucket,
        start: int = 0,
        *,
        file: bytes = FILE,
        memory: int = 10**6,
        min_segment: int = 0,
        is_new: bool = False,
    ) -> None:
        self.start = start
        self._min_segment = min_segment
        self._file = file
        self._spool = Spool(memory)
        self.tail = TailChain(bucket, KEYS[0], TailCache(10**6), self._spool)
        if is_new:
            self.tail.note_absent()
        else:
            self.tail.load()
            self.tail.load_rest(self._layout)

    @property
    def _layout(self) -> TailLayout:
        return TailLayout(self.start, default_start=0, min_segment=self._min_segment)

    @property
    def offset(self) -> int:
        return self.start + self.tail.size_at(self.start)

    def append(self, size: int, *, has_tail: bool = False) -> None:
        """Append the next bytes. With `has_tail`, the buffer begins with the tail."""
        position, end = self.start if has_tail else self.offset, self.offset + size
        with self._spool.part(10**6, None, [self._file[position:end]]) as part:
            self.tail.write(self._layout, position, part)

    def read(self) -> bytes:
        return b"".join(self.tail.read())


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


def sizes(bucket: MemoryBucket) -> list[int]:
    """Return the sizes of the segments in all slots, without their seals."""
    stored = [bucket.objects[key] for key in KEYS if key in bucket.objects]
    return [len(each.content) - int(each.metadata.get("seal", "0")) for each in stored]


# -- which slot is written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "slot"),
    [
        ([], 0),
        ([5], 1),
        ([1] * 7, 7),
        ([1] * 8, 6),
        ([9, 8, 7, 6, 5, 4, 3, 2], 5),
        ([128, 64, 32, 16, 8, 4, 2, 1], 7),
        ([128, 64, 32, 16, 8, 4, 2, 2], 6),
        ([127, 64, 32, 16, 8, 4, 2, 1], 0),
        ([1, 64, 32, 16, 8, 4, 2, 1], 0),
    ],
)
def test_the_sizes_of_the_segments_decide_which_slot_is_written(
    sizes: Sequence[int], slot: int
) -> None:
    assert next_slot(sizes, 0) == slot


@pytest.mark.parametrize(
    ("sizes", "slot"), [([9], 0), ([10], 1), ([10, 9], 1), ([10] * 7, 7), ([*[10] * 7, 9], 7)]
)
def test_a_small_segment_is_replaced(sizes: Sequence[int], slot: int) -> None:
    """To replace a segment costs less than another object."""
    assert next_slot(sizes, 10) == slot


def test_only_segments_of_at_least_the_smallest_size_are_followed_by_others() -> None:
    """A part of the default size is stored in 256 segments, which are merged a few times."""
    assert TailLayout.of(PartPlan(16 * MIB), 5) == TailLayout(5, 0, 64 * KIB)
    assert TailLayout.of(PartPlan(5 * MIB, bytes_before=3), 5) == TailLayout(5, 3, 20 * KIB)
    assert TailLayout.of(PartPlan(GIB), 5) == TailLayout(5, 0, 64 * KIB)
    assert TailLayout.of(PartPlan(100), 5) == TailLayout(5, 0, 0)
    assert TailLayout.of(None, 5) == TailLayout(5, 5, sys.maxsize)


@pytest.mark.parametrize(
    ("requests", "times"), [(8, 1.0), (17, 2.3), (64, 3.4), (256, 4.4), (16384, 11.0)]
)
def test_each_byte_is_written_a_few_times(requests: int, times: float) -> None:
    """Whole tails would write it requests / 2 times."""
    sizes: list[int] = []
    written = 0
    for _ in range(requests):
        slot = next_slot(sizes, 0)
        sizes = [*sizes[:slot], sum(sizes[slot:]) + 1]
        written += sizes[-1]
    assert written / requests <= times


def test_a_request_writes_only_its_own_bytes_until_all_slots_are_in_use(
    bucket: MemoryBucket,
) -> None:
    writer = Writer(bucket, is_new=True)
    for number in range(MAX_SEGMENTS):
        writer.append(10)
        assert sizes(bucket) == [10] * (number + 1)
    assert bucket.calls == [f"PUT {key}" for key in KEYS]
    writer.append(10)
    assert sizes(bucket) == [*[10] * 6, 30, 10]
    assert Writer(bucket).offset == 90
    assert Writer(bucket).read() == FILE[:90]


@pytest.mark.parametrize("memory", [0, 10**6], ids=["on disk", "in memory"])
@pytest.mark.parametrize("has_tail", [False, True])
@pytest.mark.parametrize("is_cold", [False, True])
def test_the_segments_are_the_bytes_of_the_file(
    bucket: MemoryBucket, memory: int, *, has_tail: bool, is_cold: bool
) -> None:
    """D-04: a segment contains the bytes of those that it replaces."""
    writer = Writer(bucket, memory=memory, is_new=True)
    for size in (7, 1, 50, 3, 3, 400, 20, 1, 9, 2, 4, 400, 1, 1, 1, 30):
        end = writer.offset + size
        writer.append(size, has_tail=has_tail)
        assert writer.offset == end
        if is_cold:
            writer = Writer(bucket, memory=memory)
        assert (writer.offset, writer.read()) == (end, FILE[:end])


# -- which segments count --------------------------------------------------------------------------


def test_segments_of_an_earlier_part_do_not_count(bucket: MemoryBucket) -> None:
    """D-02: their slots are reused."""
    writer = Writer(bucket, is_new=True)
    for _ in range(3):
        writer.append(10)
    assert Writer(bucket, 100).offset == 100
    writer.start = 100
    writer.append(5)
    assert sizes(bucket) == [5, 10, 10]
    assert Writer(bucket, 100).offset == 105
    writer.append(6)
    assert (sizes(bucket), Writer(bucket, 100).offset) == ([5, 6, 10], 111)
    assert Writer(bucket, 100).read() == FILE[100:111]


def test_a_segment_after_a_gap_does_not_count(bucket: MemoryBucket) -> None:
    """D-02: another program has deleted slot 1."""
    writer = Writer(bucket, is_new=True)
    for _ in range(3):
        writer.append(10)
    bucket.delete(KEYS[1])
    assert Writer(bucket).offset == 10


def test_the_tail_of_tusd_counts_and_is_continued(bucket: MemoryBucket) -> None:
    """D-02: it does not record its start."""
    bucket.objects[KEYS[0]] = StoredObject(FILE[:10])
    Writer(bucket).append(5)
    assert (Writer(bucket).offset, Writer(bucket).read()) == (15, FILE[:15])
    assert Writer(bucket, 20).offset == 20


# -- calls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", range(MAX_SEGMENTS + 1))
def test_a_look_up_takes_a_call_for_each_segment_and_one(
    bucket: MemoryBucket, segments: int
) -> None:
    writer = Writer(bucket, is_new=True)
    for _ in range(segments):
        writer.append(10)
    bucket.calls.clear()
    writer = Writer(bucket)
    assert bucket.calls == [f"GET {key}" for key in KEYS[: segments + 1]]
    bucket.calls.clear()
    writer.append(1)
    writes = [call for call in bucket.calls if not call.startswith("READ")]
    assert len(writes) == 1


def test_small_segments_are_rewritten_and_take_no_look_up(bucket: MemoryBucket) -> None:
    for count in range(1, 11):
        bucket.calls.clear()
        Writer(bucket, min_segment=10).append(1)
        assert [call for call in bucket.calls if "READ" not in call] == ["GET a.part", "PUT a.part"]
        assert sizes(bucket) == [count]
    Writer(bucket, min_segment=10).append(1)
    assert sizes(bucket) == [10, 1]
    assert Writer(bucket, min_segment=10).read() == FILE[:11]


def test_stale_segments_are_not_looked_up(bucket: MemoryBucket) -> None:
    writer = Writer(bucket, is_new=True)
    writer.append(10)
    writer.append(10)
    bucket.calls.clear()
    writer = Writer(bucket, 100)
    writer.append(10)
    assert bucket.calls == ["GET a.part", "PUT a.part"]
    writer.append(10)
    assert bucket.calls[2:] == ["GET a.part.segment.1", "PUT a.part.segment.1"]
    writer.append(10)
    assert bucket.calls[4:] == ["GET a.part.segment.2", "PUT a.part.segment.2"]
    writer.append(10)
    assert bucket.calls[6:] == ["PUT a.part.segment.3"]


def test_a_process_does_not_read_the_segments_that_it_wrote(bucket: MemoryBucket) -> None:
    writer = Writer(bucket, is_new=True)
    for _ in range(20):
        writer.append(10)
    assert writer.read() == FILE[:200]
    assert [call for call in bucket.calls if not call.startswith("PUT")] == []
    writer.tail.discard_cached()
    assert writer.read() == FILE[:200]
    assert bucket.calls[-1].startswith("READ")


def test_the_end_of_the_upload_deletes_all_slots_from_the_last(bucket: MemoryBucket) -> None:
    writer = Writer(bucket, is_new=True)
    for _ in range(3):
        writer.append(10)
    cold = Writer(bucket, 100)
    bucket.calls.clear()
    cold.tail.delete()
    looked_up, deleted = KEYS[1:4], reversed(KEYS[:3])
    assert bucket.calls == [*(f"GET {key}" for key in looked_up), *(f"DELETE {k}" for k in deleted)]
    assert bucket.objects == {}
    assert not cold.tail.exists


@pytest.mark.parametrize(("start", "looks_up"), [(0, False), (100, True)])
def test_a_small_tail_of_the_first_part_is_deleted_without_a_look_up(
    bucket: MemoryBucket, start: int, *, looks_up: bool
) -> None:
    """An earlier part may have used the next slots."""
    writer = Writer(bucket, min_segment=10, is_new=True)
    writer.start = start
    writer.append(5)
    writer = Writer(bucket, start, min_segment=10)
    bucket.calls.clear()
    writer.tail.delete()
    assert ("GET a.part.segment.1" in bucket.calls) == looks_up


def test_a_failed_deletion_is_continued(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-13: what is left has no gap."""
    writer = Writer(bucket, is_new=True)
    for _ in range(4):
        writer.append(10)
    delete, left = bucket.delete, 2

    def fail(key: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreUnavailable("DeleteObject")
        delete(key)

    monkeypatch.setattr(bucket, "delete", fail)
    with pytest.raises(StoreUnavailable):
        writer.tail.delete()
    monkeypatch.undo()
    assert list(bucket.objects) == KEYS[:2]
    Writer(bucket).tail.delete()
    assert bucket.objects == {}


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_termination_leaves_only_the_tombstone(bucket: MemoryBucket, *, is_loaded: bool) -> None:
    writer = Writer(bucket, is_new=True)
    for _ in range(3):
        writer.append(10)
    tail = TailChain(bucket, KEYS[0], TailCache(0), Spool(0))
    if is_loaded:
        tail.load()
    bucket.calls.clear()
    tail.write_tombstone()
    assert list(bucket.objects) == KEYS[:1]
    assert bucket.objects[KEYS[0]] == StoredObject(b"", {"terminated": "true"})
    assert bucket.calls == [
        "PUT a.part",
        *(f"GET {key}" for key in KEYS[1:4]),
        *(f"DELETE {key}" for key in (KEYS[2], KEYS[1])),
    ]
    tail.load()
    assert tail.is_terminated


# -- late writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", range(MAX_SEGMENTS + 3))
@pytest.mark.parametrize("is_first", [False, True])
def test_a_late_segment_competes_with_the_next_one(
    bucket: MemoryBucket, segments: int, *, is_first: bool
) -> None:
    """D-11: the client repeats its bytes after a write without a response, with other limits."""
    writer = Writer(bucket, is_new=True)
    for _ in range(segments):
        writer.append(10)
    bucket.delays_next = True
    with pytest.raises(StoreUnavailable):
        writer.append(3)
    successor = Writer(bucket)
    assert successor.offset == 10 * segments
    if is_first:
        bucket.late.pop()()
        with pytest.raises((LockLost, StoreUnavailable)):  # it may notice while it reads
            successor.append(20)
        assert Writer(bucket).offset == 10 * segments + 3
    else:
        successor.append(20)
        with pytest.raises(LockLost):
            bucket.late.pop()()
        assert Writer(bucket).offset == 10 * segments + 20
    assert Writer(bucket).read() == FILE[: Writer(bucket).offset]


PART = 60

MODES = st.sampled_from(["done", "done", "done", "late", "lost", "refused"])


class ChainMachine(RuleBasedStateMachine):
    """Any sequence of requests, lost responses, late writes and holders that lost their lock.

    The model is the file, and the offset that the server has acknowledged.
    """

    @initialize(is_random=st.booleans(), min_segment=st.sampled_from([0, 0, 4]))
    def begin(self, min_segment: int, *, is_random: bool) -> None:
        self.min_segment = min_segment
        # The ETags of an upload of zeros repeat, if not for the seals.
        self.file = FILE if is_random else bytes(len(FILE))
        self.bucket = MemoryBucket()
        self.acknowledged = 0
        self.parts_end = 0
        # The process of the last request, which knows the tail without a look-up.
        self.warm: Writer | None = self._writer(is_new=True)
        self.frozen: list[Writer] = []
        self.has_woken = False  # since the offset was last looked up

    def _writer(self, *, is_new: bool = False) -> Writer:
        return Writer(
            self.bucket,
            self.parts_end,
            file=self.file,
            min_segment=self.min_segment,
            is_new=is_new,
        )

    def _next_writer(self, *, is_warm: bool) -> Writer:
        """Return the process of the next request: with `is_warm`, that of the last one."""
        writer = self.warm if is_warm else None
        self.warm = None
        if writer is None:
            return self._writer()
        # A holder that wakes up does not tell its successor.
        assert self.has_woken or writer.offset >= self.acknowledged
        return writer

    @rule(
        size=st.integers(1, 9),
        mode=MODES,
        is_warm=st.booleans(),
        has_tail=st.booleans(),
    )
    def append(self, size: int, mode: str, *, is_warm: bool, has_tail: bool) -> None:
        """Append bytes to the tail. The write is late, its response is lost, or it succeeds."""
        writer = self._next_writer(is_warm=is_warm)
        offset = writer.offset
        size = min(size, writer.start + PART - 1 - offset)
        if size <= 0 or mode == "refused":
            return
        self.bucket.delays_next = mode in {"late", "lost"}
        with suppress(LockLost, StoreUnavailable):
            writer.append(size, has_tail=has_tail)
            self.acknowledged = max(self.acknowledged, offset + size)
            self.warm = writer
        self.bucket.delays_next = False
        if mode == "lost" and self.bucket.late:
            self._arrive(len(self.bucket.late) - 1)

    @rule(is_warm=st.booleans(), size=st.integers(1, 9), ends_with_part=st.booleans())
    def complete_part(self, size: int, *, is_warm: bool, ends_with_part: bool) -> None:
        """Complete a part, and write `size` more bytes unless the body ends with the part.

        The part itself is not written, because only its end matters to the tail.
        """
        writer = self._next_writer(is_warm=is_warm)
        end = writer.start + PART
        try:
            assert writer.read() == self.file[writer.start : writer.offset]
        except StoreUnavailable:
            return  # a late write has replaced a segment since the look-up
        self.parts_end = max(self.parts_end, end)
        self.acknowledged = max(self.acknowledged, end)
        if not ends_with_part:
            writer.start = end
            with suppress(LockLost, StoreUnavailable):
                writer.append(size)
                self.acknowledged = max(self.acknowledged, end + size)
                self.warm = writer

    @precondition(lambda self: self.bucket.late)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        self._arrive(data.draw(st.integers(0, len(self.bucket.late) - 1)))

    def _arrive(self, index: int) -> None:
        with suppress(LockLost):
            self.bucket.late.pop(index)()

    @rule()
    def freeze(self) -> None:
        """Stop a holder after its look-up. The lock passes on to its successors."""
        self.warm = None
        self.frozen.append(self._writer())

    @precondition(lambda self: self.frozen)
    @rule(data=st.data(), size=st.integers(1, 9), completes_part=st.booleans())
    def wake(self, data: st.DataObject, size: int, *, completes_part: bool) -> None:
        """Let a frozen holder write its tail, although it has lost the lock."""
        writer = self.frozen.pop(data.draw(st.integers(0, len(self.frozen) - 1)))
        self.has_woken = True
        if completes_part:
            writer.start += PART
            self.parts_end = max(self.parts_end, writer.start)
        offset = writer.offset
        size = min(size, writer.start + PART - 1 - offset)
        if size > 0:
            with suppress(LockLost, StoreUnavailable):
                writer.append(size)
                self.acknowledged = max(self.acknowledged, offset + size)

    @invariant()
    def the_offset_never_decreases(self) -> None:
        """D-03."""
        if not hasattr(self, "file"):
            return
        writer = self._writer()
        assert writer.offset >= self.acknowledged
        assert writer.read() == self.file[self.parts_end : writer.offset]


ChainMachine.TestCase.settings = settings(max_examples=60)
TestChain = pytest.mark.property(ChainMachine.TestCase)


def test_a_stale_segment_after_a_small_one_is_found(bucket: MemoryBucket) -> None:
    """After a merge, the last slots are stale. They neither block a write nor outlive the tail."""
    writer = Writer(bucket, min_segment=10, is_new=True)
    for size in [10] * (MAX_SEGMENTS + 3) + [1]:
        writer.append(size)
    assert sizes(bucket)[-3:] == [60, 1, 10]
    reader = Writer(bucket, min_segment=10)
    for _ in range(2):
        reader.append(10)
    assert Writer(bucket, min_segment=10).offset == writer.offset + 20


def test_a_stale_segment_after_a_small_one_is_deleted(bucket: MemoryBucket) -> None:
    writer = Writer(bucket, min_segment=10, is_new=True)
    for size in [10] * (MAX_SEGMENTS + 3) + [1]:
        writer.append(size)
    Writer(bucket, min_segment=10).tail.delete()
    assert bucket.objects == {}
