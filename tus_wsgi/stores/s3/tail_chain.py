"""`TailChain`: a tail that grows without rewriting what is already stored.

A request that ends inside a part writes only its own bytes, as a **segment**: an object that
records its start. The segments of an upload have up to `MAX_SEGMENTS` keys, called slots. Slot 0 is
the `.part` object, which tusd uses too.

1. The tail counts from the end of the parts. Slot 0 counts if it starts there, and each next slot
   counts if it starts where the previous one ends (D-02). All other segments are stale: their bytes
   are in a part or in a larger segment. A stale segment never counts again, because the end of the
   tail only grows.
2. The next write goes to the slot after those that count. If there is no such slot, or if the last
   segment is small, the write merges segments: it replaces a slot and all slots after it by one
   segment, which contains their bytes (D-04). `next_slot` chooses the slot by the sizes of the
   segments alone, so every request that finds these segments writes to the same slot.
3. Each write is conditional on the object, or the absence, that was found in its slot (D-11). So
   a late write and the writes of later requests compete for the same slot, and one of them wins: a
   late write either has true bytes at the end of the tail, or fails, or is stale.

A slot is only written after the slot before it was found or written, and slots are deleted from the
last to the first. So the slots in use have no gap, and every reader finds the last one.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from tus_wsgi.domain.model import KIB
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.keys import segment_key
from tus_wsgi.stores.s3.tails import TailCache, TailObject

MAX_SEGMENTS = 8
"""Maximum objects of one upload's tail. With more objects, a process that has not cached the upload
has to look up more of them. With fewer objects, more bytes are rewritten; see `next_slot`."""

MAX_SMALL_SEGMENT = 64 * KIB
"""Bytes of the largest segment that the next request rewrites. Another object would cost more than
that, because later requests would have to look it up and delete it."""

_COPY_SIZE = 256 * KIB


@dataclass(frozen=True, slots=True)
class TailLayout:
    """Where the tail of an upload is.

    Attributes:
        start: the offset of its first byte: where the parts end.
        default_start: the start of slot 0 if the object does not record its start, as in tusd.
        min_segment: bytes that a segment must have before another segment may follow it. Every
            request for the upload must use the same number.
    """

    start: int
    default_start: int
    min_segment: int

    @classmethod
    def of(cls, plan: PartPlan | None, start: int) -> Self:
        """Return the layout after the parts that end at the offset `start`.

        Without a plan, tusd has written the tail: slot 0.
        """
        if plan is None:
            return cls(start, start, sys.maxsize)
        # A part is stored in 256 writes of this size, which `MAX_SEGMENTS` allows for.
        min_segment = min(MAX_SMALL_SEGMENT, plan.part_size // 256)
        return cls(start, plan.bytes_before, min_segment)


def next_slot(sizes: Sequence[int], min_segment: int) -> int:
    """Return the slot that the next bytes are written to, behind segments of these sizes.

    If the last segment is smaller than `min_segment`, this is its slot. Otherwise it is the next
    slot. If all slots are in use, it is the last slot whose size is at most the sum of all later
    slots; if there is none, it is the last slot. The sizes then fall by a factor of about two from
    slot to slot. So if a part arrives in 17 equal requests, each byte is written 2.3 times; in 256
    requests, 4.3 times; and in 16,384 requests, 11 times.
    """
    if sizes and sizes[-1] < min_segment:
        return len(sizes) - 1
    if len(sizes) < MAX_SEGMENTS:
        return len(sizes)
    after = 0
    for slot in range(MAX_SEGMENTS - 1, -1, -1):
        if sizes[slot] <= after:
            return slot
        after += sizes[slot]
    return MAX_SEGMENTS - 1


class TailChain:
    """The tail of one upload, on a service that honours conditional writes.

    Args:
        bucket: the bucket of the objects.
        key: the key of slot 0.
        cache: the process's cache of tails.
        spool: buffers segments that are merged.
    """

    def __init__(self, bucket: Bucket, key: str, cache: TailCache, spool: Spool) -> None:
        self._bucket = bucket
        self._key = key
        self._cache = cache
        self._spool = spool
        self._slots: list[TailObject] = []  # the slots 0, 1, ... that are known to be in use
        self._may_have_more = True  # whether slots after these may be in use
        self._is_terminated = False
        self._start = self._end = 0
        self._count = 0  # slots that count

    @property
    def exists(self) -> bool:
        """Whether any slot was in use when the tail was last loaded or written."""
        return bool(self._slots)

    @property
    def is_terminated(self) -> bool:
        """Whether slot 0 was the tombstone of a terminated upload when it was last loaded."""
        return self._is_terminated

    def note_absent(self) -> None:
        """Note that the upload is new, so no slot is in use."""
        self._may_have_more = False

    def load(self) -> None:
        """Look up slot 0. One S3 call. `load_rest` must follow."""
        slot = self._new_slot(0)
        slot.load()
        self._slots = [slot] if slot.exists else []
        self._may_have_more = slot.exists
        self._is_terminated = slot.is_terminated
        self._start = self._end = self._count = 0

    def load_rest(self, layout: TailLayout) -> None:
        """Look up the segments that count.

        One S3 call for each segment except slot 0, and one to find that no segment follows. No call
        if slot 0 does not count, or is too small for another segment to follow.
        """
        self._begin_at(layout.start)
        while self._count < MAX_SEGMENTS:
            slot = self._find(self._count)
            if slot is None:
                return
            size = slot.size_at(self._end, default_start=layout.default_start)
            if not size:
                return
            self._count += 1
            self._end += size
            if size < layout.min_segment:
                if not self._may_be_stale_after(layout):
                    self._may_have_more = False
                return

    def _may_be_stale_after(self, layout: TailLayout) -> bool:
        """Return whether slots after a last small segment may be in use.

        An earlier part may have used them. In the first part, only a merge can leave such slots. It
        needs all slots in use, so the tail then has at least `MAX_SEGMENTS * min_segment` bytes.
        """
        return layout.start > 0 or self._end >= MAX_SEGMENTS * layout.min_segment

    def size_at(self, offset: int) -> int:
        """Return the size of the tail if it starts exactly at `offset`, else 0 (D-02)."""
        return self._end - self._start if self._start == offset else 0

    def read(self) -> Iterator[bytes]:
        """Yield the tail's bytes in chunks, from the cache or from S3.

        Raises:
            StoreUnavailable: S3 did not answer, or the tail has changed.
        """
        return self._read_from(0)

    def write(self, layout: TailLayout, position: int, part: SpooledPart) -> None:
        """Store the new bytes of `part`. One S3 call in general.

        If all slots are in use, one more for each merged segment that is not in the cache. If a
        stale slot is used that was not looked up, one more.

        Args:
            layout: where the tail is.
            position: the offset of the first byte of `part`: the start, or the end of the tail.
            part: the bytes from `position`. Bytes that are stored already may be dropped from it.

        Raises:
            LockLost: another request has written to the slot.
            StoreUnavailable: S3 did not answer, or the spool is full.
        """
        if layout.start != self._start:
            self._begin_at(layout.start)
        sizes = [slot.size for slot in self._slots[: self._count]]
        number = next_slot(sizes, layout.min_segment)
        content_start = self._end - sum(sizes[number:])
        slot = self._find(number) or self._new_slot(number)
        with self._content(number, position - content_start, part) as content:
            slot.write(content_start, content)
            self._end = content_start + content.size
        self._slots[number : number + 1] = [slot]  # replaces the slot, or appends it
        self._count = number + 1

    def discard_cached(self) -> None:
        """Free the memory of the tail, whose bytes are in a confirmed part or in the object."""
        for slot in self._slots:
            slot.discard_cached()

    def delete(self) -> None:
        """Delete all slots, the last one first, so that a retry finds the others.

        One S3 call for each, and at most one to find that no slot follows.
        """
        self._find_all()
        while self._slots:
            self._slots[-1].delete()
            self._slots.pop()
        self._begin_at(self._start)

    def write_tombstone(self) -> None:
        """Replace slot 0 by the tombstone of a terminated upload, and delete the other slots.

        Two S3 calls for a tail of one segment, and two more for each further segment.
        """
        self._slots = self._slots or [self._new_slot(0)]
        self._slots[0].write_tombstone()
        self._find_all()
        while len(self._slots) > 1:
            self._slots[-1].delete()
            self._slots.pop()
        self._begin_at(self._start)

    def _begin_at(self, start: int) -> None:
        self._start = self._end = start
        self._count = 0

    def _find_all(self) -> None:
        while self._find(len(self._slots)) is not None:
            pass

    def _find(self, number: int) -> TailObject | None:
        """Return the object in a slot; None if there is none.

        One S3 call if the slot was not looked up before.
        """
        if number < len(self._slots):
            return self._slots[number]
        if number == MAX_SEGMENTS or not self._may_have_more:
            return None
        slot = self._new_slot(number)
        slot.load()
        if slot.exists:
            self._slots.append(slot)
            return slot
        self._may_have_more = False
        return None

    def _new_slot(self, number: int) -> TailObject:
        key = segment_key(self._key, number) if number else self._key
        return TailObject(self._bucket, key, self._cache)

    def _read_from(self, number: int) -> Iterator[bytes]:
        return itertools.chain.from_iterable(
            slot.read() for slot in self._slots[number : self._count]
        )

    @contextmanager
    def _content(self, number: int, before: int, part: SpooledPart) -> Iterator[SpooledPart]:
        """Provide the content of a slot: the bytes of merged segments, if any, and the part.

        Args:
            number: the slot.
            before: bytes of merged segments that come before the part. If negative, so many bytes
                of the part are in earlier slots already, and are dropped from it.
            part: the new bytes.
        """
        if before <= 0:
            part.drop_front(-before)
            yield part
            return
        with prepend(self._spool, before, self._read_from(number), part) as content:
            yield content


@contextmanager
def prepend(
    spool: Spool, size: int, before: Iterable[bytes], part: SpooledPart
) -> Iterator[SpooledPart]:
    """Provide a part with `before`, which has `size` bytes, followed by the bytes of `part`.

    Raises:
        StoreUnavailable: `before` could not be read, or the disk is full.
    """
    total = size + part.size
    with spool.part(total, total, itertools.chain(before, _chunks(part))) as whole:
        yield whole


def _chunks(part: SpooledPart) -> Iterator[bytes]:
    buffer = memoryview(bytearray(_COPY_SIZE))
    for start in range(0, part.size, _COPY_SIZE):
        yield bytes(buffer[: part.read_into(buffer, start)])
