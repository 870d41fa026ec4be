"""Plan the parts of an object that is concatenated from other objects, its sources. No I/O.

The parts are those of the part plan for the whole length (`tus_wsgi.domain.parts`), so they have
legal sizes wherever one source ends and the next begins. A source may be empty, or larger than any
part.

Sizes and offsets are in bytes. Sources are numbered from 0, parts from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import PartPlan

MAX_SOURCE_WITHOUT_RANGES = 5 * MIB
"""S3 copies ranges only of larger sources: "You can copy a range only if the source object is
greater than 5 MB", see
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes of a source from `start` to `stop`, exclusive."""

    source: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ConcatPart:
    """Part `number` of the object: the concatenated `slices`, none of which is empty."""

    number: int
    slices: tuple[Slice, ...]

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(slice.size for slice in self.slices)


def concat_parts(lengths: Sequence[int], plan: PartPlan) -> Iterator[ConcatPart]:
    """Yield the parts of the object in order; nothing if it is empty.

    Args:
        lengths: the lengths of the sources, in order.
        plan: the part plan of the whole object.
    """
    source = start = 0  # The next byte is at offset `start` of this source.
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
            if stop < lengths[source]:
                start = stop
            else:
                source, start = source + 1, 0
        yield ConcatPart(number, tuple(slices))
        number += 1


def copyable_slice(part: ConcatPart, lengths: Sequence[int]) -> Slice | None:
    """Return the slice that S3 can copy as the whole part; None if this server must send the bytes.

    S3 cannot concatenate the slices of a part, and copies a small source only as a whole.
    """
    if len(part.slices) != 1:
        return None
    (slice,) = part.slices
    length = lengths[slice.source]
    is_whole_source = slice.size == length
    can_copy_range = length > MAX_SOURCE_WITHOUT_RANGES
    return slice if is_whole_source or can_copy_range else None
