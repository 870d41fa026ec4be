"""The pages for operators under gunicorn, with several workers and restarts of workers."""

from __future__ import annotations

import os
import signal
import sysconfig
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import ROOT, Gunicorn
from tests.harness.timing import wait_until
from tests.observers.test_prometheus import samples

pytestmark = pytest.mark.live

FILE = some_bytes(20_000)

TOKEN = "s3cret"

# prometheus_client leaves its files to the end of the process.
EXPECTED = r"sent SIGKILL|ResourceWarning: unclosed file .*tus-wsgi-metrics"


def scrape(port: int) -> dict[str, float]:
    with Connection(port) as connection:
        connection.request("GET", "/metrics", {"Authorization": f"Bearer {TOKEN}"})
        response = connection.read_response()
        assert response.status == 200, response
        return samples(response.body)


def kill_worker(server: Gunicorn, pid: int) -> None:
    """Kill a worker, and wait until another one has taken its place."""
    count = len(server.workers())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in server.workers() and len(server.workers()) == count)


def test_every_worker_serves_the_counts_of_all_workers_also_of_ended_ones(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment(
        TUS_METRICS_PATH="/metrics",
        TUS_METRICS_TOKEN=TOKEN,
        TUS_HEALTH_PATH="/health",
        TMPDIR=str(tmp_path),
    )
    deployment.expected_errors = EXPECTED
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    for _ in range(4):
        tus.upload(FILE)
    expected = {
        "tus_uploads_created_total": 5,
        "tus_uploads_finished_total": 4,
        "tus_bytes_received_total": 4 * len(FILE),
    }
    path = tus.create(len(FILE))
    with Connection(server.port) as connection:
        connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(len(FILE))))
        connection.send(FILE[:9])
        worker = server.worker_of(connection.socket)
        wait_until(lambda: scrape(server.port)["tus_bodies_open"] == 1)
        kill_worker(server, worker)
    for _ in range(2):
        found = scrape(server.port)
        assert {name: found[name] for name in expected} == expected
        assert found["tus_bodies_open"] == 0
        kill_worker(server, server.workers()[0])
    (directory,) = tmp_path.glob("tus-wsgi-metrics-*")
    assert len(list(directory.glob("counter_*.db"))) <= 3, "two workers, and those that ended"
    assert_ready_until_sigterm(server)
    server.stop()
    assert not directory.exists()


@pytest.mark.long
def test_a_new_master_continues_the_counts(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    """SIGUSR2 starts a new version of the server beside the old one."""
    environ = new_deployment(
        TUS_METRICS_PATH="/metrics",
        TUS_METRICS_TOKEN=TOKEN,
        TMPDIR=str(tmp_path),
        WEB_CONCURRENCY="2",
    ).environ
    program = Path(sysconfig.get_path("scripts"), "gunicorn")
    # A master that was started with `python -m gunicorn` cannot start another one.
    command = ["env", f"--chdir={ROOT}", str(program)]
    with Gunicorn(environ, directory=tmp_path, command=command) as server:
        server.wait_for_workers(2)
        tus = TusClient(server.port)
        tus.upload(FILE)
        old, workers = psutil.Process(server.pid), set(server.workers())
        server.signal(signal.SIGUSR2)
        wait_until(lambda: len(old.children(recursive=True)) >= 5)
        (new,) = (child for child in old.children() if child.pid not in workers)
        try:
            for _ in range(8):
                assert scrape(server.port)["tus_uploads_created_total"] == 1, "of either master"
            server.signal(signal.SIGTERM)
            # The harness would kill the new master as soon as it asks for the exit code.
            wait_until(lambda: old.status() == psutil.STATUS_ZOMBIE)
            tus.upload(FILE)
            assert scrape(server.port)["tus_uploads_created_total"] == 2
            (directory,) = tmp_path.glob("tus-wsgi-metrics-*")
        finally:
            new.terminate()
        wait_until(lambda: not directory.exists())


def ready(connection: Connection) -> int:
    connection.request("GET", "/health/ready")
    return connection.read_response().status


def assert_ready_until_sigterm(server: Gunicorn) -> None:
    """Check that the health page is 200 until SIGTERM, and then 503 on an open connection.

    So a load balancer with an open connection to a worker learns that the worker is about to stop.
    """
    with Connection(server.port) as connection:
        # A check may exceed its second on a busy machine; the next one is due in five.
        wait_until(lambda: ready(connection) == 200)
    path = TusClient(server.port).create(len(FILE))
    with Connection(server.port) as upload, ExitStack() as connections:
        upload.send_head("PATCH", path, patch_fields(0, Content_Length=str(len(FILE))))
        upload.send(FILE[:9])
        worker = server.worker_of(upload.socket)
        # Connect until the same worker accepts the connection.
        connection = connections.enter_context(Connection(server.port))
        while server.worker_of(connection.socket) != worker:
            connection = connections.enter_context(Connection(server.port))
        os.kill(worker, signal.SIGTERM)
        upload.read_response()
        assert ready(connection) == 503
