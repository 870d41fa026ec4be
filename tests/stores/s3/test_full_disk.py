"""A full disk ends a request, and costs as few of its bytes as can be."""

from __future__ import annotations

import random

import pytest

from tests.harness.disks import SmallDisk
from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.spool.part import FIRST_BUFFER

DATA = random.Random(8).randbytes(3 * PART + 777)


@pytest.mark.parametrize("length", [len(DATA), None], ids=["known", "deferred"])
@pytest.mark.parametrize(
    ("budget", "room", "stored"),
    [
        (0, 0, 0),
        (0, 1000, 1000),
        (0, PART, PART),
        (0, 2 * PART + 1000, 2 * PART + 1000),
        (FIRST_BUFFER, 0, FIRST_BUFFER),
        (FIRST_BUFFER, PART + 1000, PART + FIRST_BUFFER),
    ],
)
def test_what_was_received_before_the_disk_was_full_is_stored(
    sandbox: S3Sandbox, length: int | None, budget: int, room: int, stored: int
) -> None:
    """Whole parts first, and what there is of the next one as the tail."""
    spool = SmallDisk(budget, room)
    client = UploadClient(sandbox, store=sandbox.store(spool=spool))
    id = client.create(length).id
    with pytest.raises(StoreUnavailable) as caught:
        client.append(id, DATA)
    assert caught.value.full
    assert UploadClient(sandbox).inspect(id).offset == stored
    assert spool.memory.available == budget
    UploadClient(sandbox).append(id, DATA[stored:], offset=stored, length=len(DATA))
    assert sandbox.data(id) == DATA


def test_a_tail_stays_if_the_disk_has_no_room_for_it(sandbox: S3Sandbox) -> None:
    id = UploadClient(sandbox).create(len(DATA), DATA[:1000]).id
    with pytest.raises(StoreUnavailable):
        UploadClient(sandbox, store=sandbox.store(spool=SmallDisk(0, 0))).append(
            id, DATA[1000:], offset=1000
        )
    assert UploadClient(sandbox).inspect(id).offset == 1000


def test_a_client_whose_creation_met_a_full_disk_learns_how_far_it_got(sandbox: S3Sandbox) -> None:
    client = UploadClient(sandbox, store=sandbox.store(spool=SmallDisk(0, PART + 10)))
    assert client.create(len(DATA), DATA).offset == PART + 10


def test_a_failure_of_s3_is_the_news_even_if_the_disk_is_full_too(sandbox: S3Sandbox) -> None:
    client = UploadClient(sandbox, store=sandbox.store(spool=SmallDisk(0, PART + 10)))
    id = client.create(len(DATA)).id
    with (
        sandbox.calls.failing(ConnectionError(), "UploadPart 1"),
        pytest.raises((StoreUnavailable, ConnectionError)) as caught,
    ):
        client.append(id, DATA)
    assert not getattr(caught.value, "full", False)
    assert UploadClient(sandbox).inspect(id).offset == 0
