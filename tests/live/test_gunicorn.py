"""Plain `gunicorn` in the project's directory, and every gunicorn that is supported."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import signal
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient
from tests.harness.data import some_bytes
from tests.harness.packages import python_package
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import ROOT, STOP_SECONDS, Gunicorn
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

FILE = some_bytes(PART_SIZE + 70_000)

VERSIONS = ("23.0.0", "24.1.1", "25.3.0", "26.2.0", "27.0.1")
"""The last of each range, from the first that `setup.py` takes."""

BODIES: list[tuple[str, bytes]] = [
    ("Content-Length", b""),
    ("Content-Length", FILE[:10]),
    ("Transfer-Encoding", FILE[:300_000]),
    ("Content-Length", FILE[: 3 * MIB]),
    ("Transfer-Encoding", FILE[:7]),
    ("Content-Length", FILE[: 100 * KIB + 1]),
]
"""How each says its length, and what it is."""


def test_plain_gunicorn_serves_uploads_from_environment_variables_alone(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment()
    program = Path(sysconfig.get_path("scripts"), "gunicorn")
    home = tmp_path / "home"
    home.mkdir()
    environ = {**deployment.environ, "WEB_CONCURRENCY": "3", "HOME": str(home)}
    command = ["env", f"--chdir={ROOT}", str(program)]
    with Gunicorn(environ, directory=tmp_path, command=command) as server:
        workers = server.workers()
        assert len(workers) == 3
        tus = TusClient(server.port)
        assert deployment.read_object(tus.upload(FILE)) == FILE
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit(STOP_SECONDS) == 0
        said = server.read_log()
    assert "Using worker: gevent" in said
    assert said.count("Booting worker with pid") == 3
    assert not re.search(r"warn|error|Traceback", said, re.IGNORECASE), said
    assert server.logged_errors() == []
    assert list(home.iterdir()) == []


def test_every_range_of_gunicorns_that_is_supported_is_tried() -> None:
    (wanted,) = {
        re.sub(r"\s*;.*", "", line)
        for line in importlib.metadata.requires("tus-wsgi-s3") or ()
        if line.startswith("gunicorn")
    }
    assert wanted == f"gunicorn[gevent]>={VERSIONS[0].removesuffix('.0')}"
    ours = importlib.metadata.version("gunicorn")
    assert ours.split(".")[0] == VERSIONS[-1].split(".")[0], f"add {ours} to VERSIONS"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fast_path_is_taken_and_gives_what_the_slow_one_gives(
    version: str, new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment()
    packages = python_package(f"gunicorn=={version}", alone=True)
    environ = {**deployment.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-m", "gunicorn", "tests.live.apps.sources:application"]
    with Gunicorn(environ, directory=tmp_path, command=command) as server:
        fast, slow = pipelined(server, "/"), pipelined(server, "/input")
        wanted = [(len(body), hashlib.sha256(body).hexdigest()) for _, body in BODIES]
        for said in (fast, slow):
            assert [(one["size"], one["sha256"]) for one in said] == wanted
            assert {one["gunicorn"] for one in said} == {version}
        assert [one["source"] for one in fast] == [
            "SocketSource" if field == "Content-Length" else "InputSource" for field, _ in BODIES
        ]
        assert {one["source"] for one in slow} == {"InputSource"}
        assert deployment.read_object(TusClient(server.port).upload(FILE)) == FILE
        assert server.logged_errors() == []
        # What an old one says of its own sockets at its end is its own affair.
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit(STOP_SECONDS) == 0


def pipelined(server: Gunicorn, target: str) -> list[dict[str, object]]:
    """What the application says of each body, all sent over one connection before any answer."""
    with Connection(server.port) as connection:
        for field, body in BODIES:
            if field == "Content-Length":
                head = connection.encode_head("POST", target, {field: str(len(body))})
                connection.send(head + body)
            else:
                head = connection.encode_head("POST", target, {field: "chunked"})
                connection.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            connection.expect("POST")
        return [told(connection.read_response()) for _ in BODIES]


def told(response: Response) -> dict[str, object]:
    assert response.status == 200
    said: dict[str, object] = json.loads(response.body)
    return said
