"""A resume supersedes a stalled request within two seconds.

No byte that the server has received is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.timing import assert_takes_less, wait_until
from tus_wsgi.domain.model import KIB

pytestmark = pytest.mark.live

TAKEOVER_SECONDS = 2.0
"""Maximum for a HEAD and a PATCH together."""

FILE = some_bytes(2 * PART_SIZE + 70_000)

SENT = [0, 1, 70_001, PART_SIZE, PART_SIZE + 70_001]
"""Bytes that a client sends before it stalls: nothing, a tail, a part, and both."""

framings = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])


@contextmanager
def stalled(
    deployment: Deployment,
    port: int,
    path: str,
    sent: int,
    *,
    chunked: bool,
    wait: bool = True,
) -> Iterator[Connection]:
    """Run a PATCH that stalls after `sent` bytes.

    Args:
        wait: whether to wait until the server has read these bytes. Otherwise wait only until it
            has locked the upload.
    """
    with Connection(port) as connection:
        if chunked:
            connection.send_head("PATCH", path, patch_fields(0, Transfer_Encoding="chunked"))
            for start in range(0, sent, 100 * KIB):
                connection.send_chunk(FILE[start : min(start + 100 * KIB, sent)])
        else:
            connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(len(FILE))))
            connection.send(FILE[:sent])
        connection.wait_until_delivered()
        deployment.wait_for_lock(path)
        if wait:
            connection.wait_until_consumed()
        yield connection


def supersede(
    deployment: Deployment, tus: TusClient, path: str, sent: int, holder: Connection
) -> float:
    """Supersede the holder with HEAD and PATCH, and complete the upload.

    The holder gets a 423 with the stored offset.

    Returns:
        The seconds that HEAD and PATCH took together.
    """
    began = time.monotonic()
    assert tus.offset(path) == sent
    tus.append(path, sent, FILE[sent : sent + 1000])
    took = time.monotonic() - began
    response = holder.read_response()
    assert (response.status, response["Upload-Offset"]) == (423, str(sent))
    tus.append(path, sent + 1000, FILE[sent + 1000 :])
    assert deployment.read_object(path) == FILE
    return took


@pytest.fixture(scope="module")
def pair(deployment: Deployment) -> tuple[TusClient, TusClient]:
    """Two servers with one worker each, which share bucket and locks, so that workers are known."""
    first, second = deployment.start(workers=1), deployment.start(workers=1)
    return TusClient(first.port), TusClient(second.port)


@framings
@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-worker", "other-worker"])
def test_a_stalled_client_is_superseded(
    elsewhere: bool,
    sent: int,
    chunked: bool,
    pair: tuple[TusClient, TusClient],
    deployment: Deployment,
) -> None:
    """C-41, C-42: every byte that the client sent is stored."""
    here, other = pair

    def measure() -> float:
        path = here.create(len(FILE))
        with stalled(deployment, here.port, path, sent, chunked=chunked) as holder:
            return supersede(deployment, other if elsewhere else here, path, sent, holder)

    assert_takes_less(TAKEOVER_SECONDS, measure)


@framings
@pytest.mark.parametrize("sent", [0, PART_SIZE + 70_001])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-worker", "other-worker"])
def test_a_request_is_superseded_before_the_server_reads_its_body(
    elsewhere: bool,
    sent: int,
    chunked: bool,
    pair: tuple[TusClient, TusClient],
    deployment: Deployment,
) -> None:
    """C-41: bytes in the kernel's receive buffer are stored as well."""
    here, other = pair

    def measure() -> float:
        path = here.create(len(FILE))
        with stalled(deployment, here.port, path, sent, chunked=chunked, wait=False) as holder:
            return supersede(deployment, other if elsewhere else here, path, sent, holder)

    assert_takes_less(TAKEOVER_SECONDS, measure)


def test_both_workers_of_a_server_can_supersede(
    deployment: Deployment, server: Gunicorn, tus: TusClient
) -> None:
    sent = PART_SIZE + 1
    # The seconds of the fastest HEAD, by whether the same worker handled the stalled request.
    fastest = dict[bool, float]()
    for _ in range(60):
        path = tus.create(len(FILE))
        with stalled(deployment, server.port, path, sent, chunked=False) as holder:
            holder_worker = server.worker_of(holder.socket)
            with Connection(server.port) as connection:
                began = time.monotonic()
                connection.request("HEAD", path, {"Tus-Resumable": "1.0.0"})
                response = connection.read_response()
                took = time.monotonic() - began
                assert response["Upload-Offset"] == str(sent)
                same = server.worker_of(connection.socket) == holder_worker
                fastest[same] = min(took, fastest.get(same, took))
            assert holder.read_response().status == 423
        if len(fastest) == 2 and max(fastest.values()) < TAKEOVER_SECONDS:
            return
    pytest.fail(f"60 requests went to one worker, or were slow: {fastest}")


