"""Parts wait in memory while there is some, and on disk beyond it."""

from __future__ import annotations

import errno
import io
import os
import random
import threading
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bodies import ScriptedBody, sliced
from tests.harness.disks import SmallDisk
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.spool.memory import MAX_RELEASE_GAP, MIN_REUSED_BUFFER
from tus_wsgi.spool.part import FAST_MIN_SIZE, FIRST_BUFFER, GROWTH, MAX_DISK_READ, SpooledPart
from tus_wsgi.spool.spool import Spool

BUDGET = 1000


def left(spool: Spool) -> int:
    return spool.memory.available


def is_on_disk(part: SpooledPart) -> bool:
    return part._file is not None


def content_of(part: SpooledPart) -> bytes:
    """What boto3 would send: it takes bytes as they are, and reads files."""
    content = part.content()
    return bytes(content) if isinstance(content, bytes | bytearray) else content.read()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(BUDGET, str(tmp_path))


class FullDisk(Spool):
    """A spool whose every file is on a full disk."""

    def file(self) -> IO[bytes]:
        return Path("/dev/full").open("r+b", buffering=0)


class Trouble(io.RawIOBase):
    """A file that cannot be written."""

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, data: object, /) -> int:
        raise OSError(self._number, os.strerror(self._number))


class BrokenDisk(Spool):
    """A spool whose every file cannot be written, because of the error `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(0)
        self._number = number

    def file(self) -> IO[bytes]:
        return Trouble(self._number)  # type: ignore[return-value]


# -- the budget ------------------------------------------------------------------------------------


def test_a_part_takes_what_it_expects_and_gives_it_back(spool: Spool) -> None:
    with spool.part(600, 400) as part:
        part.write(b"x" * 300)
        assert left(spool) == BUDGET - 400
        part.write(b"x" * 100)
        assert left(spool) == BUDGET - 400
    assert left(spool) == BUDGET


def test_a_part_never_takes_more_than_it_may_hold(spool: Spool) -> None:
    with spool.part(100, 10**12) as one, spool.part(100, None) as other:
        one.write(b"1")
        other.write(b"2")
        assert left(spool) == BUDGET - 200


def test_memory_is_taken_as_bytes_come_and_not_as_they_are_promised() -> None:
    """A client that announces much and sends little holds up nobody."""
    spool = Spool(64 * MIB)
    with spool.part(16 * MIB, 16 * MIB) as part:
        assert left(spool) == 64 * MIB
        for size in (1, FIRST_BUFFER, 100 * KIB, MIB):
            part.write(b"x" * size)
            assert 64 * MIB - left(spool) <= GROWTH * part.size + FIRST_BUFFER
    assert left(spool) == 64 * MIB


def test_a_quick_client_s_bytes_are_received_into_their_place_from_the_proof_on() -> None:
    """Nearly all of them are copied nowhere in Python, and the buffer is used again and again."""
    spool = Spool(64 * MIB)
    used = set[int]()
    for _ in range(3):
        with spool.part(16 * MIB, None) as part:
            part.write(bytes(FAST_MIN_SIZE))
            part.write(b"x")
            assert len(part._buffer) == 16 * MIB
            used.add(id(part._buffer))
    assert len(used) == 1


def test_a_quick_client_s_next_part_begins_where_the_last_one_ended(clock: Clock) -> None:
    """None of its bytes is copied in Python."""
    spool = Spool(64 * MIB)
    with spool.part(4 * MIB, None) as part:
        part.fill(SlowBody(clock, 0.01, *[bytes(256 * KIB)] * 16))
        assert part.is_full
        assert part.is_fast
    with spool.part(4 * MIB, None, is_fast=True) as part:
        assert left(spool) == 64 * MIB, "memory for a client that has sent nothing"
        part.write(b"x")
        assert len(part._buffer) == 4 * MIB
        # It has become slow.
        part.fill(SlowBody(clock, 5.0, *[bytes(MIB)] * 4))
        assert not part.is_fast


def test_a_quick_client_that_has_announced_nothing_more_gets_next_to_nothing() -> None:
    """A PATCH that ends where a part ends finds that out from a read behind it."""
    spool = Spool(64 * MIB)
    with spool.part(16 * MIB, 0, is_fast=True) as part:
        part.fill(ScriptedBody())
        assert left(spool) == 64 * MIB - FIRST_BUFFER


def test_who_sends_little_or_goes_to_the_disk_has_not_proven_to_be_quick(clock: Clock) -> None:
    for budget, size in ((64 * MIB, FAST_MIN_SIZE - 1), (MIB, 2 * MIB)):
        with Spool(budget).part(4 * MIB, None) as part:
            part.fill(SlowBody(clock, 0.0, bytes(size)))
            assert part.size == size
            assert not part.is_fast


def test_a_part_grows_when_more_comes_than_expected(spool: Spool) -> None:
    """Both buffers count while one's bytes go into the other."""
    with spool.part(500, 10) as part:
        part.write(b"x" * 10)
        part.write(b"y" * 200)
        assert not is_on_disk(part)
        assert content_of(part) == b"x" * 10 + b"y" * 200
        assert left(spool) >= BUDGET - 500
    assert left(spool) == BUDGET


