"""How a file is made of others: which of their bytes are which of its parts. Integers only, no I/O.

The parts are those of the ordinary plan for the whole length (`tus_wsgi.domain.parts`), so they
are legal wherever the seams between the sources lie: sources may be tiny, empty, or larger than
any part.

Sizes and offsets are in bytes; sources are numbered from 0, parts from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import PartPlan

COPY_RANGE_FROM = 5 * MIB
"""A source must be larger than this for a range of it to be copied: "You can copy a range only if
the source object is greater than 5 MB", see
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes of source `source` from `start` up to and without `stop`."""

    source: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ConcatPart:
    """Part `number` of the whole: `slices` behind each other, none of them empty."""

    number: int
    slices: tuple[Slice, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(slice.size for slice in self.slices)


def concat_parts(lengths: Sequence[int], plan: PartPlan) -> Iterator[ConcatPart]:
    """The parts of the whole in their order; none where there is not one byte.

    Args:
        lengths: bytes of the sources, in their order.
        plan: which bytes of the whole are which part.
    """
    source = start = 0
    left = sum(lengths)
    number = 1
    while left:
        missing = min(plan.size(number), left)
        left -= missing
        slices: list[Slice] = []
        while missing:
            stop = min(start + missing, lengths[source])
            if stop > start:
                slices.append(Slice(source, start, stop))
                missing -= stop - start
            source, start = (source + 1, 0) if stop == lengths[source] else (source, stop)
        yield ConcatPart(number, tuple(slices))
        number += 1


def copyable_slice(splice: ConcatPart, lengths: Sequence[int]) -> Slice | None:
    """The slice that the store can copy by itself to make this part; None if it has to be sent.

    A part across a seam has several slices, and no service joins them. A small source can only be
    copied whole.
    """
    if len(splice.slices) != 1:
        return None
    (slice,) = splice.slices
    length = lengths[slice.source]
    return slice if slice.size == length or length > COPY_RANGE_FROM else None