def test_a_patch_without_a_head_supersedes(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    here, other = pair

    def measure() -> float:
        path = here.create(len(FILE))
        with stalled(deployment, here.port, path, 70_001, chunked=False):
            began = time.monotonic()
            other.append(path, 70_001, FILE[70_001:])
            took = time.monotonic() - began
        assert deployment.read_object(path) == FILE
        return took

    assert_takes_less(TAKEOVER_SECONDS + 1, measure)  # includes ten MiB


@framings
def test_a_head_during_a_patch_returns_the_offset_to_resume_from(
    chunked: bool, pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """C-25, C-26, D-03: the offset never decreases, although each HEAD interrupts a PATCH."""
    here, other = pair
    path, offset = here.create(len(FILE)), 0
    with ExitStack() as connections:
        for step in (1, 100_000, PART_SIZE, 300_000):
            connection = connections.enter_context(Connection(here.port))
            if chunked:
                fields = patch_fields(offset, Transfer_Encoding="chunked")
                connection.send_head("PATCH", path, fields)
                connection.send_chunk(FILE[offset : offset + step])
            else:
                length = str(len(FILE) - offset)
                connection.send_head("PATCH", path, patch_fields(offset, Content_Length=length))
                connection.send(FILE[offset : offset + step])
            connection.wait_until_delivered()
            deployment.wait_for_lock(path)
            offset += step
            assert other.offset(path) == offset
    here.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE


def test_a_stalled_body_ends_after_the_network_timeout(
    new_deployment: Callable[..., Deployment],
) -> None:
    """C-42: the received bytes are stored, and the lock is released."""
    deployment = new_deployment(TUS_NETWORK_TIMEOUT="500ms")
    tus = TusClient(deployment.start(workers=1).port)

    def measure() -> float:
        path = tus.create(len(FILE))
        began = time.monotonic()
        with stalled(deployment, tus.port, path, PART_SIZE + 5, chunked=False) as holder:
            response = holder.read_response()
            took = time.monotonic() - began
            assert (response.status, response["Upload-Offset"]) == (503, str(PART_SIZE + 5))
            assert holder.read_to_end() == b"", (
                "the connection is not closed after an incomplete request"
            )
        assert tus.offset(path) == PART_SIZE + 5
        assert took > 0.5
        return took

    assert_takes_less(3, measure)


def test_a_slow_client_does_not_time_out(new_deployment: Callable[..., Deployment]) -> None:
    deployment = new_deployment(TUS_NETWORK_TIMEOUT="1s")
    tus = TusClient(deployment.start(workers=1).port)
    path = tus.create(10)
    with Connection(tus.port) as connection:
        connection.send_head("PATCH", path, patch_fields(0, Content_Length="10"))
        for byte in b"0123456789":
            connection.send(bytes([byte]))
            time.sleep(0.15)
        assert connection.read_response().status == 204
    assert deployment.read_object(path) == b"0123456789"


def test_twelve_stalled_clients_do_not_slow_down_an_upload(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    """More clients than slots for part uploads: a stalled client occupies no slot."""
    here, _ = pair
    with ExitStack() as holders:
        for _ in range(12):
            path = here.create(len(FILE))
            holders.enter_context(
                stalled(deployment, here.port, path, PART_SIZE + 1, chunked=False)
            )

        def measure() -> float:
            began = time.monotonic()
            path = here.upload(FILE)
            took = time.monotonic() - began
            assert deployment.read_object(path) == FILE
            return took

        assert_takes_less(5, measure)


def test_a_client_with_a_reset_connection_is_superseded(
    pair: tuple[TusClient, TusClient], deployment: Deployment
) -> None:
    here, other = pair
    path = here.create(len(FILE))
    with stalled(deployment, here.port, path, 1000, chunked=False) as holder:
        holder.reset()
        wait_until(lambda: other.offset(path) == 1000, seconds=5 * TAKEOVER_SECONDS)
    other.append(path, 1000, FILE[1000:])
    assert deployment.read_object(path) == FILE
