"""Run the conformance suite against a server, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.servers.peers import EXPIRES, MAX_SIZE, STALL, SuiteTarget

ROOT = Path(__file__).parents[2]
DISTRIBUTION = ROOT / "conformance"
SUITE = DISTRIBUTION / "tus_conformance"

COMMAND = [sys.executable, "-m", "tus_conformance"]
"""The `tus-conformance` command. It runs in `DISTRIBUTION`, so it need not be installed."""

WORKERS = {
    "gevent": [],
    "gthread": ["--worker-class", "gthread", "--threads", "16"],
}
"""gunicorn's arguments for each worker class; the project's own configuration is gevent's."""


@contextlib.contextmanager
def own_target(deployment: Deployment, worker: str) -> Iterator[SuiteTarget]:
    """Run this project: two servers with the same uploads, and one whose uploads expire soon."""
    # The suite kills workers, which gunicorn logs.
    deployment.expected_errors = r"was sent SIGKILL"
    limits = {"TUS_MAX_SIZE": str(MAX_SIZE), "TUS_NETWORK_TIMEOUT": f"{STALL}s"}
    first = deployment.start(arguments=WORKERS[worker], settings=limits)
    second = deployment.start(workers=1, arguments=WORKERS[worker], settings=limits)
    short_lived = {**limits, "TUS_EXPIRES": f"{EXPIRES}s"}
    expiring = deployment.start(workers=1, arguments=WORKERS[worker], settings=short_lived)
    worker_pids = f"/proc/{first.pid}/task/{first.pid}/children"
    options = (
        *("--second-url", _url(second), "--stall", str(STALL)),
        *("--expiring-url", _url(expiring), "--expires", str(EXPIRES)),
        *("--interop", "3,5,6,8,9"),
        *("--kill", f"kill -9 $(cat {worker_pids})"),
    )
    name = f"tus-wsgi-s3 {version('tus-wsgi-s3')} ({worker})"
    yield SuiteTarget(name, _url(first), f"tus-wsgi-s3-{worker}", options)


def run_suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tus-conformance` and capture its output."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=DISTRIBUTION, text=True, capture_output=True, check=False
    )


def judge_server(
    server: SuiteTarget, reports: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the suite against a server and write a JSON and a Markdown report into a folder.

    A server with worker classes has one file of deviations for all of them.
    """
    deviations = server.slug.removesuffix("-gevent").removesuffix("-gthread")
    has_deviations = (SUITE / "deviations" / f"{deviations}.toml").is_file()
    return run_suite(
        *(server.url, "--name", server.name, *arguments),
        *("--report", str(reports / f"{server.slug}.json")),
        *("--report", str(reports / f"{server.slug}.md")),
        *(["--deviations", deviations] if has_deviations else []),
        *server.options,
        *("--", "--tb=short", "-q"),
    )


def _url(server: Gunicorn) -> str:
    return f"http://127.0.0.1:{server.port}/files"
