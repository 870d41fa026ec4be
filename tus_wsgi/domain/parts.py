"""Which bytes are which part: the arithmetic of S3 multipart uploads. Integers only, no I/O.

**Part k always means the same bytes.** The plan is fixed when the upload is created and written
into its record. So a part that is uploaded twice, late, or by a stalled predecessor holds the same
bytes, parts may be uploaded in parallel, and a hole costs a re-send and never a corruption.

Sizes and offsets are in bytes; part numbers count from 1, as S3 counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tus_wsgi.domain.errors import UploadTooLarge
from tus_wsgi.domain.model import GIB, MIB, TIB

LADDER_STEPS = 10
"""A ladder doubles its part size this often. 1,000 parts each of 16 MiB to 4 GiB hold 8 TiB."""


@dataclass(frozen=True, slots=True)
class PartLimits:
    """What the service allows.

    The defaults are those of AWS, see
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html.

    Attributes:
        part_size: the size that is preferred for every part but the last.
        min_part_size: no part but the last may be smaller.
        max_part_size: no part may be larger.
        max_parts: the highest part number.
        max_object_size: the largest object.
    """

    part_size: int = 16 * MIB
    min_part_size: int = 5 * MIB
    max_part_size: int = 5 * GIB
    max_parts: int = 10_000
    max_object_size: int = 5 * TIB

    @property
    def max_length(self) -> int:
        """Bytes of the longest upload, whether its length is known in advance or not."""
        equal = self.max_part_size * self.max_parts
        return min(self.max_object_size, equal, _ladder(self).capacity(self.max_parts))


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Where each part begins.

    Attributes:
        part_size: bytes of part 1.
        double_every: after this many parts the part size doubles; 0 for never (equal parts).
        doublings: how often it doubles at most.
        parts_before: parts of any size that another server (tusd) had uploaded before there was a
            plan. Nobody uploads them again, so it does no harm that they follow none.
        bytes_before: bytes of those parts.
    """

    part_size: int
    double_every: int = 0
    doublings: int = 0
    parts_before: int = 0
    bytes_before: int = 0

    def size(self, number: int) -> int:
        """Bytes of part `number`, unless the upload ends within it."""
        return self.part_size << self._step(number - self.parts_before)

    def start(self, number: int) -> int:
        """The offset of the first byte of part `number`, one of those behind `parts_before`."""
        index = number - self.parts_before
        step = self._step(index)
        below = self.part_size * self.double_every * ((1 << step) - 1)
        within = (index - 1 - step * self.double_every) * (self.part_size << step)
        return self.bytes_before + below + within

    def number_at(self, offset: int) -> int:
        """The number of the part that holds the byte at `offset`."""
        step = 0
        while step < self.doublings and offset >= self.start((step + 1) * self.double_every + 1):
            step += 1
        first = step * self.double_every + 1
        return first + (offset - self.start(first)) // (self.part_size << step)

    def capacity(self, max_parts: int) -> int:
        """Bytes that fit into parts 1 to `max_parts`."""
        return self.start(max_parts + 1)

    def expected_size(self, number: int, length: int | None) -> int:
        """Bytes that part `number` has once it is there, in an upload of `length` bytes.

        With a length of None (not yet known) every part is full.
        """
        full = self.size(number)
        return full if length is None else max(0, min(full, length - self.start(number)))

    def is_one_part(self, end: int | None) -> bool:
        """Whether an upload that ends at `end` has no part but the first; None: nobody knows."""
        return end is not None and end <= self.size(1)

    def _step(self, index: int) -> int:
        if not self.double_every:
            return 0
        return min((index - 1) // self.double_every, self.doublings)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that S3 has. `etag` and `crc32` are as S3 writes them; `crc32` is not always told."""

    number: int
    size: int
    etag: str
    crc32: str | None = None


def plan_for(length: int | None, limits: PartLimits) -> PartPlan:
    """The plan for an upload of `length` bytes; None where the length is not known yet.

    A known length gets equal parts, as small as preferred and as large as the number of parts
    demands. An unknown one gets a ladder, so that small uploads have small parts and the largest
    object fits all the same.

    Raises:
        UploadTooLarge: the upload would not fit, however it is cut.
    """
    if length is None:
        return _ladder(limits)
    if length > limits.max_length:
        raise UploadTooLarge(limits.max_length, length)
    return PartPlan(max(limits.part_size, -(-length // limits.max_parts)))


def plan_after(
    run: list[Part], length: int | None, limits: PartLimits, listed: Iterable[Part] = ()
) -> PartPlan:
    """The plan for what follows `run`, the parts of an upload that had no plan.

    Of what is `listed` behind a gap nobody knows which bytes it holds: those that were to be in
    front of it may have been more, or fewer, than the plan's part has. So none has the plan's size.

    Raises:
        UploadTooLarge: the rest does not fit into the part numbers that are left.
    """
    done = sum(part.size for part in run)
    left = limits.max_parts - len(run)
    if left <= 0:
        raise UploadTooLarge(done, length)
    most = limits.max_object_size if length is None else length
    size = max(limits.part_size, -(-(most - done) // left))
    plan = PartPlan(size, parts_before=len(run), bytes_before=done)
    others = [part for part in listed if part.number > len(run)]
    while any(part.size == plan.expected_size(part.number, length) for part in others):
        plan = replace(plan, part_size=plan.part_size + 1)
    if plan.part_size > limits.max_part_size:
        raise UploadTooLarge(done + left * limits.max_part_size, length)
    return plan


def contiguous(plan: PartPlan | None, length: int | None, listed: Iterable[Part]) -> list[Part]:
    """The parts 1, 2, ... up to the first that is missing, from those that S3 lists.

    Parts behind a gap count for nothing: they hold the right bytes, and will be sent again. Of
    several entries with one number (SeaweedFS lists a part twice after a lost answer) the one of
    the plan's size counts. Without a plan every size is right.
    """

    def fits(part: Part) -> bool:
        if plan is None or part.number <= plan.parts_before:
            return part.size > 0
        return part.size == plan.expected_size(part.number, length) > 0

    fitting = {part.number: part for part in listed if fits(part)}
    run: list[Part] = []
    while (part := fitting.get(len(run) + 1)) is not None:
        run.append(part)
    return run


def _ladder(limits: PartLimits) -> PartPlan:
    every = max(1, limits.max_parts // LADDER_STEPS)
    steps = min(LADDER_STEPS, limits.max_parts)
    # Large enough for the largest object, where doubling is not cut off by the largest part.
    wanted = -(-limits.max_object_size // (every * ((1 << steps) - 1)))
    size = max(limits.part_size, min(wanted, limits.max_part_size))
    doublings = min(steps - 1, (limits.max_part_size // size).bit_length() - 1)
    return PartPlan(size, every, doublings)
