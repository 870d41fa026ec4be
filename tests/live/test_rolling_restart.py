"""A rolling restart of workers behind nginx while many clients upload."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import VERSION, TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.servers.proxy_program import running_nginx
from tests.harness.timing import wait_until
from tests.live.test_operator_pages import EXPECTED, TOKEN, scrape
from tus_wsgi.domain.model import KIB, MIB

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(600)]

CLIENTS = 50
WORKERS = 4
FILE = some_bytes(MIB)
STEP = 4 * KIB
PAUSE = 0.2
HELD_BACK = 64 * KIB
"""Bytes that a client sends after the restart only, so that no upload ends before the restart."""

RETRY_DELAYS = (0.0, 1.0, 3.0, 5.0)
"""Seconds before each retry of tus-js-client and Uppy. After a row of failures that is longer than
this, they show an error."""


@dataclass
class SlowClient:
    """A client that sends one file slowly, and resumes after failures as tus-js-client does.

    Attributes:
        port: where nginx listens.
        restarted: set when the restart is over.
        responses: the method and the status of each response.
        row: the number of failures since the last progress.
        longest_row: the highest value of `row` so far.
    """

    port: int
    restarted: threading.Event
    responses: Counter[tuple[str, int]] = field(default_factory=Counter)
    row: int = 0
    longest_row: int = 0
    path: str = ""

    def upload(self) -> None:
        """Create an upload, and repeat PATCH and HEAD until the file is complete."""
        fields = {**VERSION, "Upload-Length": str(len(FILE))}
        with Connection(self.port, timeout=60) as connection:
            connection.request("POST", "/files", fields)
            response = self._note("POST", connection.read_response())
        self.path = response["Location"].partition(f":{self.port}")[2]
        offset = 0
        while self._patch(offset) != 204:
            time.sleep(RETRY_DELAYS[self.row])
            found = self._query_offset()
            if found > offset:
                self.row = 0
            self._count_failure()
            offset = found

    def _count_failure(self) -> None:
        self.row += 1
        self.longest_row = max(self.longest_row, self.row)

    def _query_offset(self) -> int:
        """Return the offset, as soon as a HEAD succeeds."""
        while True:
            with suppress(OSError), Connection(self.port, timeout=60) as connection:
                connection.request("HEAD", self.path, VERSION)
                response = self._note("HEAD", connection.read_response())
                if response.status == 200:
                    return int(response["Upload-Offset"])
            self._count_failure()
            time.sleep(RETRY_DELAYS[self.row])

    def _patch(self, offset: int) -> int | None:
        """Send the rest of the file, and return the status of the response; None without one.

        Send it slowly, and hold the last bytes back, until the restart is over.
        """
        with suppress(OSError), Connection(self.port, timeout=60) as connection:
            length = str(len(FILE) - offset)
            connection.send_head("PATCH", self.path, patch_fields(offset, Content_Length=length))
            while offset < len(FILE) and not _has_answer(connection):
                if self.restarted.wait(PAUSE):
                    stop = len(FILE)
                else:
                    stop = min(len(FILE) - HELD_BACK, offset + STEP)
                step = FILE[offset:stop]
                connection.send(step)
                offset += len(step)
            return self._note("PATCH", connection.read_response()).status
        return None

    def _note(self, method: str, response: Response) -> Response:
        self.responses[method, response.status] += 1
        return response


def _has_answer(connection: Connection) -> bool:
    """Return whether the server answers before it has the whole body."""
    return bool(select.select([connection.socket], [], [], 0)[0])


def restart_each_worker(server: Gunicorn) -> None:
    """Stop the workers gracefully one by one. Wait until each is replaced before the next."""
    for pid in server.workers():
        os.kill(pid, signal.SIGTERM)
        wait_until(
            lambda pid=pid: pid not in server.workers() and len(server.workers()) == WORKERS,  # type: ignore[misc]
            seconds=60,
        )


def test_a_rolling_restart_costs_running_uploads_one_retry_and_loses_no_count(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment(
        TUS_METRICS_PATH="/metrics", TUS_METRICS_TOKEN=TOKEN, TMPDIR=str(tmp_path)
    )
    deployment.expected_errors = EXPECTED
    server = deployment.start(workers=WORKERS)
    restarted = threading.Event()
    with running_nginx(tmp_path, [server.port]) as port, ThreadPoolExecutor(CLIENTS) as threads:
        clients = [SlowClient(port, restarted) for _ in range(CLIENTS)]
        uploads = [threads.submit(client.upload) for client in clients]
        try:
            wait_until(lambda: scrape(server.port)["tus_bodies_open"] == CLIENTS)
            before = set(server.workers())
            restart_each_worker(server)
            assert not before & set(server.workers())
        finally:
            restarted.set()
        for upload in uploads:
            upload.result()
    responses = sum((client.responses for client in clients), Counter[tuple[str, int]]())
    rows = Counter(client.longest_row for client in clients)
    found = scrape(server.port)
    print(f"responses: {responses}\nfailures in a row: {rows}")
    assert max(rows) <= 1, rows
    assert all(deployment.read_object(client.path) == FILE for client in clients)
    assert_counts_add_up(found, responses)


def assert_counts_add_up(found: dict[str, float], responses: Counter[tuple[str, int]]) -> None:
    """Check that the metrics say what the clients have sent and received."""
    assert found["tus_uploads_created_total"] == CLIENTS
    assert found["tus_uploads_finished_total"] == CLIENTS
    assert found["tus_bytes_received_total"] == CLIENTS * len(FILE)
    assert found["tus_bodies_open"] == 0
    counted: Counter[tuple[str, str]] = Counter()
    for (method, status), count in responses.items():
        counted[method, f"{status // 100}xx"] += count
    for (method, kind), count in counted.items():
        name = f'tus_requests_total{{method="{method}",protocol="tus1",status="{kind}"}}'
        assert found[name] == count, name


def test_a_client_of_this_module_uploads_without_a_restart(tus: TusClient) -> None:
    restarted = threading.Event()
    restarted.set()
    client = SlowClient(tus.port, restarted)
    client.upload()
    assert client.longest_row == 0
