"""Killed workers and stopped servers: uploads resume from the acknowledged offset."""

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
from tests.harness.timing import MAX_WAIT, assert_takes_less, wait_until
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

FILE = some_bytes(4 * PART_SIZE + 1234)

TAKEOVER_SECONDS = 2.0

STOP_SECONDS = 10.0
"""Less than the 30 seconds of `graceful_timeout`."""


class Answered(Exception):
    """A PATCH was answered before it had its whole body."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the PATCH was answered early: {response}")
        self.response = response


def start_patch(
    deployment: Deployment, port: int, path: str, offset: int, count: int
) -> Connection:
    """Start a PATCH for all remaining bytes, of which the server has received `count`.

    Raises:
        Answered: the server did not wait for the other bytes.
    """
    with ExitStack() as on_failure:
        connection = on_failure.enter_context(Connection(port))
        length = str(len(FILE) - offset)
        connection.send_head("PATCH", path, patch_fields(offset, Content_Length=length))
        connection.send(FILE[offset : offset + count])
        connection.wait_until_delivered()
        if not deployment.wait_for_lock(path, unless=connection.has_input):
            raise Answered(connection.read_response())
        on_failure.pop_all()
    return connection


def start_patch_at_stored_offset(
    deployment: Deployment, port: int, path: str, count: int
) -> tuple[Connection, int]:
    """Start a PATCH at the offset that HEAD returns. Return its connection and the offset.

    A part that a killed worker had sent to S3 may be stored between HEAD and PATCH, see `resume`.
    """
    for _ in range(5):
        offset = TusClient(port).offset(path)
        try:
            return start_patch(deployment, port, path, offset, count), offset
        except Answered as error:
            response = error.response
        assert response.status == 409
        assert int(response["Upload-Offset"]) > offset
    pytest.fail("five HEADs in a row returned an offset that PATCH rejected")


def resume(tus: TusClient, path: str, offset: int, count: int | None = None) -> int:
    """Resume with HEAD and PATCH as clients do. Return the acknowledged offset.

    A part that a killed worker had sent to S3 may be stored just after the HEAD. Then the PATCH is
    rejected and the next HEAD returns a larger offset. It never returns a smaller one.
    """
    for _ in range(5):
        new_offset = tus.offset(path)
        assert new_offset >= offset
        offset = new_offset
        stop = len(FILE) if count is None else min(len(FILE), offset + count)
        response = tus.patch(path, offset, FILE[offset:stop])
        if response.status == 204:
            assert response["Upload-Offset"] == str(stop)
            return stop
        assert response.status == 409
        assert int(response["Upload-Offset"]) > offset
    pytest.fail("five HEADs in a row returned an offset that PATCH rejected")


@pytest.mark.parametrize("count", [10, 3 * PART_SIZE + 10], ids=["tail", "parts"])
def test_a_request_after_a_killed_worker_does_not_wait_for_its_lock(
    count: int, new_deployment: Callable[..., Deployment]
) -> None:
    """C-44, D-03: the acknowledged bytes are stored, and the kernel released the lock."""
    deployment = new_deployment()
    deployment.expected_errors = r"was sent SIGKILL"
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    acknowledged = 2 * MIB

    def measure() -> float:
        path = tus.create(len(FILE))
        tus.append(path, 0, FILE[:acknowledged])
        with start_patch(deployment, server.port, path, acknowledged, count) as connection:
            os.kill(server.worker_of(connection.socket), signal.SIGKILL)
            began = time.monotonic()
            offset = tus.offset(path)
            took = time.monotonic() - began
            assert acknowledged <= offset <= acknowledged + count
            resume(tus, path, offset)
        assert deployment.read_object(path) == FILE
        return took

    assert_takes_less(TAKEOVER_SECONDS, measure)


def test_an_upload_resumes_after_the_only_worker_was_killed(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment()
    deployment.expected_errors = r"was sent SIGKILL"
    server = deployment.start(workers=1)
    tus = TusClient(server.port)
    path = tus.create(len(FILE))
    with start_patch(deployment, server.port, path, 0, PART_SIZE + 10) as connection:
        os.kill(server.worker_of(connection.socket), signal.SIGKILL)
        resume(tus, path, 0)
    assert deployment.read_object(path) == FILE


def test_an_upload_completes_although_workers_are_killed_repeatedly(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment()
    deployment.expected_errors = r"was sent SIGKILL"
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    path, offset = tus.create(len(FILE)), 0
    for step in (1, PART_SIZE - 1, 2 * PART_SIZE, 500_000):
        holder, stored = start_patch_at_stored_offset(deployment, server.port, path, step)
        assert stored >= offset
        with holder:
            os.kill(server.worker_of(holder.socket), signal.SIGKILL)
        # After each kill some bytes are acknowledged. No later kill may lose them.
        offset = resume(tus, path, stored, 400_000)
    resume(tus, path, offset)
    assert deployment.read_object(path) == FILE


class SenderThread(threading.Thread):
    """A client that sends until the connection breaks, and then reads the response."""

    def __init__(self, connection: Connection, remaining: bytes) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._remaining = remaining
        self.response: Response | None = None

    def run(self) -> None:
        with suppress(OSError):
            for start in range(0, len(self._remaining), 10_000):
                self._connection.send(self._remaining[start : start + 10_000])
                time.sleep(0.02)
        with suppress(OSError, EOFError):
            self.response = self._connection.read_response()


def test_a_stopping_server_stores_received_bytes_and_exits_soon(
    new_deployment: Callable[..., Deployment],
) -> None:
    """The server waits for no upload: neither an idle one, nor a chunked one, nor an active one."""
    deployment = new_deployment()
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    paths = [tus.create(len(FILE)) for _ in range(3)]
    idle, chunked, active = paths
    with ExitStack() as connections:
        first = connections.enter_context(
            start_patch(deployment, server.port, idle, 0, PART_SIZE + 99)
        )
        second = connections.enter_context(Connection(server.port))
        second.send_head("PATCH", chunked, patch_fields(0, Transfer_Encoding="chunked"))
        second.send_chunk(FILE[: PART_SIZE + 98])
        second.wait_until_delivered()
        third = connections.enter_context(start_patch(deployment, server.port, active, 0, 5_000))
        sender = SenderThread(third, FILE[5_000:])
        sender.start()
        deployment.wait_for_lock(chunked)
        for connection in (first, second):
            connection.wait_until_consumed()

        server.signal(signal.SIGTERM)
        began = time.monotonic()
        responses = {idle: first.read_response(), chunked: second.read_response()}
        assert server.wait_for_exit(STOP_SECONDS) == 0
        print(f"stopped after {time.monotonic() - began:.2f} s")
        sender.join(MAX_WAIT)

    offsets = {path: int(response["Upload-Offset"]) for path, response in responses.items()}
    assert offsets == {idle: PART_SIZE + 99, chunked: PART_SIZE + 98}
    assert {response.status for response in responses.values()} == {503}
    restarted = TusClient(deployment.start(workers=2).port)
    for path, offset in offsets.items():
        assert restarted.offset(path) == offset
    stored = restarted.offset(active)
    assert stored >= 5_000
    if sender.response is not None:
        assert (sender.response.status, sender.response["Upload-Offset"]) == (503, str(stored))
    for path in paths:
        offset = restarted.offset(path)
        restarted.append(path, offset, FILE[offset:])
        assert deployment.read_object(path) == FILE


def test_a_stopping_server_responds_to_requests_that_it_received_completely(
    new_deployment: Callable[..., Deployment],
) -> None:
    """The response is 204 if all bytes are stored, otherwise 503 with the stored offset."""
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
    assert server.wait_for_exit(STOP_SECONDS) == 0
    restarted = TusClient(deployment.start(workers=1).port)
    assert restarted.offset(path) == offset
    restarted.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE


def test_a_stopped_server_accepts_no_connections(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment()
    server = deployment.start(workers=1)
    server.signal(signal.SIGTERM)
    assert server.wait_for_exit(STOP_SECONDS) == 0

    def is_refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_refused)
