"""Compute which bytes of an upload belong to which part of the S3 multipart upload. No I/O.

**Part k always holds the same bytes** (D-01). The plan is fixed when the upload is created, and
recorded. So a part that is uploaded twice, late, or by a stalled request still holds the same
bytes. Parts may be uploaded in parallel, and uploading a missing part again corrupts nothing.

Sizes and offsets are in bytes. Part numbers begin at 1, as in S3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tus_wsgi.domain.errors import UploadTooLarge
from tus_wsgi.domain.model import GIB, MIB, TIB

MAX_PART_SIZES = 10
"""The maximum number of part sizes in the plan of an upload of unknown length. Each size is twice
the previous one. 1,000 parts of each of the sizes 16 MiB, 32 MiB, ... 4 GiB hold 8 TiB together."""


@dataclass(frozen=True, slots=True)
class PartLimits:
    """The limits of the S3 service for multipart uploads.

    The defaults are those of AWS, see
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html.

    Attributes:
        part_size: the preferred size of every part but the last.
        min_part_size: the smallest size of every part but the last.
        max_part_size: the largest size of a part.
        max_parts: the highest part number.
        max_object_size: the size of the largest object.
    """

    part_size: int = 16 * MIB
    min_part_size: int = 5 * MIB
    max_part_size: int = 5 * GIB
    max_parts: int = 10_000
    max_object_size: int = 5 * TIB

    @property
    def max_length(self) -> int:
        """The length of the longest upload, whether its length is known in advance or not."""
        of_equal_parts = self.max_part_size * self.max_parts
        of_growing_parts = _growing_plan(self).capacity(self.max_parts)
        return min(self.max_object_size, of_equal_parts, of_growing_parts)


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The sizes of the parts, and so the offset where each part begins.

    Attributes:
        part_size: the size of part 1.
        double_every: the number of parts after which the part size doubles; 0 for equal parts.
        doublings: how many times the part size doubles at most.
        parts_before: the number of parts, of any size, that another server (tusd) had uploaded
            before the plan was made. They are never uploaded again, so D-01 holds for them without
            a plan.
        bytes_before: the total size of those parts.
    """

    part_size: int
    double_every: int = 0
    doublings: int = 0
    parts_before: int = 0
    bytes_before: int = 0

    def size(self, number: int) -> int:
        """Return the size of part `number` if the upload does not end within it."""
        return self.part_size << self._step(number - self.parts_before)

    def start(self, number: int) -> int:
        """Return the offset where part `number`, which is greater than `parts_before`, begins."""
        index = number - self.parts_before
        step = self._step(index)
        # The parts of all smaller sizes: 1 + 2 + 4 + ... (`step` terms) is 2 ** step - 1.
        smaller = self.part_size * self.double_every * ((1 << step) - 1)
        same_size = (index - 1 - step * self.double_every) * (self.part_size << step)
        return self.bytes_before + smaller + same_size

    def number_at(self, offset: int) -> int:
        """Return the number of the part that holds the byte at `offset`."""
        step = 0
        first = self.parts_before + 1  # The first part of the size `part_size << step`.
        while step < self.doublings and offset >= self.start(first + self.double_every):
            step += 1
            first += self.double_every
        return first + (offset - self.start(first)) // (self.part_size << step)

    def capacity(self, max_parts: int) -> int:
        """Return the number of bytes that fit into parts 1 to `max_parts`."""
        return self.start(max_parts + 1)

    def expected_size(self, number: int, length: int | None) -> int:
        """Return the size of part `number` in an upload of `length` bytes.

        If the length is None (unknown), every part is full.
        """
        full = self.size(number)
        return full if length is None else max(0, min(full, length - self.start(number)))

    def is_one_part(self, length: int | None) -> bool:
        """Return whether an upload of `length` bytes is one part; False for an unknown length."""
        return length is not None and length <= self.size(1)

    def _step(self, index: int) -> int:
        """Return how often the part size has doubled before the planned part `index`, from 1."""
        if not self.double_every:
            return 0
        return min((index - 1) // self.double_every, self.doublings)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that S3 has stored.

    Attributes:
        number: the part number.
        size: the part's size.
        etag: the ETag, as S3 writes it.
        crc32: the CRC-32, as S3 writes it; None if S3 does not return it.
    """

    number: int
    size: int
    etag: str
    crc32: str | None = None


def plan_for(length: int | None, limits: PartLimits) -> PartPlan:
    """Return the plan of an upload of `length` bytes, or of unknown length if `length` is None.

    An upload of known length gets equal parts of the preferred size, or larger ones if there would
    be too many. An upload of unknown length gets growing parts, so that a small upload has small
    parts and the largest object fits nevertheless.

    Raises:
        UploadTooLarge: the upload does not fit into the largest plan.
    """
    if length is None:
        return _growing_plan(limits)
    if length > limits.max_length:
        raise UploadTooLarge(limits.max_length, length)
    return PartPlan(max(limits.part_size, _divide_up(length, limits.max_parts)))


def plan_after(
    run: list[Part],
    length: int | None,
    limits: PartLimits,
    listed: Iterable[Part] = (),
    *,
    tail_size: int = 0,
) -> PartPlan:
    """Return the plan of the rest of an upload whose parts `run` were uploaded without a plan.

    The first planned part has room for the tail, so no part has another size than the plan says
    (D-01).

    A listed part behind a gap holds unknown bytes, because the missing parts may have had any size.
    So the plan uses a part size that no such part has: `contiguous` then ignores these parts.

    Args:
        run: the parts 1, 2, ... up to the first gap.
        length: the upload's length; None if it is unknown.
        limits: the limits of the service.
        listed: all parts that S3 lists.
        tail_size: the size of the tail after the parts `run`.

    Raises:
        UploadTooLarge: the rest does not fit into the remaining part numbers.
    """
    done = sum(part.size for part in run)
    left = limits.max_parts - len(run)
    if left <= 0:
        raise UploadTooLarge(done, length)
    max_length = limits.max_object_size if length is None else length
    size = max(limits.part_size, tail_size, _divide_up(max_length - done, left))
    plan = PartPlan(size, parts_before=len(run), bytes_before=done)
    others = [part for part in listed if part.number > len(run)]
    while any(part.size == plan.expected_size(part.number, length) for part in others):
        plan = replace(plan, part_size=plan.part_size + 1)
    if plan.part_size > limits.max_part_size:
        raise UploadTooLarge(done + left * limits.max_part_size, length)
    return plan


def contiguous(
    plan: PartPlan | None, length: int | None, listed: Iterable[Part], *, first: int = 1
) -> list[Part]:
    """Return the listed parts from number `first` up to the first gap, in order (D-02).

    Parts behind a gap hold the right bytes, but are ignored and uploaded again. If several entries
    have the same number (SeaweedFS lists a part twice after a lost response), the entry that has
    the size of the plan is used. Without a plan, every size is valid.

    Args:
        plan: the part plan; None for an upload of another server (tusd), which has none yet.
        length: the upload's length; None if it is unknown.
        listed: all parts that S3 lists, in any order.
        first: the number of the first part to return.
    """

    def fits(part: Part) -> bool:
        if plan is None or part.number <= plan.parts_before:
            return part.size > 0
        expected = plan.expected_size(part.number, length)
        return part.size == expected and expected > 0

    fitting = {part.number: part for part in listed if fits(part)}
    run: list[Part] = []
    while (part := fitting.get(first + len(run))) is not None:
        run.append(part)
    return run


def _growing_plan(limits: PartLimits) -> PartPlan:
    """Return the plan of an upload of unknown length."""
    double_every = max(1, limits.max_parts // MAX_PART_SIZES)
    sizes = min(MAX_PART_SIZES, limits.max_parts)
    # All parts together hold `size * units` bytes: 1 + 2 + 4 + ... (`sizes` terms) is
    # 2 ** sizes - 1. With `wanted` the largest object fits, unless `max_part_size` ends the
    # doubling early.
    units = double_every * ((1 << sizes) - 1)
    wanted = _divide_up(limits.max_object_size, units)
    size = max(limits.part_size, min(wanted, limits.max_part_size))
    # For n > 0, `n.bit_length() - 1` is the logarithm of n to base 2, rounded down.
    allowed_doublings = (limits.max_part_size // size).bit_length() - 1
    return PartPlan(size, double_every, min(sizes - 1, allowed_doublings))


def _divide_up(dividend: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-dividend // divisor)
