"""A full disk ends a request; the bytes that fitted are stored."""

from __future__ import annotations

import random

import pytest

from tests.harness.disks import SmallDisk
from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.spool.part import FIRST_BUFFER
from tus_wsgi.spool.spool import Spool

DATA = random.Random(8).randbytes(3 * PART + 777)


@pytest.mark.parametrize("length", [len(DATA), None], ids=["known", "deferred"])
@pytest.mark.parametrize(
    ("budget", "disk_space", "stored"),
    [
        (0, 0, 0),
        (0, 1000, 1000),
        (0, PART, PART),
        (0, 2 * PART + 1000, 2 * PART + 1000),
        (FIRST_BUFFER, 0, FIRST_BUFFER),
        (FIRST_BUFFER, PART + 1000, PART + FIRST_BUFFER),
    ],
)
def test_bytes_received_before_the_disk_was_full_are_stored(
    sandbox: S3Sandbox, length: int | None, budget: int, disk_space: int, stored: int
) -> None:
    """Full parts as parts, and the rest as the tail."""
    spool = SmallDisk(budget, disk_space)
    client = UploadClient(sandbox, store=sandbox.store(spool=spool))
    id = client.create(length).id
    with pytest.raises(StoreUnavailable) as caught:
        client.append(id, DATA)
    assert caught.value.full
    assert UploadClient(sandbox).inspect(id).offset == stored
    assert spool.memory.available == budget
    UploadClient(sandbox).append(id, DATA[stored:], offset=stored, length=len(DATA))
    assert sandbox.data(id) == DATA


@pytest.mark.parametrize("length", [len(DATA), None], ids=["known", "deferred"])
def test_bytes_received_before_the_disk_budget_was_used_up_are_stored(
    sandbox: S3Sandbox, length: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gets a 503, and later requests continue from there."""
    monkeypatch.setattr("tus_wsgi.spool.disk_budget.MAX_DISK_WAIT", 0.0)
    spool = Spool(0, disk_budget=2 * PART)
    client = UploadClient(sandbox, store=sandbox.store(spool=spool))
    id = client.create(length).id
    spool.disk.acquire(PART + 1000)
    with pytest.raises(StoreUnavailable) as caught:
        client.append(id, DATA)
    assert not caught.value.full
    stored = client.inspect(id).offset
    assert 0 < stored < PART
    spool.disk.release(PART + 1000)
    assert spool.disk.used == 0
    for offset in range(stored, len(DATA), PART // 2):
        data = DATA[offset : offset + PART // 2]
        client.append(id, data, offset=offset, length=len(DATA))
    assert sandbox.data(id) == DATA
    assert spool.disk.used == 0


def test_a_tail_survives_if_the_disk_has_no_space_to_read_it(sandbox: S3Sandbox) -> None:
    """D-04."""
    id = UploadClient(sandbox).create(len(DATA), DATA[:1000]).id
    without_space = sandbox.store(spool=SmallDisk(budget=0, free_bytes=0))
    with pytest.raises(StoreUnavailable):
        UploadClient(sandbox, store=without_space).append(id, DATA[1000:], offset=1000)
    assert UploadClient(sandbox).inspect(id).offset == 1000


def test_a_creation_on_a_full_disk_returns_the_stored_offset(sandbox: S3Sandbox) -> None:
    client = UploadClient(sandbox, store=sandbox.store(spool=SmallDisk(0, PART + 10)))
    assert client.create(len(DATA), DATA).offset == PART + 10


def test_an_s3_failure_is_reported_even_if_the_disk_is_full_too(sandbox: S3Sandbox) -> None:
    client = UploadClient(sandbox, store=sandbox.store(spool=SmallDisk(0, PART + 10)))
    id = client.create(len(DATA)).id
    with (
        sandbox.calls.failing(ConnectionError(), "UploadPart 1"),
        pytest.raises((StoreUnavailable, ConnectionError)) as caught,
    ):
        client.append(id, DATA)
    assert not getattr(caught.value, "full", False)
    assert UploadClient(sandbox).inspect(id).offset == 0
