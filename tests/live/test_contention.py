"""Concurrent requests for the same upload in two workers: the bodies never mix."""

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
from tests.harness.timing import MAX_WAIT, assert_takes_less
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

SIZES = {"tail": 40_000, "part": PART_SIZE, "parts": 2 * PART_SIZE + 40_000}


@pytest.fixture(scope="module")
def pair(deployment: Deployment) -> tuple[TusClient, TusClient]:
    """Two servers with one worker each, which share bucket and locks, so that workers are known."""
    first, second = deployment.start(workers=1), deployment.start(workers=1)
    return TusClient(first.port), TusClient(second.port)


def race(*requests: Callable[[], Response | None]) -> list[Response | None]:
    """Send requests at the same time. Return None for a connection that was closed."""
    barrier = threading.Barrier(len(requests))

    def run(request: Callable[[], Response | None]) -> Response | None:
        barrier.wait(MAX_WAIT)
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
    """C-43: at most one 204, and the stored bytes are a prefix of one of the two bodies."""
    bodies = [some_bytes(size, seed=seed) for seed in (1, 2)]
    assert bodies[0][0] != bodies[1][0]
    path = pair[0].create(size)
    responses = race(
        *(
            lambda tus=tus, body=body: tus.patch(path, 0, body)
            for tus, body in zip(pair, bodies, strict=True)
        )
    )
    statuses = [None if response is None else response.status for response in responses]
    assert statuses.count(204) <= 1, statuses
    assert set(statuses) <= {204, 409, 423, None}
    offset = pair[0].offset(path)
    if 204 in statuses:
        assert offset == size
    for response in responses:
        if response is not None and response.status == 423:
            assert int(response["Upload-Offset"]) <= offset
    if offset < size:
        pair[1].append(path, offset, bodies[0][offset:])
    stored = deployment.read_object(path)
    assert stored[:offset] in {body[:offset] for body in bodies}
    assert stored[offset:] == bodies[0][offset:]


def test_eight_patches_at_the_same_offset_never_mix(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """C-43: with eight PATCHes, the stored bytes are a prefix of one body."""
    bodies = [some_bytes(3 * MIB, seed=seed) for seed in range(8)]
    path = pair[0].create(3 * MIB)
    responses = race(
        *(
            lambda number=number, body=body: pair[number % 2].patch(path, 0, body)
            for number, body in enumerate(bodies)
        )
    )
    statuses = [None if response is None else response.status for response in responses]
    assert statuses.count(204) <= 1, statuses
    assert set(statuses) <= {204, 409, 423, None}
    offset = pair[0].offset(path)
    pair[1].patch(path, offset, bodies[0][offset:])
    stored = deployment.read_object(path)
    assert stored[:offset] in {body[:offset] for body in bodies}


@pytest.mark.parametrize("sent", [0, 40_000, PART_SIZE + 40_000])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-worker", "other-worker"])
def test_a_delete_interrupts_a_patch_and_the_upload_stays_deleted(
    sent: int, elsewhere: bool, pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """TE-04, TE-05: within two seconds, and a later PATCH is not found."""
    here, other = pair
    size = 3 * PART_SIZE
    body = some_bytes(size)

    def measure() -> float:
        path = here.create(size)
        with Connection(here.port) as connection:
            connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(size)))
            connection.send(body[:sent])
            deployment.wait_for_lock(path)
            connection.wait_until_consumed()
            began = time.monotonic()
            deleter = other if elsewhere else here
            assert deleter.delete(path).status == 204
            took = time.monotonic() - began
            assert connection.read_response().status == 423
        for tus in pair:
            assert tus.head(path).status == 404
            assert tus.patch(path, sent, body[sent:]).status == 404
        assert [key for key in deployment.list_keys() if deployment.key(path) in key] == []
        return took

    assert_takes_less(2, measure)


def test_two_concurrent_deletes_leave_no_objects(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """TE-06: at least one is 204, the other 204 or 404."""
    path = pair[0].create(3 * PART_SIZE)
    pair[0].append(path, 0, some_bytes(PART_SIZE + 5))
    responses = race(*(lambda tus=tus: tus.delete(path) for tus in pair))
    statuses = {response.status for response in responses if response is not None}
    assert 204 in statuses
    assert statuses <= {204, 404}
    assert [key for key in deployment.list_keys() if deployment.key(path) in key] == []


def test_offsets_of_concurrent_heads_never_decrease(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """C-25, C-26, D-03: an acknowledged offset stays acknowledged."""
    size = 2 * PART_SIZE + 1
    body = some_bytes(size)
    path = pair[0].create(size)
    done = threading.Event()
    seen: list[list[int]] = [[], []]

    def poll(number: int) -> None:
        while not done.is_set():
            response = pair[number].head(path)
            assert response.status in (200, 423)
            if response.status == 200:
                seen[number].append(int(response["Upload-Offset"]))
            time.sleep(0.15)

    with ThreadPoolExecutor(2) as threads:
        pollers = [threads.submit(poll, number) for number in range(2)]
        offset = 0
        try:
            deadline = time.monotonic() + 60
            while offset < size:
                assert time.monotonic() < deadline, "the HEAD requests starve the upload"
                # A HEAD can interrupt the PATCH. `race` ignores the closed connection.
                race(partial(pair[0].patch, path, offset, body[offset:]))
                new_offset = pair[1].offset(path)
                assert new_offset >= offset
                offset = new_offset
        finally:
            done.set()
        for poller in pollers:
            poller.result()
    for offsets in seen:
        assert offsets == sorted(offsets)
    assert deployment.read_object(path) == body
