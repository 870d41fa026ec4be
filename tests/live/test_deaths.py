"""Workers that die, and servers that are told to stop: uploads go on where they were."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import wait_until
from tests.harness.timing import assert_takes_less
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

FILE = some_bytes(4 * PART_SIZE + 1234)

AT_ONCE = 2.0
"""Seconds."""

STOPPED = 10.0
"""Seconds, of the 30 that `graceful_timeout` allows."""


def begin_patch(
    deployment: Deployment, port: int, path: str, offset: int, count: int
) -> Connection:
    """A PATCH for the whole rest, of which so many bytes have reached the server."""
    connection = Connection(port)
    length = str(len(FILE) - offset)
    connection.send_head("PATCH", path, patch_fields(offset, Content_Length=length))
    connection.send(FILE[offset : offset + count])
    connection.wait_until_delivered()
    deployment.wait_for_lock(path)
    return connection


def go_on(tus: TusClient, path: str, offset: int, count: int | None = None) -> int:
    """HEAD, then PATCH, as clients do; returns the offset that was acknowledged.

    A part that a dead worker had sent to S3 may be stored a moment after the HEAD has looked. Then
    the PATCH is refused, and the next HEAD says more: never less than `offset`, nor than before.
    """
    for _ in range(5):
        now = tus.offset(path)
        assert now >= offset
        offset = now
        stop = len(FILE) if count is None else min(len(FILE), offset + count)
        response = tus.patch(path, offset, FILE[offset:stop])
        if response.status == 204:
            assert response["Upload-Offset"] == str(stop)
            return stop
        assert response.status == 409
        assert int(response["Upload-Offset"]) > offset
    pytest.fail("five HEADs in a row named an offset that was refused")


@pytest.mark.parametrize("count", [10, 3 * PART_SIZE + 10], ids=["tail", "parts"])
def test_after_a_killed_worker_the_next_request_is_answered_at_once(
    count: int, new_deployment: Callable[..., Deployment]
) -> None:
    """C-44: what was acknowledged is there; the lock died with its holder."""
    deployment = new_deployment()
    deployment.expected_errors = r"was sent SIGKILL"
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    acknowledged = 2 * MIB

    def kill() -> float:
        path = tus.create(len(FILE))
        tus.append(path, 0, FILE[:acknowledged])
        with begin_patch(deployment, server.port, path, acknowledged, count) as connection:
            os.kill(server.worker_of(connection.socket), signal.SIGKILL)
            began = time.monotonic()
            offset = tus.offset(path)
            took = time.monotonic() - began
            assert acknowledged <= offset <= acknowledged + count
            go_on(tus, path, offset)
        assert deployment.read_object(path) == FILE
        return took

    assert_takes_less(AT_ONCE, kill)


def test_a_server_whose_only_worker_was_killed_comes_back(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment()
    deployment.expected_errors = r"was sent SIGKILL"
    server = deployment.start(workers=1)
    tus = TusClient(server.port)
    path = tus.create(len(FILE))
    with begin_patch(deployment, server.port, path, 0, PART_SIZE + 10) as connection:
        os.kill(server.worker_of(connection.socket), signal.SIGKILL)
        go_on(tus, path, 0)
    assert deployment.read_object(path) == FILE


def test_an_upload_that_workers_die_under_again_and_again_is_whole(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment()
    deployment.expected_errors = r"was sent SIGKILL"
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    path, offset = tus.create(len(FILE)), 0
    for step in (1, PART_SIZE - 1, 2 * PART_SIZE, 500_000):
        with begin_patch(deployment, server.port, path, offset, step) as holder:
            os.kill(server.worker_of(holder.socket), signal.SIGKILL)
        # Each death is followed by an acknowledged step, which no later one may undo.
        offset = go_on(tus, path, offset, 400_000)
    go_on(tus, path, offset)
    assert deployment.read_object(path) == FILE


class Sender(threading.Thread):
    """A client that sends as long as it can, and then reads the response."""

    def __init__(self, connection: Connection, rest: bytes) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._rest = rest
        self.response: Response | None = None

    def run(self) -> None:
        with suppress(OSError):
            for start in range(0, len(self._rest), 10_000):
                self._connection.send(self._rest[start : start + 10_000])
                time.sleep(0.02)
        with suppress(OSError, EOFError):
            self.response = self._connection.read_response()


def test_a_server_that_is_told_to_stop_stores_what_came_and_ends_soon(
    new_deployment: Callable[..., Deployment],
) -> None:
    """A silent upload, one in chunks and one that is being sent: none waits for its end."""
    deployment = new_deployment()
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    paths = [tus.create(len(FILE)) for _ in range(3)]
    silent, chunked, running = paths
    with ExitStack() as connections:
        first = connections.enter_context(
            begin_patch(deployment, server.port, silent, 0, PART_SIZE + 99)
        )
        second = connections.enter_context(Connection(server.port))
        second.send_head("PATCH", chunked, patch_fields(0, Transfer_Encoding="chunked"))
        second.send_chunk(FILE[: PART_SIZE + 98])
        second.wait_until_delivered()
        third = connections.enter_context(begin_patch(deployment, server.port, running, 0, 5_000))
        sender = Sender(third, FILE[5_000:])
        sender.start()
        deployment.wait_for_lock(chunked)
        for connection in (first, second):
            connection.wait_until_consumed()

        server.signal(signal.SIGTERM)
        began = time.monotonic()
        told = {silent: first.read_response(), chunked: second.read_response()}
        assert server.wait_for_exit(STOPPED) == 0
        print(f"stopped after {time.monotonic() - began:.2f} s")
        sender.join(5)

    offsets = {path: int(response["Upload-Offset"]) for path, response in told.items()}
    assert offsets == {silent: PART_SIZE + 99, chunked: PART_SIZE + 98}
    assert {response.status for response in told.values()} == {503}
    again = TusClient(deployment.start(workers=2).port)
    for path, offset in offsets.items():
        assert again.offset(path) == offset
    stored = again.offset(running)
    assert stored >= 5_000
    if sender.response is not None:
        assert (sender.response.status, sender.response["Upload-Offset"]) == (503, str(stored))
    for path in paths:
        offset = again.offset(path)
        again.append(path, offset, FILE[offset:])
        assert deployment.read_object(path) == FILE


def test_a_stopping_server_finishes_small_requests(
    new_deployment: Callable[..., Deployment],
) -> None:
    """A request whose last byte has come is answered as ever."""
    deployment = new_deployment()
    server = deployment.start(workers=1)
    tus = TusClient(server.port)
    path = tus.create(len(FILE))
    with Connection(server.port) as connection:
        connection.request("PATCH", path, patch_fields(0), FILE)
        server.signal(signal.SIGTERM)
        response = connection.read_response()
        offset = int(response["Upload-Offset"])
        assert (response.status, offset == len(FILE)) in [(204, True), (503, False)]
    assert server.wait_for_exit(STOPPED) == 0
    again = TusClient(deployment.start(workers=1).port)
    assert again.offset(path) == offset
    again.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE


def test_a_stopped_server_takes_no_more_connections(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment()
    server = deployment.start(workers=1)
    server.signal(signal.SIGTERM)
    assert server.wait_for_exit(STOPPED) == 0

    def refused() -> bool:
        with (
            suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", server.port), 1),
        ):
            return False
        return True

    wait_until(refused, seconds=1)
