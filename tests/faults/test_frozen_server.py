"""A server is stopped with SIGSTOP in the middle of a call; another server continues.

`test_pairs.py` tries far more cases in one process. Here the processes, their clocks and the leases
are real: the stopped server wakes up after its lease has expired.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.case_runner import note_late_response
from tests.faults.scenarios import SCENARIOS
from tests.faults.traffic import Meanwhile, Traffic
from tests.harness.clients.transport import over_http
from tests.harness.clients.uploader import TusUploader
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.harness.proxies.faults import Fault, FaultScript, FaultStep
from tests.harness.servers.dynamodb import DynamoDB
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(300)]

PART_SIZE = 100_000

PREFIX = "uploads/"

SCENARIO_NAMES = ("three appends", "deferred, long", "created with parts")

CALLS = {
    "record": ("PutObject", ".info"),
    "tail": ("PutObject", ".part"),
    "part": ("UploadPart", ""),
    "completion": ("CompleteMultipartUpload", ""),
}


class TwoServers:
    """Two gunicorn servers; the first one can be stopped.

    Args:
        service: where they store uploads.
        directory: the directory of logs.
        environ: the settings of the locks.
    """

    def __init__(self, service: S3Service, directory: Path, environ: dict[str, str]) -> None:
        self.service = service
        for name in ("finished", "bodies"):
            (directory / name).touch()
        self._stack = contextlib.ExitStack()
        port = urlsplit(service.endpoint).port or 80
        self.proxy = self._stack.enter_context(FaultProxy(port))
        common = {
            **service.environ(),
            "TUS_S3_OBJECT_PREFIX": PREFIX,
            "TUS_S3_MIN_PART_SIZE": "1B",
            "TUS_S3_PART_SIZE": f"{PART_SIZE}B",
            "TUS_S3_MAX_OBJECT_SIZE": f"{10_000 * PART_SIZE}B",
            "AWS_MAX_ATTEMPTS": "1",
            "HOOKS": "on_finish",
            "FINISHED": str(directory / "finished"),
            "BODIES": str(directory / "bodies"),
            **environ,
        }
        self.servers = [
            Gunicorn(
                {**common, "TUS_S3_ENDPOINT": endpoint},
                directory=directory / name,
                workers=1,
                app="tests.faults.gunicorn_app:app",
                arguments=["--timeout", "120"],
            )
            for name, endpoint in [
                ("first", self.proxy.endpoint),
                ("second", self.proxy.second_endpoint),
            ]
        ]
        for server in self.servers:
            self._stack.push(server)

    @contextlib.contextmanager
    def freeze(self) -> Iterator[None]:
        """Stop the workers of the first server until the block ends."""
        workers = self.servers[0].workers()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill both servers."""
        self._stack.close()


@pytest.fixture(params=["file", "dynamodb", "s3"])
def servers(
    request: pytest.FixtureRequest, ministack: S3Service, tmp_path: Path
) -> Iterator[TwoServers]:
    environ = {"TUS_LOCKER": request.param}
    if request.param == "file":
        environ["TUS_LOCK_DIR"] = str(tmp_path / "locks")
    elif request.param == "dynamodb":
        dynamodb: DynamoDB = request.getfixturevalue("dynamodb")
        environ["TUS_LOCK_TABLE"] = dynamodb.new_table()
        environ |= dynamodb.environ()
    servers = TwoServers(ministack, tmp_path, environ)
    yield servers
    servers.close()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", [Fault.FREEZE_BEFORE, Fault.FREEZE_AFTER], ids=lambda f: f.value)
def test_a_stopped_server_does_no_harm_when_it_wakes_up(
    servers: TwoServers, call: str, fault: Fault
) -> None:
    """D-10, D-11: Each scenario is stopped once at this call."""
    operation, suffix = CALLS[call]
    for name in SCENARIO_NAMES:
        step = FaultStep(fault, operation=operation, suffix=suffix)
        traffic = Traffic(
            servers.proxy,
            # A frozen process keeps its kernel lock: the client gets 423 until the server wakes up.
            Meanwhile(requests=4),
            send_to=lambda server: over_http(servers.servers[server].port),
            freeze=servers.freeze,
            sweep=lambda _rights: [],
        )
        uploader = SCENARIOS[name].uploader(traffic.send, PART_SIZE)
        assert isinstance(uploader, TusUploader)
        uploader.max_failures = 20
        traffic.continue_upload = uploader.resume
        traffic.note_late_response = partial(note_late_response, uploader)
        servers.proxy.start(FaultScript([step]), meanwhile=traffic.on_held_call)
        uploader.upload()
        assert not traffic.problems, "\n".join([*traffic.problems, *uploader.transcript])
        admin = servers.service.client()
        stored = admin.get_object(Bucket=servers.service.bucket, Key=PREFIX + uploader.id)
        assert stored["Body"].read() == uploader.file, "\n".join(uploader.transcript)
