"""gunicorn without a configuration loses no bytes that it can store, and reports the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.servers.gunicorn import ROOT, START_SECONDS, STOP_SECONDS, Gunicorn
from tests.harness.timing import wait_until
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

APP = "tests.live.apps.in_memory:application"

PYTHON_PATH = {"PYTHONPATH": str(ROOT)}

PLAIN = {
    "sync": (),
    "gevent": ("--worker-class", "gevent"),
}


def start(directory: Path, *arguments: str) -> Gunicorn:
    """Start gunicorn in an empty directory, so that it finds no configuration."""
    command = ["env", f"--chdir={directory}", sys.executable, "-m", "gunicorn"]
    return Gunicorn(
        PYTHON_PATH, directory=directory, command=[*command, "--no-control-socket", *arguments, APP]
    )


@pytest.mark.parametrize("worker", PLAIN)
def test_a_stopping_worker_stores_what_has_arrived(worker: str, tmp_path: Path) -> None:
    """gunicorn runs without a configuration. A sync worker is reported at the start."""
    with start(tmp_path, *PLAIN[worker]) as server:
        assert ("SyncWorker" in server.read_log()) == (worker == "sync")
        path = TusClient(server.port).create(MIB)
        with Connection(server.port) as connection:
            connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(MIB)))
            connection.send(bytes(64 * KIB))
            connection.wait_until_consumed()
            server.signal(signal.SIGTERM)
            response = connection.read_response()
        assert (response.status, response.offset) == (503, 64 * KIB)
        assert server.wait_for_exit(STOP_SECONDS) == 0


@pytest.mark.long
def test_a_sync_worker_that_is_killed_for_its_timeout_stores_what_has_arrived(
    tmp_path: Path,
) -> None:
    """gunicorn sends SIGABRT, and SIGKILL a second later."""
    with start(tmp_path, "--timeout", "2") as server:
        path = TusClient(server.port).create(MIB)
        with Connection(server.port) as connection:
            connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(MIB)))
            connection.send(bytes(64 * KIB))
            wait_until(lambda: "WORKER TIMEOUT" in server.read_log())
            response = connection.read_response()
        assert (response.status, response.offset) == (503, 64 * KIB)


def test_a_preloaded_app_with_unpatched_gevent_workers_does_not_start(tmp_path: Path) -> None:
    """The message is one sentence, without a traceback."""
    arguments = ["--worker-class", "gevent", "--preload", "--bind", "127.0.0.1:0", APP]
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", *arguments],
        cwd=tmp_path,
        env={**os.environ, **PYTHON_PATH},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: gevent must patch the standard library")
    assert "-c python:tus_wsgi.gunicorn" in line
