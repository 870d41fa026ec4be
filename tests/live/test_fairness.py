"""Fast, idle and numerous clients do not slow down other clients."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import STREAM, VERSION, TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

NewDeployment = Callable[..., Deployment]

MAX_LATENCY = 2.0
"""Seconds that a small request may take during a large one, on a busy machine."""

IDLE_CLIENTS = 200

IDLE_BYTES = 300 * KIB
"""Bytes that each idle client has sent."""

TAIL_SIZE = 128 * MIB

MAX_MEMORY_PER_CLIENT = 200 * KIB
"""Bytes that a client may need in addition to the budget: 100 MiB for 500 clients."""


def start_one_worker(deployment: Deployment) -> tuple[Gunicorn, int]:
    server = deployment.start(workers=1)
    (worker,) = server.workers()
    return server, worker


def send_fast(tus: TusClient, path: str, size: int, chunked: bool) -> None:
    """Send as fast as the server's kernel accepts bytes."""
    with Connection(tus.port, timeout=60) as connection:
        length = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(size)}
        connection.send_head("PATCH", path, patch_fields(0, **length))
        send = connection.send_chunk if chunked else connection.send
        for _ in range(size // MIB):
            send(bytes(MIB))
        if chunked:
            send(b"")
        assert connection.read_response().status == 204


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_small_request_is_fast_while_a_fast_client_uploads(
    chunked: bool, new_deployment: NewDeployment
) -> None:
    deployment = new_deployment()
    server, _ = start_one_worker(deployment)
    tus = TusClient(server.port)
    size = 96 * MIB
    path = tus.create(size)
    seconds = list[float]()
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(send_fast, tus, path, size, chunked)
        while not done.done():
            began = time.monotonic()
            assert tus.request("OPTIONS", "/files").status == 204
            seconds.append(time.monotonic() - began)
            time.sleep(0.02)
        done.result()
    assert len(seconds) > 5, "the upload ended too early"
    assert max(seconds) < MAX_LATENCY, sorted(seconds)[-5:]


def test_an_upload_completes_while_stalled_clients_use_the_budget(
    new_deployment: NewDeployment,
) -> None:
    deployment = new_deployment(TUS_MEMORY_BUDGET="8MiB")
    server, _ = start_one_worker(deployment)
    tus = TusClient(server.port)
    data = some_bytes(2 * PART_SIZE + 1000)
    with ExitStack() as stack:
        for _ in range(8):
            path = tus.create(4 * PART_SIZE)
            stalled = stack.enter_context(Connection(server.port))
            stalled.send_head("PATCH", path, patch_fields(0, Content_Length=str(4 * PART_SIZE)))
            stalled.send(bytes(3 * MIB))
            stalled.wait_until_consumed()
        began = time.monotonic()
        path = tus.upload(data)
        assert time.monotonic() - began < 45  # a stalled client is given up after a minute
    assert deployment.read_object(path) == data


def test_idle_clients_need_little_memory_in_addition_to_the_budget(
    new_deployment: NewDeployment,
) -> None:
    """The bytes of idle clients are on disk, and their receive buffers are small."""
    deployment = new_deployment(TUS_MEMORY_BUDGET="4MiB")
    server, worker = start_one_worker(deployment)
    TusClient(server.port).upload(bytes(MIB))
    before = psutil.Process(worker).memory_info().rss
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(server.port)) for _ in range(IDLE_CLIENTS)]
        length = {"Upload-Length": str(PART_SIZE), "Content-Length": str(PART_SIZE)}
        for client in clients:
            # The upload has one part, so S3 gets no call before the end of the body.
            client.send_head("POST", "/files", {**VERSION, **STREAM, **length})
            client.send(bytes(IDLE_BYTES))
        for client in clients:
            client.wait_until_delivered()
        clients[-1].wait_until_consumed()
        grown = psutil.Process(worker).memory_info().rss - before
    assert grown < 4 * MIB + IDLE_CLIENTS * MAX_MEMORY_PER_CLIENT, grown / MIB


def test_loading_a_long_tail_stays_within_the_memory_budget(new_deployment: NewDeployment) -> None:
    """An upload of 5 TiB has parts of 525 MiB, so each request starts by loading a long tail."""
    deployment = new_deployment(TUS_MEMORY_BUDGET="16MiB")
    server, worker = start_one_worker(deployment)
    tus = TusClient(server.port)
    path = tus.create(5 << 40)
    tus.append(path, 0, bytes(TAIL_SIZE))
    process = Path(f"/proc/{worker}")
    (process / "clear_refs").write_text("5")  # reset the peak
    before = psutil.Process(worker).memory_info().rss
    tus.append(path, TAIL_SIZE, b"x")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
    assert int(peak) * KIB - before < 24 * MIB
    assert tus.offset(path) == TAIL_SIZE + 1
    tus.delete(path)
