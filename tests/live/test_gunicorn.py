"""`gunicorn` without arguments in the project's directory, and each supported version."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import resource
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
from tus_wsgi.wsgi.open_files import needed_files

pytestmark = pytest.mark.live

FILE = some_bytes(PART_SIZE + 70_000)

VERSIONS = ("23.0.0", "24.1.1", "25.3.0", "26.2.0", "27.0.1")
"""The last release of each supported major version. The first one is the minimum in `setup.py`."""

BODIES: list[tuple[str, bytes]] = [
    ("Content-Length", b""),
    ("Content-Length", FILE[:10]),
    ("Transfer-Encoding", FILE[:300_000]),
    ("Content-Length", FILE[: 3 * MIB]),
    ("Transfer-Encoding", FILE[:7]),
    ("Content-Length", FILE[: 100 * KIB + 1]),
]
"""The framing field and the content of each body."""


def test_gunicorn_without_arguments_serves_uploads(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment()
    program = Path(sysconfig.get_path("scripts"), "gunicorn")
    home = tmp_path / "home"
    home.mkdir()
    environ = {**deployment.environ, "WEB_CONCURRENCY": "3", "HOME": str(home)}
    command = ["env", f"--chdir={ROOT}", str(program)]
    with Gunicorn(environ, directory=tmp_path, command=command) as server:
        server.wait_for_workers(3)
        tus = TusClient(server.port)
        assert deployment.read_object(tus.upload(FILE)) == FILE
        assert_fields_of_clients_do_not_change_the_path(tus)
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit(STOP_SECONDS) == 0
        log = server.read_log()
    assert "Using worker: gevent" in log
    assert log.count("Booting worker with pid") == 3
    assert not re.search(r"warn|error|Traceback", log, re.IGNORECASE), log
    assert server.logged_errors() == []
    assert list(home.iterdir()) == []


def test_workers_may_open_the_files_that_their_connections_need(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    """The usual limit is 1,024, which half of the connections would use up."""
    program = Path(sysconfig.get_path("scripts"), "gunicorn")
    command = ["sh", "-c", f'ulimit -Sn 512; cd {ROOT}; exec "$0"', str(program)]
    with Gunicorn(new_deployment().environ, directory=tmp_path, command=command) as server:
        server.wait_for_workers(1)
        limits = [resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] for pid in server.workers()]
    assert limits == [needed_files(1000)]


def assert_fields_of_clients_do_not_change_the_path(tus: TusClient) -> None:
    """A proxy that restricts paths must see the same path as the server."""
    path = tus.upload(FILE[:5])
    for target, fields in [
        (f"/pub{path}", {"SCRIPT_NAME": "/pub"}),
        ("/pub", {"PATH_INFO": path}),
    ]:
        response = tus.request("GET", target, fields)
        assert (response.status, response.body) == (404, b"There is nothing here but uploads.\n")
    assert tus.request("GET", path, {"SCRIPT_NAME": "/other"}).body == FILE[:5]


def test_versions_cover_the_supported_and_the_installed_gunicorn() -> None:
    (requirement,) = {
        re.sub(r"\s*;.*", "", line)
        for line in importlib.metadata.requires("tus-wsgi-s3") or ()
        if line.startswith("gunicorn")
    }
    assert requirement == f"gunicorn[gevent]>={VERSIONS[0].removesuffix('.0')}"
    installed = importlib.metadata.version("gunicorn")
    assert installed.split(".")[0] == VERSIONS[-1].split(".")[0], f"add {installed} to VERSIONS"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_socket_and_wsgi_input_yield_the_same_bytes(
    version: str, new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = new_deployment()
    packages = python_package(f"gunicorn=={version}", alone=True)
    environ = {**deployment.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-m", "gunicorn", "tests.live.apps.sources:application"]
    with Gunicorn(environ, directory=tmp_path, command=command) as server:
        from_source = send_pipelined(server, "/")
        from_input = send_pipelined(server, "/input")
        expected = [(len(body), hashlib.sha256(body).hexdigest()) for _, body in BODIES]
        for reports in (from_source, from_input):
            assert [(report["size"], report["sha256"]) for report in reports] == expected
            assert {report["gunicorn"] for report in reports} == {version}
        assert [report["source"] for report in from_source] == [
            "SocketSource" if field == "Content-Length" else "InputSource" for field, _ in BODIES
        ]
        assert {report["source"] for report in from_input} == {"InputSource"}
        assert deployment.read_object(TusClient(server.port).upload(FILE)) == FILE
        assert server.logged_errors() == []
        # Ignore the log after this: old versions warn about their own sockets when they stop.
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit(STOP_SECONDS) == 0


def send_pipelined(server: Gunicorn, target: str) -> list[dict[str, object]]:
    """Send all bodies over one connection before any response. Return the app's reports."""
    with Connection(server.port) as connection:
        for field, body in BODIES:
            if field == "Content-Length":
                head = connection.encode_head("POST", target, {field: str(len(body))})
                connection.send(head + body)
            else:
                head = connection.encode_head("POST", target, {field: "chunked"})
                connection.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            connection.expect("POST")
        return [parse_report(connection.read_response()) for _ in BODIES]


def parse_report(response: Response) -> dict[str, object]:
    assert response.status == 200
    report: dict[str, object] = json.loads(response.body)
    return report
