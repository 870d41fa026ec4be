"""The memory of a server without requests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

MAX_WORKERS_PSS = 110
"""MiB of four workers."""

MAX_MASTER_PSS = 35
"""MiB of the master. It shares most of its memory with the workers."""

START_SECONDS = 60.0


def pss(pid: int) -> int:
    """Return the MiB of a process. Memory that n processes share counts for 1/n in each."""
    found = re.search(r"Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.long
def test_four_idle_workers_share_the_package_and_the_description_of_s3(tmp_path: Path) -> None:
    environ = {
        **{name: text for name, text in os.environ.items() if not name.startswith("AWS_")},
        "AWS_DEFAULT_REGION": "us-east-1",
        "TUS_S3_BUCKET": "uploads",
        "TUS_S3_ENDPOINT": "http://127.0.0.1:9",
        "TUS_LOCK_DIR": str(tmp_path),
    }
    log = tmp_path / "log"
    command = [sys.executable, "-m", "gunicorn", "--workers=4", "--bind=127.0.0.1:0"]
    with log.open("wb") as output, subprocess.Popen(command, env=environ, stderr=output) as server:
        try:
            deadline = time.monotonic() + START_SECONDS
            while len(psutil.Process(server.pid).children()) < 4:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            time.sleep(START_SECONDS / 6)  # The workers import the application.
            workers = [child.pid for child in psutil.Process(server.pid).children()]
            figures = [pss(pid) for pid in workers]
            assert sum(figures) <= MAX_WORKERS_PSS, figures
            assert pss(server.pid) <= MAX_MASTER_PSS
        finally:
            server.terminate()
            server.wait()
