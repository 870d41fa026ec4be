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
from tus_wsgi.errors import StoreUnavailable
from tus_wsgi.model import KIB, MIB
from tus_wsgi.ports import BodyEnd
from tus_wsgi.spool import DISK_STEP, FIRST_BUFFER, KEPT_FROM, PATIENCE, Spool, SpooledPart

BUDGET = 1000


def left(spool: Spool) -> int:
    return spool._left


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
        assert left(spool) == BUDGET - 400
        part.write(b"x" * 400)
        assert left(spool) == BUDGET - 400
    assert left(spool) == BUDGET


def test_a_part_never_takes_more_than_it_may_hold(spool: Spool) -> None:
    with spool.part(100, 10**12), spool.part(100, None):
        assert left(spool) == BUDGET - 200


def test_a_part_grows_when_more_comes_than_expected(spool: Spool) -> None:
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
        assert (is_on_disk(first), is_on_disk(second)) == (False, True)
        second.write(b"abc")
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


def test_a_body_without_a_length_begins_with_a_small_buffer(tmp_path: Path) -> None:
    spool = Spool(64 * FIRST_BUFFER, str(tmp_path))
    with spool.part(32 * FIRST_BUFFER, None) as part:
        assert left(spool) == 63 * FIRST_BUFFER
        part.write(b"x" * (FIRST_BUFFER + 1))
        assert left(spool) == 62 * FIRST_BUFFER
        part.write(b"x" * (2 * FIRST_BUFFER))
        assert left(spool) == 60 * FIRST_BUFFER


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
    body = ScriptedBody(*sliced(data, cuts), announced=len(data) if announces else None)
    stored = b""
    with spool.part(capacity, body.announced) as part:
        part.fill(body)
        stored = content_of(part)
        assert stored == data[:capacity]
        assert body.has_ended == (len(data) < capacity), "a full part reads no further"
    assert left(spool) == budget


def test_a_body_larger_than_a_step_reaches_the_disk_whole(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(2 * DISK_STEP + 77)
    with Spool(0, str(tmp_path)).part(len(data) + 1, None) as part:
        part.fill(ScriptedBody(data))
        assert content_of(part) == data


def test_what_a_cut_body_brought_stays(spool: Spool) -> None:
    body = ScriptedBody(b"abc", announced=10, ending=BodyEnd.DISCONNECTED)
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
    spool = Spool(4 * KEPT_FROM)
    with spool.part(KEPT_FROM, KEPT_FROM) as part:
        part.write(b"secret" * 1000)
        first = part._memory
    with spool.part(KEPT_FROM, KEPT_FROM) as part:
        assert part._memory is first
        assert content_of(part) == b""
        part.write(b"abc")
        assert content_of(part) == b"abc"
    assert left(spool) == 4 * KEPT_FROM


def test_a_buffer_is_never_two_parts_at_once() -> None:
    spool = Spool(4 * KEPT_FROM)
    spool.part(KEPT_FROM, KEPT_FROM).close()
    with spool.part(KEPT_FROM, KEPT_FROM) as one, spool.part(KEPT_FROM, KEPT_FROM) as other:
        one.write(b"1" * KEPT_FROM)
        other.write(b"2" * KEPT_FROM)
        assert set(content_of(one)) == set(b"1")


def test_kept_buffers_and_those_in_use_stay_within_the_budget() -> None:
    spool = Spool(4 * MIB)
    for size in (MIB, MIB + 1, 2 * MIB, 3 * MIB, MIB + 2, 4 * MIB):
        with spool.part(size, size):
            assert spool._kept_size <= left(spool)
    for buffers in spool._kept.values():
        assert buffers, "there are as many sizes as uploads: what is empty must not stay"
    assert spool._kept_size == sum(map(len, (b for kept in spool._kept.values() for b in kept)))


def test_sizes_that_were_seen_once_are_forgotten() -> None:
    spool = Spool(MIB)
    for size in range(1000):
        spool.part(size, size).close()
    assert len(spool._kept) == 0


# -- waiting for memory ----------------------------------------------------------------------------


def test_memory_that_is_coming_back_is_waited_for(spool: Spool) -> None:
    spool.part(1, 1).close()
    first = spool.part(800, 800)
    timer = threading.Timer(PATIENCE / 5, first.close)
    timer.start()
    with spool.part(800, 800) as second:
        assert not is_on_disk(second)
    timer.join()


def test_memory_that_nobody_gives_back_is_not_waited_for(spool: Spool) -> None:
    with spool.part(800, 800):
        began = time.monotonic()
        with spool.part(800, 800) as second:
            assert is_on_disk(second)
    assert time.monotonic() - began < PATIENCE


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
    with spool.part(1000, None) as part, pytest.raises(StoreUnavailable) as caught:
        part.fill(ScriptedBody(b"x" * 100))
    assert caught.value.full


@pytest.mark.parametrize(
    ("number", "is_full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)]
)
def test_a_used_up_quota_is_a_full_disk_and_other_troubles_are_not(
    *, number: int, is_full: bool
) -> None:
    with BrokenDisk(number).part(10, 10) as part, pytest.raises(StoreUnavailable) as caught:
        part.write(b"x")
    assert caught.value.full is is_full


def test_a_directory_that_is_gone_is_the_store_s_trouble(tmp_path: Path) -> None:
    spool = Spool(10, str(tmp_path / "gone"))
    with pytest.raises(StoreUnavailable):
        spool.part(100, 100)
    part = spool.part(100, 10)
    with part, pytest.raises(StoreUnavailable):
        part.write(b"x" * 11)
    assert left(spool) == 10
