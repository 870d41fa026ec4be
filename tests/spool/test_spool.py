"""Parts are held in memory within a budget, and on disk beyond it."""

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
from tus_wsgi.spool.buffer_pool import MIN_REUSED_BUFFER
from tus_wsgi.spool.part import FAST_MIN_SIZE, FIRST_BUFFER, GROWTH, MAX_DISK_READ, SpooledPart
from tus_wsgi.spool.spool import Spool

BUDGET = 1000


def is_on_disk(part: SpooledPart) -> bool:
    return part._file is not None


def content_of(part: SpooledPart) -> bytes:
    """Return what boto3 would send: it sends bytes as they are, and reads files."""
    content = part.content()
    return bytes(content) if isinstance(content, bytes | bytearray) else content.read()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(BUDGET, str(tmp_path))


class FullDisk(Spool):
    """A spool on a full disk."""

    def file(self) -> IO[bytes]:
        return Path("/dev/full").open("r+b", buffering=0)


class BrokenFile(io.RawIOBase):
    """A file whose writes fail with an error number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, data: object, /) -> int:
        raise OSError(self._number, os.strerror(self._number))


class BrokenDisk(Spool):
    """A spool whose files cannot be written because of the error `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(0)
        self._number = number

    def file(self) -> IO[bytes]:
        return BrokenFile(self._number)  # type: ignore[return-value]


# -- the budget ------------------------------------------------------------------------------------


def test_a_part_acquires_its_expected_size_and_releases_it(spool: Spool) -> None:
    with spool.part(600, 400) as part:
        part.write(b"x" * 300)
        assert spool.memory.available == BUDGET - 400
        part.write(b"x" * 100)
        assert spool.memory.available == BUDGET - 400
    assert spool.memory.available == BUDGET


def test_a_part_never_acquires_more_than_its_capacity(spool: Spool) -> None:
    with spool.part(100, 10**12) as first, spool.part(100, None) as second:
        first.write(b"1")
        second.write(b"2")
        assert spool.memory.available == BUDGET - 200


def test_memory_grows_with_received_bytes_not_with_announced_ones() -> None:
    """A client that announces many bytes and sends few does not block other clients."""
    spool = Spool(64 * MIB)
    with spool.part(16 * MIB, 16 * MIB) as part:
        assert spool.memory.available == 64 * MIB
        for size in (1, FIRST_BUFFER, 100 * KIB, MIB):
            part.write(b"x" * size)
            assert 64 * MIB - spool.memory.available <= GROWTH * part.size + FIRST_BUFFER
    assert spool.memory.available == 64 * MIB


def test_a_fast_client_gets_a_buffer_for_a_whole_part() -> None:
    """So Python copies few bytes of the client, and its next parts reuse the buffer."""
    spool = Spool(64 * MIB)
    used = set[int]()
    for _ in range(3):
        with spool.part(16 * MIB, None) as part:
            part.write(bytes(FAST_MIN_SIZE))
            part.write(b"x")
            assert len(part._block.data) == 16 * MIB
            used.add(id(part._block.data))
    assert len(used) == 1


def test_the_next_part_of_a_fast_client_starts_with_a_large_buffer(clock: Clock) -> None:
    """So Python copies none of the client's bytes."""
    spool = Spool(64 * MIB)
    with spool.part(4 * MIB, None) as part:
        part.fill(SlowBody(clock, 0.01, *[bytes(256 * KIB)] * 16))
        assert part.is_full
        assert part.is_fast
    with spool.part(4 * MIB, None, is_fast=True) as part:
        assert spool.memory.available == 64 * MIB, "memory is acquired before the first byte"
        part.write(b"x")
        assert len(part._block.data) == 4 * MIB
        # The client becomes slow.
        part.fill(SlowBody(clock, 5.0, *[bytes(MIB)] * 4))
        assert not part.is_fast


def test_a_fast_client_without_more_bytes_gets_a_small_buffer() -> None:
    """A PATCH that ends at the end of a part needs one more read to detect its end."""
    spool = Spool(64 * MIB)
    with spool.part(16 * MIB, 0, is_fast=True) as part:
        part.fill(ScriptedBody())
        assert spool.memory.available == 64 * MIB - FIRST_BUFFER


def test_a_client_with_few_bytes_or_bytes_on_disk_does_not_count_as_fast(clock: Clock) -> None:
    for budget, size in ((64 * MIB, FAST_MIN_SIZE - 1), (MIB, 2 * MIB)):
        with Spool(budget).part(4 * MIB, None) as part:
            part.fill(SlowBody(clock, 0.0, bytes(size)))
            assert part.size == size
            assert not part.is_fast


def test_a_part_grows_beyond_its_expected_size(spool: Spool) -> None:
    """Both buffers count while the bytes are copied."""
    with spool.part(500, 10) as part:
        part.write(b"x" * 10)
        part.write(b"y" * 200)
        assert not is_on_disk(part)
        assert content_of(part) == b"x" * 10 + b"y" * 200
        assert spool.memory.available >= BUDGET - 500
    assert spool.memory.available == BUDGET


def test_closing_twice_releases_memory_once(spool: Spool) -> None:
    part = spool.part(100, 100)
    part.close()
    part.close()
    assert spool.memory.available == BUDGET


def test_a_part_that_exceeds_the_budget_goes_to_disk_without_waiting(spool: Spool) -> None:
    with spool.part(800, 800) as first, spool.part(300, 300) as second:
        first.write(b"abc")
        second.write(b"abc")
        assert (is_on_disk(first), is_on_disk(second)) == (False, True)
        assert content_of(second) == b"abc"
        assert spool.memory.available == 200
    assert spool.memory.available == BUDGET


def test_a_part_that_outgrows_the_budget_moves_to_disk_and_releases_its_memory(
    spool: Spool,
) -> None:
    with spool.part(5000, 900) as part:
        part.write(b"x" * 900)
        part.write(b"y" * 900)
        assert is_on_disk(part)
        assert spool.memory.available == BUDGET
        assert content_of(part) == b"x" * 900 + b"y" * 900
    assert spool.memory.available == BUDGET


def test_without_a_budget_every_part_is_on_disk(tmp_path: Path) -> None:
    spool = Spool(0, str(tmp_path))
    with spool.part(10, 10) as part:
        part.write(b"0123456789")
        assert is_on_disk(part)
        assert content_of(part) == b"0123456789"
    assert spool.memory.available == 0


def test_an_empty_part_acquires_no_memory(spool: Spool) -> None:
    with spool.part(0, 0) as part:
        assert part.is_full
        assert content_of(part) == b""
        assert spool.memory.available == BUDGET


@pytest.mark.property
@given(
    budget=st.integers(0, 300),
    capacity=st.integers(0, 400),
    expected=st.one_of(st.none(), st.integers(0, 500)),
    data=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_a_part_returns_every_byte_and_releases_its_memory(
    budget: int, capacity: int, expected: int | None, data: bytes, cuts: list[int]
) -> None:
    spool = Spool(budget)
    data = data[:capacity]
    with spool.part(capacity, expected) as part:
        for chunk in sliced(data, cuts):
            part.write(chunk)
        assert part.size == len(data)
        assert part.is_full == (len(data) == capacity)
        assert content_of(part) == data
        assert content_of(part) == data, "boto3 sends the content again in a retry"
    assert spool.memory.available == budget


@pytest.mark.property
@given(
    budget=st.integers(0, 300),
    capacity=st.integers(1, 300),
    announces=st.booleans(),
    data=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_a_part_is_filled_until_it_is_full_or_the_body_ends(
    *, budget: int, capacity: int, announces: bool, data: bytes, cuts: list[int]
) -> None:
    spool = Spool(budget)
    body = ScriptedBody(*sliced(data, cuts), content_length=len(data) if announces else None)
    stored = b""
    with spool.part(capacity, body.content_length) as part:
        part.fill(body)
        stored = content_of(part)
        assert stored == data[:capacity]
        assert body.has_ended == (len(data) < capacity), "a full part must not read on"
    assert spool.memory.available == budget


def test_a_body_larger_than_one_read_is_complete_on_disk(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(2 * MAX_DISK_READ + 77)
    with Spool(0, str(tmp_path)).part(len(data) + 1, None) as part:
        part.fill(ScriptedBody(data))
        assert content_of(part) == data


class ReadSizes(ScriptedBody):
    """A body that records the size of each buffer it is read into."""

    def __init__(self, *chunks: bytes) -> None:
        super().__init__(*chunks)
        self.read_sizes: list[int] = []

    def readinto(self, buffer: memoryview, /) -> int:
        self.read_sizes.append(len(buffer))
        return super().readinto(buffer)


def test_a_slow_client_is_read_into_a_small_buffer() -> None:
    """The buffer for the disk does not count towards the budget, and there may be hundreds."""
    for budget in (0, 64 * MIB):
        body = ReadSizes(b"x" * 8000)
        with Spool(budget).part(16 * MIB, None) as part:
            part.fill(body)
        assert max(body.read_sizes) <= FIRST_BUFFER


def test_the_buffer_for_the_disk_follows_the_rate_of_the_client() -> None:
    body = ReadSizes(bytes(2 * MIB), *[b"x" * 1000] * 5)
    with Spool(0).part(16 * MIB, None) as part:
        part.fill(body)
    assert max(body.read_sizes) == MAX_DISK_READ
    assert body.read_sizes[-1] == FIRST_BUFFER


def test_the_bytes_of_an_interrupted_body_stay(spool: Spool) -> None:
    body = ScriptedBody(b"abc", content_length=10, ending=BodyEnd.DISCONNECTED)
    with spool.part(10, 10) as part:
        part.fill(body)
        assert not part.is_full
        assert content_of(part) == b"abc"
        assert body.end is BodyEnd.DISCONNECTED


def test_threads_share_the_budget(spool: Spool) -> None:
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
    assert spool.memory.available == BUDGET


@pytest.mark.property
@given(
    st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 30))), max_size=8)
)
def test_the_checksum_is_right_in_memory_and_on_disk(
    sizes: list[tuple[int, int | None]],
) -> None:
    spool = Spool(40)
    with ExitStack() as parts:
        # Do not wait for the other parts, which are never sent.
        patch = parts.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("tus_wsgi.spool.memory.MAX_MEMORY_WAIT", 0.0)
        for number, (size, expected) in enumerate(sizes):
            data = bytes([number]) * size
            part = parts.enter_context(spool.part(size + 1, expected))
            part.fill(ScriptedBody(*sliced(data, [size // 2])))
            payload = part.payload()
            assert (payload.size, payload.crc32) == (size, zlib.crc32(data))
    assert spool.memory.available == 40


@pytest.mark.parametrize("budget", [0, 10**7], ids=["on disk", "in memory"])
@pytest.mark.parametrize("count", [0, 1, 5, MAX_DISK_READ, 2 * MAX_DISK_READ + 4])
def test_the_first_bytes_of_a_part_are_dropped(budget: int, count: int) -> None:
    data = random.Random(1).randbytes(3 * MAX_DISK_READ + 5)
    spool = Spool(budget)
    with spool.part(10**7, None) as part:
        part.fill(ScriptedBody(data))
        part.drop_front(count)
        payload = part.payload()
        assert content_of(part) == data[count:]
        assert (payload.size, payload.crc32) == (len(data) - count, zlib.crc32(data[count:]))
    assert (spool.memory.available, spool.disk.used) == (budget, 0)


def test_the_first_bytes_are_dropped_while_another_view_of_the_buffer_exists() -> None:
    with Spool(100).part(100, 10) as part:
        part.write(b"0123456789")
        with memoryview(part._block.data):
            part.drop_front(3)
        assert content_of(part) == b"3456789"


# -- reused buffers --------------------------------------------------------------------------------


def test_a_reused_buffer_does_not_leak_its_old_content() -> None:
    spool = Spool(4 * MIN_REUSED_BUFFER)
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        part.write(b"secret!!" * (MIN_REUSED_BUFFER // 8))
        first = part._block.data
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        for chunk in (bytes(MIN_REUSED_BUFFER // 2), b"abc"):
            part.write(chunk)
        assert part._block.data is first
        assert content_of(part) == bytes(MIN_REUSED_BUFFER // 2) + b"abc"
    assert spool.memory.available == 4 * MIN_REUSED_BUFFER


def test_two_parts_never_share_a_buffer() -> None:
    spool = Spool(4 * MIN_REUSED_BUFFER)
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        part.write(bytes(MIN_REUSED_BUFFER))
    with (
        spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as first,
        spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as second,
    ):
        first.write(b"1" * MIN_REUSED_BUFFER)
        second.write(b"2" * MIN_REUSED_BUFFER)
        assert set(content_of(first)) == set(b"1")


def test_reusable_buffers_and_buffers_in_use_stay_within_the_budget() -> None:
    spool = Spool(4 * MIB)
    for size in (MIB, MIB + 1, 2 * MIB, 3 * MIB, MIB + 2, 4 * MIB):
        with spool.part(size, size) as part:
            part.write(bytes(size))
            assert spool.memory._pool.size <= spool.memory.available
    size = 0
    for buffers in spool.memory._pool._buffers.values():
        assert buffers, "an empty list must not stay, because every upload may have another size"
        size += sum(map(len, buffers))
    assert spool.memory._pool.size == size


def test_buffers_of_sizes_that_do_not_recur_are_evicted() -> None:
    spool = Spool(MIB)
    for size in range(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER + 100):
        with spool.part(size, size) as part:
            part.write(bytes(size))
    assert len(spool.memory._pool._buffers) <= MIB // MIN_REUSED_BUFFER


def test_the_content_of_a_part_that_is_not_full_is_not_copied() -> None:
    spool = Spool(MIB)
    with spool.part(MIN_REUSED_BUFFER, MIN_REUSED_BUFFER) as part:
        part.write(b"abc")
        assert part.content() is part._block.data
        part.write(b"defg")
        assert content_of(part) == b"abcdefg"
    assert spool.memory.available == MIB


def test_a_truncated_buffer_is_not_reused() -> None:
    spool = Spool(4 * MIB)
    with spool.part(MIB, MIB) as part:
        part.write(bytes(MIN_REUSED_BUFFER - 1))
        part.write(b"xy")
        assert part.content() is part._block.data
    assert (spool.memory.available, spool.memory._pool.size) == (4 * MIB, 0)


def test_content_works_while_another_view_of_the_buffer_exists() -> None:
    """For example in a traceback that a log handler keeps."""
    with Spool(MIB).part(1000, 1000) as part:
        part.write(b"abc")
        with memoryview(part._block.data):
            assert content_of(part) == b"abc"


# -- slow and fast clients -------------------------------------------------------------------------


class SlowBody(ScriptedBody):
    """A body whose reads take some seconds of a fake clock."""

    def __init__(self, clock: Clock, seconds: float, *chunks: bytes) -> None:
        super().__init__(*chunks, on_read=lambda: clock.advance(seconds))


class Clock:
    """A fake of `time.monotonic`, so that tests need not wait."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._now = time.monotonic()
        patch.setattr(time, "monotonic", lambda: self._now)

    def advance(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_slow_clients_leave_half_of_the_memory_to_fast_ones(clock: Clock) -> None:
    spool = Spool(8 * MIB)
    with ExitStack() as parts:
        slow = [parts.enter_context(spool.part(4 * MIB, 4 * MIB)) for _ in range(20)]
        for part in slow:
            part.fill(SlowBody(clock, 1.0, *[bytes(8 * KIB)] * 200))
        assert spool.memory.available >= 4 * MIB
        assert any(is_on_disk(part) for part in slow)
        fast = parts.enter_context(spool.part(4 * MIB, 4 * MIB))
        fast.fill(SlowBody(clock, 0.001, *[bytes(64 * KIB)] * 50))
        assert not is_on_disk(fast)


def test_a_pause_before_the_first_byte_does_not_make_a_client_slow(clock: Clock) -> None:
    pauses = iter([60.0])
    body = ScriptedBody(
        *[bytes(FIRST_BUFFER)] * 200, on_read=lambda: clock.advance(next(pauses, 0.0))
    )
    with Spool(6 * MIB).part(4 * MIB, 4 * MIB) as part:
        part.fill(body)
        assert not is_on_disk(part)


# -- the disk --------------------------------------------------------------------------------------


def test_a_temporary_file_has_no_name(spool: Spool, tmp_path: Path) -> None:
    """A killed process leaves no file behind."""
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
def test_a_full_disk_is_reported_as_store_unavailable(budget: int) -> None:
    spool = FullDisk(budget)
    with spool.part(1000, 50) as part, pytest.raises(StoreUnavailable) as caught:
        part.write(b"x" * 101)
    assert caught.value.full
    assert isinstance(caught.value.__cause__, OSError)
    assert spool.memory.available == budget


def test_a_full_disk_while_a_body_is_read_sets_the_error() -> None:
    spool = FullDisk(0)
    with spool.part(1000, None) as part:
        part.fill(ScriptedBody(b"x" * 100))
        assert part.error is not None
        assert part.error.full


@pytest.mark.parametrize(
    ("number", "is_full"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, True), (errno.EIO, False)],
)
def test_only_some_errors_mean_that_the_disk_is_full(*, number: int, is_full: bool) -> None:
    with BrokenDisk(number).part(10, 10) as part, pytest.raises(StoreUnavailable) as caught:
        part.write(b"x")
    assert caught.value.full is is_full


@pytest.mark.parametrize("room", [0, 50, FIRST_BUFFER, FIRST_BUFFER + 7])
@pytest.mark.parametrize("budget", [0, FIRST_BUFFER])
def test_bytes_from_before_the_disk_was_full_can_be_read(
    tmp_path: Path, budget: int, room: int
) -> None:
    """The bytes are on disk, or in memory if the disk had no room for them."""
    data = random.Random(2).randbytes(3 * FIRST_BUFFER)
    spool = SmallDisk(budget, room, str(tmp_path))
    with spool.part(MIB, None) as part:
        part.fill(ScriptedBody(data))
        assert part.error is not None
        assert part.error.full
        assert part.size == max(budget, room)
        assert content_of(part) == data[: part.size]
        assert part.crc32 == zlib.crc32(data[: part.size])
    assert spool.memory.available == budget


def test_a_missing_directory_is_reported_as_store_unavailable(tmp_path: Path) -> None:
    spool = Spool(20, str(tmp_path / "gone"))
    with spool.part(100, 100) as part, pytest.raises(StoreUnavailable):
        part.write(b"x")
    with spool.part(100, 10) as part:
        part.write(b"x" * 10)
        with pytest.raises(StoreUnavailable):
            part.write(b"x" * 11)
        assert content_of(part) == b"x" * 10
    assert spool.memory.available == 20
