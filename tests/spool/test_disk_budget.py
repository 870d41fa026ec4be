"""The temporary files of a process together have at most `TUS_DISK_BUDGET` bytes."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from tests.harness.bodies import ScriptedBody, sliced
from tus_wsgi.domain.errors import StoreUnavailable, UploadTooLarge
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.spool.body import SpooledBody
from tus_wsgi.spool.disk_budget import MAX_DISK_WAIT, DiskBudget
from tus_wsgi.spool.part import FIRST_BUFFER
from tus_wsgi.spool.spool import Spool

LIMIT = 4 * FIRST_BUFFER
DATA = random.Random(3).randbytes(8 * FIRST_BUFFER)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(0, str(tmp_path), disk_budget=LIMIT)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tus_wsgi.spool.disk_budget.MAX_DISK_WAIT", 0.0)


def test_files_use_the_budget_until_they_are_closed(spool: Spool) -> None:
    with spool.part(LIMIT, None, [DATA[:100]]) as part:
        assert spool.disk.used == 100
        part.write(DATA[:400])
        assert spool.disk.used == 500
        with spool.part(LIMIT, None, [DATA[:7]]):
            assert spool.disk.used == 507
        assert spool.disk.used == 500
    part.close()
    assert spool.disk.used == 0


def test_a_part_in_memory_uses_no_disk(tmp_path: Path) -> None:
    spool = Spool(1000, str(tmp_path), disk_budget=1000)
    with spool.part(1500, 600) as part:
        part.write(DATA[:600])
        assert spool.disk.used == 0
        with pytest.raises(StoreUnavailable):
            part.write(DATA[:401])
        assert part.size == 600


@pytest.mark.usefixtures("no_wait")
def test_the_bytes_that_fit_are_kept_and_the_others_stay_unread(spool: Spool) -> None:
    body = ScriptedBody(*sliced(DATA, [FIRST_BUFFER]))
    with spool.part(MIB, None) as part:
        part.fill(body)
        assert part.error is not None
        assert not part.error.full, "the client may retry soon: 503 and not 507"
        assert 0 < part.size == body.received <= LIMIT
        assert spool.disk.used <= LIMIT
    assert spool.disk.used == 0


@pytest.mark.usefixtures("no_wait")
def test_bytes_in_memory_are_kept_if_the_disk_has_no_room_for_them(tmp_path: Path) -> None:
    spool = Spool(FIRST_BUFFER, str(tmp_path), disk_budget=LIMIT)
    with spool.part(LIMIT, None), spool.part(MIB, None) as part:
        spool.disk.acquire(LIMIT)
        part.fill(ScriptedBody(DATA))
        assert part.error is not None
        assert part.size == FIRST_BUFFER
        assert bytes(part.content()[:FIRST_BUFFER]) == DATA[:FIRST_BUFFER]  # type: ignore[index]
    spool.disk.release(LIMIT)
    assert (spool.disk.used, spool.memory.available) == (0, FIRST_BUFFER)


@pytest.mark.usefixtures("no_wait")
def test_a_failed_part_returns_what_it_reserved(spool: Spool) -> None:
    with pytest.raises(StoreUnavailable):
        spool.part(MIB, None, [DATA])
    assert spool.disk.used == 0


def test_a_part_waits_until_another_part_has_been_sent() -> None:
    budget = DiskBudget(100)
    budget.acquire(80)
    thread = threading.Timer(0.05, budget.release, [80])
    thread.start()
    budget.acquire(60)
    thread.join()
    assert budget.used == 60


def test_the_wait_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted request must release its lock within two seconds."""
    assert MAX_DISK_WAIT <= 1
    monkeypatch.setattr("tus_wsgi.spool.disk_budget.MAX_DISK_WAIT", 0.05)
    budget = DiskBudget(100)
    budget.acquire(80)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="TUS_DISK_BUDGET"):
        budget.acquire(21)
    assert time.monotonic() - began >= 0.05
    assert budget.used == 80


def test_a_budget_of_0_has_no_limit(tmp_path: Path) -> None:
    spool = Spool(0, str(tmp_path))
    assert spool.max_part_size is None
    with spool.part(len(DATA), None) as part:
        part.fill(ScriptedBody(DATA))
        assert part.is_full
    assert spool.disk.used == 0


# -- bodies with a checksum ------------------------------------------------------------------------


def test_a_body_that_never_fits_is_refused_before_it_is_read(spool: Spool) -> None:
    body = ScriptedBody(DATA)
    with SpooledBody(spool, body) as buffered:
        buffered.limit(MIB)
        with pytest.raises(UploadTooLarge) as caught:
            buffered.receive()
    assert (caught.value.limit, caught.value.provided) == (LIMIT, len(DATA))
    assert body.received == 0


def test_an_endless_body_with_a_checksum_is_refused_at_the_limit(spool: Spool) -> None:
    body = ScriptedBody(*sliced(DATA, [FIRST_BUFFER]), content_length=None)
    with SpooledBody(spool, body) as buffered:
        buffered.limit(MIB)
        with pytest.raises(UploadTooLarge):
            buffered.receive()
        assert spool.disk.used <= LIMIT
    assert spool.disk.used == 0


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_a_body_of_the_size_of_the_budget_is_received(spool: Spool, size: int) -> None:
    body = ScriptedBody(*sliced(DATA[:size], [7 * KIB]), content_length=None)
    with SpooledBody(spool, body) as buffered:
        buffered.limit(MIB)
        assert buffered.receive() is BodyEnd.COMPLETE
        assert buffered.content_length == size


@pytest.mark.usefixtures("no_wait")
def test_a_body_that_other_parts_leave_no_room_for_may_be_sent_again(spool: Spool) -> None:
    with (
        spool.part(LIMIT, None, [DATA[: LIMIT - 10]]),
        SpooledBody(spool, ScriptedBody(DATA[:FIRST_BUFFER])) as buffered,
    ):
        buffered.limit(MIB)
        with pytest.raises(StoreUnavailable):
            buffered.receive()
    assert spool.disk.used == 0
