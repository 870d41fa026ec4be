"""Scenarios of the fault tests: each one is an upload, or the end of one.

Sizes are in tenths of a part, so that a scenario runs with parts of 5 MiB and with parts of a
kilobyte.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.harness.clients.concat_uploader import ConcatUploader
from tests.harness.clients.rufh_uploader import RufhUploader
from tests.harness.clients.transport import Transport
from tests.harness.clients.uploader import TusUploader, UploadScript

Uploader = TusUploader | ConcatUploader
"""The client of a scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """An upload. All sizes are in tenths of a part.

    Attributes:
        name: the row of the table.
        length: the bytes of the file.
        patch_ends: where PATCH requests end; empty for one PATCH.
        first: bytes in the creation request; None for a creation without a body.
        is_deferred: whether the last PATCH declares the length, and not the creation.
        has_empty_last: whether the last PATCH is empty.
        cuts: where the client's connection breaks.
        terminate_at: where the client terminates the upload; None for an upload that is finished.
        partial_sizes: the sizes of the partial uploads; empty for an upload without partials.
        creates_final_first: whether the final upload is created before its partials have bytes.
        is_rufh: whether the client speaks the IETF's protocol instead of tus.
        seconds_per_request: how far each request advances the clock; 0 for uploads without expiry.
        expires: whether the client abandons the upload at `terminate_at` instead of terminating it.
        has_hook: whether the app has an `on_finish`.
        hook_failures: how often `on_finish` raises before it succeeds.
        is_rejected: whether `on_finish` rejects the file for good.
        terminate_failures: how often `on_terminate` raises; None for no such hook.
        has_plan: whether the app has an `on_create` that chooses the key and object options.
        has_answer: whether `on_finish` returns an answer.
        extra_bytes: added to `length`, for sizes that are no multiple of anything.
        is_core: whether it also runs with parts of 5 MiB, where each case moves many bytes.
    """

    name: str
    length: int
    patch_ends: Sequence[int] = ()
    first: int | None = None
    is_deferred: bool = False
    has_empty_last: bool = False
    cuts: Sequence[int] = ()
    terminate_at: int | None = None
    partial_sizes: Sequence[int] = ()
    creates_final_first: bool = False
    is_rufh: bool = False
    seconds_per_request: float = 0.0
    expires: bool = False
    has_hook: bool = True
    hook_failures: int = 0
    is_rejected: bool = False
    terminate_failures: int | None = None
    has_plan: bool = False
    has_answer: bool = False
    extra_bytes: int = 0
    is_core: bool = False

    def file(self, part_size: int) -> bytes:
        """Return the file: the same bytes in each run, and no two parts alike."""
        return _random_bytes(self.length * part_size // 10 + self.extra_bytes)

    def script(self, part_size: int) -> UploadScript:
        """Return how the client sends the file."""

        def scaled(tenths: int) -> int:
            """Return an offset in bytes. The end of the file includes `extra_bytes`."""
            exact = tenths * part_size // 10
            return exact + self.extra_bytes if tenths == self.length else exact

        return UploadScript(
            patch_ends=[scaled(end) for end in self.patch_ends],
            first=None if self.first is None else scaled(self.first),
            is_deferred=self.is_deferred,
            has_empty_last=self.has_empty_last,
            cuts=[scaled(cut) for cut in self.cuts],
        )

    def uploader(self, send: Transport, part_size: int) -> Uploader:
        """Create the client of the scenario. It sends its requests with `send`."""
        file, script = self.file(part_size), self.script(part_size)
        if self.partial_sizes:
            ends = [0, *itertools.accumulate(size * part_size // 10 for size in self.partial_sizes)]
            parts = [file[start:stop] for start, stop in itertools.pairwise(ends)]
            return ConcatUploader(
                send=send, parts=parts, creates_final_first=self.creates_final_first
            )
        kind = RufhUploader if self.is_rufh else TusUploader
        return kind(send=send, file=file, script=script)

    @property
    def hook_set(self) -> str:
        """Which hooks a server needs: `none`, `on_finish`, which accepts every file, or `all`."""
        may_fail = self.hook_failures > 0 or self.terminate_failures is not None
        if may_fail or self.is_rejected or self.has_plan or self.has_answer:
            return "all"
        return "on_finish" if self.has_hook else "none"

    def data_name(self, id: str) -> str:
        """Return the key of an upload's object, without the prefix."""
        return f"{id}/file" if self.has_plan else id

    def goal(self, part_size: int) -> int | None:
        """Return how many bytes to send before the termination; None for the whole file."""
        return None if self.terminate_at is None else self.terminate_at * part_size // 10


_WHOLE = [
    Scenario(name="empty file", length=0),
    Scenario(name="one part", length=6, is_core=True),
    Scenario(name="one part, three appends", length=6, patch_ends=[2, 4, 6]),
    Scenario(name="five parts", length=41, extra_bytes=3, is_core=True),
    Scenario(name="whole parts", length=20),
    Scenario(name="three appends", length=11, patch_ends=[4, 8, 11], is_core=True),
    Scenario(name="six appends", length=24, patch_ends=[4, 8, 12, 16, 20, 24], extra_bytes=1),
    Scenario(name="nine tails in a part", length=13, patch_ends=[*range(1, 14)]),
    Scenario(name="tail filled exactly", length=25, patch_ends=[5, 10, 13, 20, 25]),
    Scenario(name="created with one part", length=6, first=6, is_core=True),
    Scenario(name="created with one part, no hook", length=6, first=6, has_hook=False),
    Scenario(name="created with parts", length=13, first=13, is_core=True),
    Scenario(name="created with first part", length=24, first=14, patch_ends=[24]),
    Scenario(name="created with a tail", length=7, first=3, patch_ends=[7]),
    Scenario(name="cut within a part", length=17, cuts=[13], extra_bytes=7, is_core=True),
    Scenario(name="cut twice", length=34, cuts=[3, 15], extra_bytes=7),
    Scenario(name="hook fails once", length=12, hook_failures=1),
    Scenario(name="no hook", length=12, has_hook=False),
    Scenario(name="no hook, one part", length=6, has_hook=False, is_core=True),
    Scenario(
        name="no hook, one part, three appends", length=6, patch_ends=[2, 4, 6], has_hook=False
    ),
    Scenario(name="no hook, one part, cut", length=8, cuts=[4], extra_bytes=7, has_hook=False),
]

_DEFERRED = [
    Scenario(name="deferred, short", length=7, patch_ends=[3, 7], is_deferred=True, is_core=True),
    Scenario(
        name="deferred, long", length=13, patch_ends=[4, 12, 13], is_deferred=True, is_core=True
    ),
    Scenario(
        name="deferred, empty last append",
        length=23,
        patch_ends=[13, 23],
        is_deferred=True,
        has_empty_last=True,
    ),
    Scenario(
        name="deferred, created with data",
        length=15,
        first=4,
        patch_ends=[12, 15],
        is_deferred=True,
    ),
    Scenario(
        name="no hook, deferred, short",
        length=7,
        patch_ends=[3, 7],
        is_deferred=True,
        has_hook=False,
    ),
]

_CONCATENATED = [
    Scenario(name="concat, whole parts", length=23, partial_sizes=[10, 10, 3]),
    Scenario(name="concat, within parts", length=27, partial_sizes=[13, 4, 10], is_core=True),
    Scenario(name="concat, one part", length=6, partial_sizes=[2, 4]),
    Scenario(
        name="concat, final first", length=17, partial_sizes=[13, 4], creates_final_first=True
    ),
]

_EXPIRING = [
    Scenario(
        name="expiry extended",
        length=24,
        patch_ends=range(3, 25, 3),
        seconds_per_request=480.0,
        is_core=True,
    ),
    Scenario(
        name="expiry extended, deferred",
        length=30,
        patch_ends=[2, 4, 6, 24, 30],
        is_deferred=True,
        seconds_per_request=480.0,
    ),
    Scenario(
        name="expired and swept",
        length=24,
        patch_ends=[12],
        terminate_at=12,
        seconds_per_request=60.0,
        expires=True,
    ),
    Scenario(
        name="expired and swept, one part",
        length=8,
        patch_ends=[3],
        terminate_at=3,
        seconds_per_request=60.0,
        expires=True,
    ),
    Scenario(
        name="expired and swept, hook fails",
        length=24,
        patch_ends=[12],
        terminate_at=12,
        terminate_failures=1,
        seconds_per_request=60.0,
        expires=True,
    ),
]

_RUFH = [
    Scenario(name="RUFH, one part", length=6, first=6, is_rufh=True),
    Scenario(name="RUFH, parts", length=23, first=23, is_rufh=True, is_core=True),
    Scenario(
        name="RUFH, appended",
        length=24,
        first=4,
        patch_ends=[13, 24],
        is_deferred=True,
        is_rufh=True,
        is_core=True,
    ),
    Scenario(name="RUFH, cut", length=27, first=27, cuts=[13], extra_bytes=7, is_rufh=True),
    Scenario(
        name="RUFH, empty last append", length=13, first=13, has_empty_last=True, is_rufh=True
    ),
]

_TERMINATED = [
    Scenario(name="terminated, nothing sent", length=30, terminate_at=0),
    Scenario(name="terminated midway", length=20, patch_ends=[12], terminate_at=12, is_core=True),
    Scenario(name="terminated, one part midway", length=8, patch_ends=[3], terminate_at=3),
    Scenario(
        name="terminated, deferred", length=8, patch_ends=[3], terminate_at=3, is_deferred=True
    ),
    Scenario(name="terminated, finished", length=11, terminate_at=11, is_core=True),
    Scenario(name="terminated, finished, one part", length=8, terminate_at=8),
    Scenario(
        name="no hook, terminated midway",
        length=8,
        patch_ends=[3],
        terminate_at=3,
        has_hook=False,
    ),
    Scenario(name="no hook, terminated, finished", length=8, terminate_at=8, has_hook=False),
    Scenario(
        name="terminated with a hook",
        length=20,
        patch_ends=[12],
        terminate_at=12,
        terminate_failures=0,
        is_core=True,
    ),
    Scenario(name="terminated, hook fails once", length=8, terminate_at=8, terminate_failures=1),
    Scenario(
        name="terminated as planned",
        length=13,
        terminate_at=13,
        terminate_failures=0,
        has_plan=True,
    ),
]

_REJECTED = [
    Scenario(name="rejected, one part", length=6, is_rejected=True, is_core=True),
    Scenario(name="rejected, parts", length=13, patch_ends=[4, 13], is_rejected=True),
    Scenario(
        name="rejected after a failure",
        length=7,
        patch_ends=[3, 7],
        is_rejected=True,
        hook_failures=1,
    ),
    Scenario(name="rejected as planned", length=13, is_rejected=True, has_plan=True),
]

_DECIDED = [
    Scenario(
        name="planned and answered",
        length=13,
        patch_ends=[4, 13],
        has_plan=True,
        has_answer=True,
        is_core=True,
    ),
    Scenario(name="one part, planned", length=6, first=6, has_plan=True, has_answer=True),
    Scenario(name="answered, hook fails once", length=7, has_answer=True, hook_failures=1),
    Scenario(name="RUFH, answered", length=13, first=13, has_answer=True, is_rufh=True),
]

SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        *_WHOLE,
        *_DEFERRED,
        *_CONCATENATED,
        *_EXPIRING,
        *_RUFH,
        *_TERMINATED,
        *_REJECTED,
        *_DECIDED,
    ]
}

_RANDOM_BYTES = random.Random(11).randbytes(1 << 20)


def _random_bytes(size: int) -> bytes:
    """Return bytes that are cheap to make. Each megabyte begins with its number."""
    block = len(_RANDOM_BYTES)
    return b"".join(
        (start // block).to_bytes(8, "big") + _RANDOM_BYTES[8 : min(block, size - start)]
        for start in range(0, size, block)
    )[:size]
