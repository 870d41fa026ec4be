"""Two workers want the same upload: one of them gets it, and no byte is a mixture."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.timing import assert_takes_less
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

SIZES = {"tail": 40_000, "part": PART_SIZE, "parts": 2 * PART_SIZE + 40_000}


@pytest.fixture(scope="module")
def pair(deployment: Deployment) -> tuple[TusClient, TusClient]:
    """Two servers with one worker each, which share bucket and locks: two workers for certain."""
    first, second = deployment.start(workers=1), deployment.start(workers=1)
    return TusClient(first.port), TusClient(second.port)


def race(*requests: Callable[[], Response | None]) -> list[Response | None]:
    """Carry out requests at the same moment; None for a connection that was closed."""
    barrier = threading.Barrier(len(requests))

    def run(request: Callable[[], Response | None]) -> Response | None:
        barrier.wait(10)
        try:
            return request()
        except (OSError, EOFError):
            return None

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(run, requests))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("attempt", range(4))
def test_two_patches_at_the_same_offset_never_mix(
    size: int, attempt: int, pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """C-43: at most one 204, and what is stored is a beginning of one of the two bodies."""
    bodies = [some_bytes(size, seed=seed) for seed in (1, 2)]
    assert bodies[0][0] != bodies[1][0]
    path = pair[0].create(size)
    answers = race(
        *(
            lambda tus=tus, body=body: tus.patch(path, 0, body)
            for tus, body in zip(pair, bodies, strict=True)
        )
    )
    statuses = [None if answer is None else answer.status for answer in answers]
    assert statuses.count(204) <= 1, statuses
    assert set(statuses) <= {204, 409, 423, None}
    offset = pair[0].offset(path)
    if 204 in statuses:
        assert offset == size
    for answer in answers:
        if answer is not None and answer.status == 423:
            assert int(answer["Upload-Offset"]) <= offset
    if offset < size:
        pair[1].append(path, offset, bodies[0][offset:])
    stored = deployment.read_object(path)
    assert stored[:offset] in {body[:offset] for body in bodies}
    assert stored[offset:] == bodies[0][offset:]


def test_many_writers_at_the_same_offset_make_one_file(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """C-43"""
    bodies = [some_bytes(3 * MIB, seed=seed) for seed in range(8)]
    path = pair[0].create(3 * MIB)
    answers = race(
        *(
            lambda number=number, body=body: pair[number % 2].patch(path, 0, body)
            for number, body in enumerate(bodies)
        )
    )
    statuses = [None if answer is None else answer.status for answer in answers]
    assert statuses.count(204) <= 1, statuses
    assert set(statuses) <= {204, 409, 423, None}
    offset = pair[0].offset(path)
    pair[1].patch(path, offset, bodies[0][offset:])
    stored = deployment.read_object(path)
    assert stored[:offset] in {body[:offset] for body in bodies}


@pytest.mark.parametrize("sent", [0, 40_000, PART_SIZE + 40_000])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-worker", "other-worker"])
def test_a_delete_ends_a_patch_and_the_upload_never_comes_back(
    sent: int, elsewhere: bool, pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """TE-04, TE-05"""
    here, other = pair
    size = 3 * PART_SIZE
    body = some_bytes(size)

    def end() -> float:
        path = here.create(size)
        with Connection(here.port) as connection:
            connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(size)))
            connection.send(body[:sent])
            deployment.wait_for_lock(path)
            connection.wait_until_consumed()
            began = time.monotonic()
            assert (other if elsewhere else here).delete(path).status == 204
            took = time.monotonic() - began
            assert connection.read_response().status == 423
        for tus in pair:
            assert tus.head(path).status == 404
            assert tus.patch(path, sent, body[sent:]).status == 404
        assert [key for key in deployment.list_contents() if deployment.key(path) in key] == []
        return took

    assert_takes_less(2, end)


def test_two_deletes_at_once_leave_nothing(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """TE-06: one 204, and one 204 or 404."""
    path = pair[0].create(3 * PART_SIZE)
    pair[0].append(path, 0, some_bytes(PART_SIZE + 5))
    answers = race(*(lambda tus=tus: tus.delete(path) for tus in pair))
    statuses = {answer.status for answer in answers if answer is not None}
    assert 204 in statuses
    assert statuses <= {204, 404}
    assert [key for key in deployment.list_contents() if deployment.key(path) in key] == []


def test_a_storm_of_heads_never_sees_an_offset_shrink(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """C-25, C-26: whatever was said to be stored is stored for good."""
    size = 2 * PART_SIZE + 1
    body = some_bytes(size)
    path = pair[0].create(size)
    done = threading.Event()
    seen: list[list[int]] = [[], []]

    def watch(number: int) -> None:
        while not done.is_set():
            response = pair[number].head(path)
            assert response.status in (200, 423)
            if response.status == 200:
                seen[number].append(int(response["Upload-Offset"]))
            time.sleep(0.15)

    with ThreadPoolExecutor(2) as threads:
        watchers = [threads.submit(watch, number) for number in range(2)]
        offset = 0
        try:
            deadline = time.monotonic() + 60
            while offset < size:
                assert time.monotonic() < deadline, "the HEADs starve the upload"
                race(partial(pair[0].patch, path, offset, body[offset:]))
                now = pair[1].offset(path)
                assert now >= offset
                offset = now
        finally:
            done.set()
        for watcher in watchers:
            watcher.result()
    for offsets in seen:
        assert offsets == sorted(offsets)
    assert deployment.read_object(path) == body