def test_closing_twice_gives_back_once(spool: Spool) -> None:
    part = spool.part(100, 100)
    part.close()
    part.close()
    assert left(spool) == BUDGET


def test_what_does_not_fit_into_the_budget_goes_to_disk_and_waits_for_nobody(spool: Spool) -> None:
    with spool.part(800, 800) as first, spool.part(300, 300) as second:
        first.write(b"abc")
        second.write(b"abc")
        assert (is_on_disk(first), is_on_disk(second)) == (False, True)
        assert content_of(second) == b"abc"
        assert left(spool) == 200
    assert left(spool) == BUDGET


def test_a_part_that_outgrows_the_budget_moves_to_disk_and_frees_its_memory(spool: Spool) -> None:
    with spool.part(5000, 900) as part:
        part.write(b"x" * 900)
        part.write(b"y" * 900)
        assert is_on_disk(part)
        assert left(spool) == BUDGET
        assert content_of(part) == b"x" * 900 + b"y" * 900
    assert left(spool) == BUDGET


def test_without_a_budget_every_part_is_on_disk(tmp_path: Path) -> None:
    spool = Spool(0, str(tmp_path))
    with spool.part(10, 10) as part:
        part.write(b"0123456789")
        assert is_on_disk(part)
        assert content_of(part) == b"0123456789"
    assert left(spool) == 0


def test_an_empty_part_takes_nothing(spool: Spool) -> None:
    with spool.part(0, 0) as part:
        assert part.is_full
        assert content_of(part) == b""
        assert left(spool) == BUDGET


