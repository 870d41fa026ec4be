"""One client's ways are not another's trouble: not the fast, not the silent, and not the many."""

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

LATE = 2.0
"""Seconds that a small request may take beside a large one, on a machine that does much else."""

CROWD = 200
"""Clients that have sent something, and are silent."""

SENT = 300 * KIB

LONG = 128 * MIB

CONNECTION_SIZE = 200 * KIB
"""Bytes of memory that a client may cost beside the budget: 500 of them 100 MiB."""


def one_worker(deployment: Deployment) -> tuple[Gunicorn, int]:
    server = deployment.start(workers=1)
    (worker,) = server.workers()
    return server, worker


def send_fast(tus: TusClient, path: str, size: int, chunked: bool) -> None:
    """Send without ever waiting for more than the server's kernel."""
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
def test_a_small_request_beside_a_fast_client_is_answered_soon(
    chunked: bool, new_deployment: NewDeployment
) -> None:
    deployment = new_deployment()
    server, _ = one_worker(deployment)
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
    assert len(seconds) > 5, "the upload was over too soon"
    assert max(seconds) < LATE, sorted(seconds)[-5:]


def test_a_healthy_upload_moves_while_stalled_clients_hold_the_budget(
    new_deployment: NewDeployment,
) -> None:
    deployment = new_deployment(TUS_MEMORY_BUDGET="8MiB")
    server, _ = one_worker(deployment)
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
        assert time.monotonic() - began < 15
    assert deployment.read_object(path) == data


def test_silent_clients_cost_little_memory_beside_the_budget(new_deployment: NewDeployment) -> None:
    """Their bytes are on disk, and none of them is waited for with much."""
    deployment = new_deployment(TUS_MEMORY_BUDGET="4MiB")
    server, worker = one_worker(deployment)
    TusClient(server.port).upload(bytes(MIB))
    before = psutil.Process(worker).memory_info().rss
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(server.port)) for _ in range(CROWD)]
        length = {"Upload-Length": str(PART_SIZE), "Content-Length": str(PART_SIZE)}
        for client in clients:
            # One part: S3 hears nothing of it until its end.
            client.send_head("POST", "/files", {**VERSION, **STREAM, **length})
            client.send(bytes(SENT))
        for client in clients:
            client.wait_until_delivered()
        clients[-1].wait_until_consumed()
        grown = psutil.Process(worker).memory_info().rss - before
    assert grown < 4 * MIB + CROWD * CONNECTION_SIZE, grown / MIB


def test_a_long_tail_takes_no_more_memory_than_the_budget(new_deployment: NewDeployment) -> None:
    """Parts of an upload of 5 TiB have 525 MiB, so tails are long, and each request begins with
    one."""
    deployment = new_deployment(TUS_MEMORY_BUDGET="16MiB")
    server, worker = one_worker(deployment)
    tus = TusClient(server.port)
    path = tus.create(5 << 40)
    tus.append(path, 0, bytes(LONG))
    process = Path(f"/proc/{worker}")
    (process / "clear_refs").write_text("5")  # the peak begins anew
    before = psutil.Process(worker).memory_info().rss
    tus.append(path, LONG, b"x")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
    assert int(peak) * KIB - before < 24 * MIB
    assert tus.offset(path) == LONG + 1
    tus.delete(path)
