"""The pages for operators under gunicorn, with several workers and restarts of workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn, wait_until
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
    wait_until(lambda: pid not in server.workers() and len(server.workers()) == count, seconds=30)


def test_every_worker_serves_the_counts_of_all_workers_also_of_ended_ones(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment(
        TUS_METRICS_PATH="/metrics", TUS_METRICS_TOKEN=TOKEN, TMPDIR=str(tmp_path)
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
        wait_until(lambda: scrape(server.port)["tus_bodies_open"] == 1, seconds=10)
        kill_worker(server, worker)
    for _ in range(2):
        found = scrape(server.port)
        assert {name: found[name] for name in expected} == expected
        assert found["tus_bodies_open"] == 0
        kill_worker(server, server.workers()[0])
    (directory,) = tmp_path.glob("tus-wsgi-metrics-*")
    assert len(list(directory.glob("counter_*.db"))) <= 3, "two workers, and those that ended"
    server.stop()
    assert not directory.exists()