@pytest.mark.property
@given(
    budget=st.integers(0, 300),
    capacity=st.integers(0, 400),
    expected=st.one_of(st.none(), st.integers(0, 500)),
    data=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_every_byte_comes_back_and_so_does_the_budget(
    budget: int, capacity: int, expected: int | None, data: bytes, cuts: list[int]
) -> None:
    spool = Spool(budget)
    data = data[:capacity]
    with spool.part(capacity, expected) as part:
        for piece in sliced(data, cuts):
            part.write(piece)
        assert part.size == len(data)
        assert part.is_full == (len(data) == capacity)
        assert content_of(part) == data
        assert content_of(part) == data, "boto3 sends it again when it tries again"
    assert left(spool) == budget


@pytest.mark.property
@given(
    budget=st.integers(0, 300),
    capacity=st.integers(1, 300),
    announces=st.booleans(),
    data=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_a_part_is_filled_from_a_body_until_either_ends(
    *, budget: int, capacity: int, announces: bool, data: bytes, cuts: list[int]
) -> None:
    spool = Spool(budget)
    body = ScriptedBody(*sliced(data, cuts), content_length=len(data) if announces else None)
    stored = b""
    with spool.part(capacity, body.content_length) as part:
        part.fill(body)
        stored = content_of(part)
        assert stored == data[:capacity]
        assert body.has_ended == (len(data) < capacity), "a full part reads no further"
    assert left(spool) == budget


def test_a_body_larger_than_a_step_reaches_the_disk_whole(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(2 * MAX_DISK_READ + 77)
    with Spool(0, str(tmp_path)).part(len(data) + 1, None) as part:
        part.fill(ScriptedBody(data))
        assert content_of(part) == data


class Steps(ScriptedBody):
    """A body that notes how large a buffer it is waited for with."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self.steps: list[int] = []

    def readinto(self, buffer: memoryview, /) -> int:
        self.steps.append(len(buffer))
        return super().readinto(buffer)


def test_a_slow_client_is_waited_for_with_a_small_buffer_whatever_the_budget() -> None:
    """No budget counts it, and there may be hundreds of them."""
    for budget in (0, 64 * MIB):
        body = Steps(*[b"x" * 8000] * 1)
        with Spool(budget).part(16 * MIB, None) as part:
            part.fill(body)
        assert max(body.steps) <= FIRST_BUFFER


def test_a_step_to_the_disk_is_as_large_as_what_comes() -> None:
    body = Steps(bytes(2 * MIB), *[b"x" * 1000] * 5)
    with Spool(0).part(16 * MIB, None) as part:
        part.fill(body)
    assert max(body.steps) == MAX_DISK_READ
    assert body.steps[-1] == FIRST_BUFFER


def test_what_a_cut_body_brought_stays(spool: Spool) -> None:
    body = ScriptedBody(b"abc", content_length=10, ending=BodyEnd.DISCONNECTED)
    with spool.part(10, 10) as part:
        part.fill(body)
        assert not part.is_full
        assert content_of(part) == b"abc"
        assert body.end is BodyEnd.DISCONNECTED


def test_threads_share_the_budget_exactly(spool: Spool) -> None:
    def work(seed: int) -> None:
        numbers = random.Random(seed)
        for _ in range(200):
            with spool.part(numbers.randrange(700), None) as part:
                part.write(bytes(part.capacity))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left(spool) == BUDGET


@pytest.mark.property
@given(
    st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 30))), max_size=8)
)
def test_the_sum_is_that_of_the_bytes_wherever_they_wait(
    sizes: list[tuple[int, int | None]],
) -> None:
    spool = Spool(40)
    with ExitStack() as parts:
        for number, (size, expected) in enumerate(sizes):
            data = bytes([number]) * size
            part = parts.enter_context(spool.part(size + 1, expected))
            part.fill(ScriptedBody(*sliced(data, [size // 2])))
            payload = part.payload()
            assert (payload.size, payload.crc32) == (size, zlib.crc32(data))
    assert left(spool) == 40


# -- buffers that are kept -------------------------------------------------------------------------


def test_a_large_buffer_is_used_again_and_tells_nothing_of_its_past() -> None:
    spool = Spool(4 * MIN_REUSED_BUFFER)
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        part.write(b"secret!!" * (MIN_REUSED_BUFFER // 8))
        first = part._buffer
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        for piece in (bytes(MIN_REUSED_BUFFER // 2), b"abc"):
            part.write(piece)
        assert part._buffer is first
        assert content_of(part) == bytes(MIN_REUSED_BUFFER // 2) + b"abc"
    assert left(spool) == 4 * MIN_REUSED_BUFFER


def test_a_buffer_is_never_two_parts_at_once() -> None:
    spool = Spool(4 * MIN_REUSED_BUFFER)
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        part.write(bytes(MIN_REUSED_BUFFER))
    with (
        spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as one,
        spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as other,
    ):
        one.write(b"1" * MIN_REUSED_BUFFER)
        other.write(b"2" * MIN_REUSED_BUFFER)
        assert set(content_of(one)) == set(b"1")


def test_kept_buffers_and_those_in_use_stay_within_the_budget() -> None:
    spool = Spool(4 * MIB)
    for size in (MIB, MIB + 1, 2 * MIB, 3 * MIB, MIB + 2, 4 * MIB):
        with spool.part(size, size) as part:
            part.write(bytes(size))
            assert spool.memory._reusable_size <= left(spool)
    for buffers in spool.memory._reusable.values():
        assert buffers, "there are as many sizes as uploads: what is empty must not stay"
    assert spool.memory._reusable_size == sum(
        map(len, (b for kept in spool.memory._reusable.values() for b in kept))
    )


def test_sizes_that_were_seen_once_are_forgotten() -> None:
    spool = Spool(MIB)
    for size in range(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER + 100):
        with spool.part(size, size) as part:
            part.write(bytes(size))
    assert len(spool.memory._reusable) <= MIB // MIN_REUSED_BUFFER


def test_a_part_that_stayed_short_is_handed_out_without_a_copy() -> None:
    spool = Spool(MIB)
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        part.write(b"abc")
        assert part.content() is part._buffer
        part.write(b"defg")
        assert content_of(part) == b"abcdefg"
    assert left(spool) == MIB


def test_a_buffer_that_was_cut_short_is_nobody_s() -> None:
    spool = Spool(4 * MIB)
    with spool.part(MIB, MIB) as part:
        part.write(bytes(MIN_REUSED_BUFFER - 1))
        part.write(b"xy")
        assert part.content() is part._buffer
    assert (left(spool), spool.memory._reusable_size) == (4 * MIB, 0)


def test_a_part_can_be_handed_out_while_somebody_looks_at_its_memory() -> None:
    """A traceback that a log keeps, for one."""
    with Spool(MIB).part(1000, 1000) as part:
        part.write(b"abc")
        with memoryview(part._buffer):
            assert content_of(part) == b"abc"


# -- waiting for memory ----------------------------------------------------------------------------


def test_memory_that_is_coming_back_is_waited_for(spool: Spool) -> None:
    with spool.part(1, 1) as part:
        part.write(b"x")
    first = spool.part(800, 800)
    first.write(b"x")
    timer = threading.Timer(MAX_RELEASE_GAP / 5, first.close)
    timer.start()
    with spool.part(800, 800) as second:
        second.write(b"x")
        assert not is_on_disk(second)
    timer.join()


def test_memory_that_nobody_gives_back_is_not_waited_for(spool: Spool) -> None:
    with spool.part(800, 800) as first:
        first.write(b"x")
        began = time.monotonic()
        with spool.part(800, 800) as second:
            second.write(b"x")
            assert is_on_disk(second)
    assert time.monotonic() - began < MAX_RELEASE_GAP


def test_a_buffer_that_made_way_for_a_larger_one_is_no_hope_for_others() -> None:
    spool = Spool(MIB)
    with spool.part(MIB // 2, None) as part:
        for _ in range(5):
            part.write(bytes(FIRST_BUFFER))
        began = time.monotonic()
        assert spool.memory.acquire(MIB) is None
        assert time.monotonic() - began < MAX_RELEASE_GAP / 2


# -- the slow and the quick ------------------------------------------------------------------------


class SlowBody(ScriptedBody):
    """A body whose pieces take their time, on a clock that runs at once."""

    def __init__(self, clock: Clock, seconds: float, *pieces: bytes) -> None:
        super().__init__(*pieces, on_read=lambda: clock.advance(seconds))


class Clock:
    """Stands in for the clock, so that a test of minutes takes none."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._now = time.monotonic()
        patch.setattr(time, "monotonic", lambda: self._now)

    def advance(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_slow_clients_leave_half_of_the_memory_to_the_quick(clock: Clock) -> None:
    spool = Spool(8 * MIB)
    with ExitStack() as parts:
        slow = [parts.enter_context(spool.part(4 * MIB, 4 * MIB)) for _ in range(20)]
        for part in slow:
            part.fill(SlowBody(clock, 1.0, *[bytes(8 * KIB)] * 200))
        assert left(spool) >= 4 * MIB
        assert any(is_on_disk(part) for part in slow)
        quick = parts.enter_context(spool.part(4 * MIB, 4 * MIB))
        quick.fill(SlowBody(clock, 0.001, *[bytes(64 * KIB)] * 50))
        assert not is_on_disk(quick)


def test_who_takes_memory_for_long_waits_for_nobody(spool: Spool) -> None:
    """What comes back is for others."""
    with spool.part(600, 600) as part:
        part.write(b"x")
    began = time.monotonic()
    assert spool.memory.acquire(600, is_slow=True) is None
    assert time.monotonic() - began < MAX_RELEASE_GAP / 2


def test_who_was_waited_for_before_the_first_byte_may_be_quick(clock: Clock) -> None:
    pauses = iter([60.0])
    body = ScriptedBody(
        *[bytes(FIRST_BUFFER)] * 200, on_read=lambda: clock.advance(next(pauses, 0.0))
    )
    with Spool(6 * MIB).part(4 * MIB, 4 * MIB) as part:
        part.fill(body)
        assert not is_on_disk(part)


# -- the disk --------------------------------------------------------------------------------------


def test_a_temporary_file_has_no_name(spool: Spool, tmp_path: Path) -> None:
    """So nothing is left of it, whatever kills the process."""
    with spool.part(5 * KIB, 5 * KIB) as part:
        part.write(b"x" * (5 * KIB))
        assert is_on_disk(part)
        assert list(tmp_path.iterdir()) == []
        assert part._file is not None
        assert os.fstat(part._file.fileno()).st_dev == tmp_path.stat().st_dev


def test_a_closed_part_closes_its_file(spool: Spool) -> None:
    part = spool.part(5 * KIB, 5 * KIB)
    part.write(b"x")
    file = part._file
    assert file is not None
    part.close()
    assert file.closed


@pytest.mark.parametrize("budget", [0, 100])
def test_a_full_disk_is_the_store_s_trouble(budget: int) -> None:
    spool = FullDisk(budget)
    with spool.part(1000, 50) as part, pytest.raises(StoreUnavailable) as caught:
        part.write(b"x" * 101)
    assert caught.value.full
    assert isinstance(caught.value.__cause__, OSError)
    assert left(spool) == budget


def test_a_full_disk_is_the_store_s_trouble_while_a_body_is_read() -> None:
    spool = FullDisk(0)
    with spool.part(1000, None) as part:
        part.fill(ScriptedBody(b"x" * 100))
        assert part.error is not None
        assert part.error.full


@pytest.mark.parametrize(
    ("number", "is_full"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, True), (errno.EIO, False)],
)
def test_a_used_up_quota_is_a_full_disk_and_other_troubles_are_not(
    *, number: int, is_full: bool
) -> None:
    with BrokenDisk(number).part(10, 10) as part, pytest.raises(StoreUnavailable) as caught:
        part.write(b"x")
    assert caught.value.full is is_full


@pytest.mark.parametrize("room", [0, 50, FIRST_BUFFER, FIRST_BUFFER + 7])
@pytest.mark.parametrize("budget", [0, FIRST_BUFFER])
def test_what_came_before_the_disk_was_full_can_be_read(
    tmp_path: Path, budget: int, room: int
) -> None:
    """On disk up to the last byte that it took; in memory, if not even that fitted on it."""
    data = random.Random(2).randbytes(3 * FIRST_BUFFER)
    spool = SmallDisk(budget, room, str(tmp_path))
    with spool.part(MIB, None) as part:
        part.fill(ScriptedBody(data))
        assert part.error is not None
        assert part.error.full
        assert part.size == max(budget, room)
        assert content_of(part) == data[: part.size]
        assert part.crc32 == zlib.crc32(data[: part.size])
    assert left(spool) == budget


def test_a_directory_that_is_gone_is_the_store_s_trouble(tmp_path: Path) -> None:
    spool = Spool(20, str(tmp_path / "gone"))
    with spool.part(100, 100) as part, pytest.raises(StoreUnavailable):
        part.write(b"x")
    with spool.part(100, 10) as part:
        part.write(b"x" * 10)
        with pytest.raises(StoreUnavailable):
            part.write(b"x" * 11)
        assert content_of(part) == b"x" * 10
    assert left(spool) == 20
