"""A worker is killed at every S3 call in turn: another one goes on, and nothing is lost."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from tests.faults.client import Answer, BrokenPromise, Transport, TusClient
from tests.faults.conftest import TINY_PART
from tests.faults.matrix import Cell, Matrix
from tests.faults.proxy import Fault, FaultProxy
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.harness.gunicorn import Gunicorn
from tests.harness.service import Service

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

PREFIX = "killed/"

NAMES = (
    "created with one part",
    "created with parts",
    "deferred, long",
    "five parts",
    "pieces",
    "terminated midway",
    "terminated, finished",
)


class Site:
    """gunicorn behind the proxy; its workers die where the proxy says so."""

    def __init__(self, service: Service, directory: Path) -> None:
        self.service = service
        self.inspector: S3Client = service.client()
        self.finished = directory / "finished"
        self.finished.touch()
        self._stack = contextlib.ExitStack()
        self.proxy = self._stack.enter_context(
            FaultProxy(urlsplit(service.endpoint).port or 80, kill=self._kill)
        )
        environ = {
            **service.environ(),
            "TUS_S3_ENDPOINT": self.proxy.endpoint,
            "TUS_S3_OBJECT_PREFIX": PREFIX,
            "TUS_S3_MIN_PART_SIZE": "1B",
            "TUS_S3_PART_SIZE": f"{TINY_PART}B",
            "TUS_S3_MAX_OBJECT_SIZE": f"{10_000 * TINY_PART}B",
            "TUS_LOCK_DIR": str(directory / "locks"),
            "AWS_MAX_ATTEMPTS": "1",
            "FINISHED": str(self.finished),
        }
        self.server = Gunicorn(
            environ,
            directory=directory / "server",
            workers=2,
            app="tests.faults.app:app",
            arguments=["--preload"],
        )
        self._stack.push(self.server)

    def close(self) -> None:
        self._stack.close()

    def _kill(self, port: int) -> None:
        """Kill the worker whose connection has this port, and wait until it is dead."""
        for pid in self.server.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(pid)
                if port in {one.laddr.port for one in worker.net_connections("tcp")}:
                    os.kill(pid, signal.SIGKILL)
                    with contextlib.suppress(psutil.TimeoutExpired):
                        worker.wait(5)
                    return

    def has(self, key: str) -> bool:
        answer = self.inspector.list_objects_v2(Bucket=self.service.bucket, Prefix=PREFIX + key)
        return any(one["Key"] == PREFIX + key for one in answer.get("Contents", []))


@pytest.fixture(scope="module")
def site(ministack: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(ministack, tmp_path_factory.mktemp("killed"))
    yield site
    site.close()


def over_http(port: int) -> Transport:
    """A connection for each request, so that none meets the worker that died."""

    def send(
        method: str, url: str, fields: Mapping[str, str], body: bytes, announced: int
    ) -> Answer:
        assert announced == len(body)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, urlsplit(url).path, body, dict(fields))
            response = connection.getresponse()
            response.read()
        except http.client.HTTPException as error:
            raise ConnectionError("the answer broke off") from error
        finally:
            connection.close()
        return Answer(response.status, {key.lower(): text for key, text in response.getheaders()})

    return send


def run(site: Site, scenario: Scenario, number: int, fault: Fault) -> tuple[int, list[str]]:
    """How many calls there were, and all that is wrong."""
    site.proxy.begin(lambda call: fault if call.number == number else None)
    client = TusClient(
        send=over_http(site.server.port), file=scenario.file(TINY_PART), way=scenario.way(TINY_PART)
    )
    problems: list[str] = []
    try:
        client.upload(scenario.goal(TINY_PART))
        if scenario.upto is not None:
            client.terminate()
            client.ask_for_trace()
    except BrokenPromise as broken:
        problems.append(str(broken))
    calls = site.proxy.calls
    site.proxy.settle()
    problems += problems or judge(site, client, scenario)
    if problems:
        problems += [*client.said, "; ".join(map(str, calls))]
    return len(calls), problems


def judge(site: Site, client: TusClient, scenario: Scenario) -> list[str]:
    """What is wrong with what is left of the client's upload."""
    bucket = site.service.bucket
    names = {"", ".info", ".part"}
    left = {name for name in names if site.has(client.id + name)}
    wanted = {"", ".info"} if scenario.upto is None else set()
    problems = [] if left == wanted else [f"{sorted(left)} are left instead of {sorted(wanted)}"]
    uploads = site.inspector.list_multipart_uploads(Bucket=bucket, Prefix=PREFIX + client.id)
    if uploads.get("Uploads"):
        problems.append("a multipart upload is left")
    if not problems and scenario.upto is None:
        answer = site.inspector.get_object(Bucket=bucket, Key=PREFIX + client.id)
        if answer["Body"].read() != client.file:
            problems.append("the object is not the file")
        if client.id not in site.finished.read_text(encoding="ascii").split():
            problems.append("on_finish never ran")
    return problems


@pytest.mark.parametrize("fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER], ids=lambda one: one.value)
@pytest.mark.parametrize("name", NAMES)
def test_no_killed_worker_costs_a_byte(site: Site, matrix: Matrix, name: str, fault: Fault) -> None:
    """C-44: the lock dies with its holder, and what was acknowledged is there."""
    began = time.monotonic()
    calls, problems = run(site, SCENARIOS[name], 0, fault)
    assert not problems
    bad: Callable[[list[str]], str] = "\n    ".join
    failures = [
        bad([f"{name}, call {number}", *wrong])
        for number in range(1, calls + 1)
        if (wrong := run(site, SCENARIOS[name], number, fault)[1])
    ]
    seconds = time.monotonic() - began
    matrix.cells.append(Cell("gunicorn", name, fault.value, calls, 0, len(failures), seconds))
    assert not failures, "\n".join(failures)
