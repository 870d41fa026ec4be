"""Runs `tests/conformance` against a server: in a process of its own, since it is on its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tests.harness.servers import gunicorn_gthread
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.servers.peers import EXPIRES, MAX_SIZE, STALL, Judged

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "tests" / "conformance"

WORKERS = {
    "gevent": [],
    "gthread": ["--config", str(Path(gunicorn_gthread.__file__))],
}
"""gunicorn's arguments for each class of workers; the project's own configuration is gevent's."""


@contextlib.contextmanager
def ours(deployment: Deployment, worker: str) -> Iterator[Judged]:
    """This project: two servers that share their uploads, and one whose uploads soon expire."""
    # The suite kills workers, and gunicorn says so.
    deployment.expected_errors = r"was sent SIGKILL"
    limits = {"TUS_MAX_SIZE": str(MAX_SIZE), "TUS_NETWORK_TIMEOUT": f"{STALL}s"}
    first = deployment.start(arguments=WORKERS[worker], settings=limits)
    second = deployment.start(workers=1, arguments=WORKERS[worker], settings=limits)
    brief = {**limits, "TUS_EXPIRES": f"{EXPIRES}s"}
    expiring = deployment.start(workers=1, arguments=WORKERS[worker], settings=brief)
    children = f"/proc/{first.pid}/task/{first.pid}/children"
    options = (
        *("--tus-second-url", _url(second), "--tus-stall", str(STALL)),
        *("--tus-expiring-url", _url(expiring), "--tus-expires", str(EXPIRES)),
        *("--tus-interop", "3,5,6,8,9"),
        *("--tus-kill", f"kill -9 $(cat {children})"),
    )
    name = f"tus-wsgi-s3 {version('tus-wsgi-s3')} ({worker})"
    yield Judged(name, _url(first), f"tus-wsgi-s3-{worker}", options)


def judge(
    server: Judged, reports: Path, *, level: str = "practice"
) -> subprocess.CompletedProcess[str]:
    """Run the suite; it writes its reports into a folder, as JSON and as Markdown.

    The server's known deviations are those of the file that is named like it.
    """
    known = (
        SUITE
        / "deviations"
        / f"{server.slug.removesuffix('-gevent').removesuffix('-gthread')}.toml"
    )
    # As one word each: pytest takes a word that is the path of a file for something to test, and
    # one that begins with "@" for a file of arguments.
    command = [
        *(sys.executable, "-m", "pytest", str(SUITE), "--tb=short", "-q", "-p", "no:cacheprovider"),
        *(f"--tus-url={server.url}", f"--tus-name={server.name}", f"--tus-level={level}"),
        *(f"--tus-report={reports / server.slug}{kind}" for kind in (".json", ".md")),
        *([f"--tus-deviations={known}"] if known.is_file() else []),
        *server.options,
    ]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)


def _url(server: Gunicorn) -> str:
    return f"http://127.0.0.1:{server.port}/files"
