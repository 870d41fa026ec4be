"""gunicorn behind the fault proxy, and cases on it: a scenario with a fault at one call.

How many calls a request makes depends on what its worker remembers. So a fault may hit nothing;
then the case runs again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from tests.faults.app_decisions import wrong_options
from tests.faults.scenarios import SCENARIOS, Scenario, Uploader
from tests.harness.clients.transport import over_http
from tests.harness.clients.uploader import ProtocolError, TusUploader
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.harness.proxies.faults import Call, Fault, FaultScript, FaultStep
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.servers.s3_service import S3Service
from tests.harness.tombstones import sweep_tombstones
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "uploads/"

PART_SIZE = 100_000
"""More than the server reads ahead, so that most bytes are read from the socket."""

MAX_RUNS = 4
"""How often a case runs at most, until its fault hits a call."""


@dataclass(frozen=True, slots=True)
class ServerCaseResult:
    """What happened in a case: the number of calls, whether a fault hit one, and what is wrong."""

    calls: int
    is_hit: bool
    problems: tuple[str, ...]


class ServerUnderTest:
    """gunicorn behind the proxy, which can kill its workers.

    Args:
        service: the S3 service behind the proxy.
        directory: the directory of logs and locks.
        workers: how many processes serve.
        hooks: the hooks that the app has, see `Scenario.hook_set`.

    Attributes:
        bodies: a file with a line for each request: the class that read its body.
    """

    def __init__(self, service: S3Service, directory: Path, *, workers: int, hooks: str) -> None:
        directory.mkdir(parents=True)
        self.service = service
        self._admin: S3Client = service.client()
        self._finished = directory / "finished"
        self._terminated = directory / "terminated"
        self._scenario = directory / "scenario"
        self.bodies = directory / "bodies"
        for file in (self._finished, self._terminated, self._scenario, self.bodies):
            file.touch()
        self._stack = contextlib.ExitStack()
        self._proxy = self._stack.enter_context(
            FaultProxy(urlsplit(service.endpoint).port or 80, kill_client=self._kill_worker)
        )
        self._server = Gunicorn(
            self._environ(directory, hooks),
            directory=directory / "server",
            workers=workers,
            app="tests.faults.gunicorn_app:app",
            arguments=["--preload"],
        )
        self._stack.push(self._server)

    def _environ(self, directory: Path, hooks: str) -> dict[str, str]:
        return {
            **self.service.environ(),
            "TUS_S3_ENDPOINT": self._proxy.endpoint,
            "TUS_S3_OBJECT_PREFIX": PREFIX,
            "TUS_S3_MIN_PART_SIZE": "1B",
            "TUS_S3_PART_SIZE": f"{PART_SIZE}B",
            "TUS_S3_MAX_OBJECT_SIZE": f"{10_000 * PART_SIZE}B",
            "TUS_LOCK_DIR": str(directory / "locks"),
            "AWS_MAX_ATTEMPTS": "1",
            "HOOKS": hooks,
            "SCENARIO": str(self._scenario),
            "FINISHED": str(self._finished),
            "TERMINATED": str(self._terminated),
            "BODIES": str(self.bodies),
        }

    def close(self) -> None:
        """Stop the server and the proxy."""
        self._stack.close()

    def run(self, scenario: Scenario, faults: Iterable[FaultStep] = ()) -> ServerCaseResult:
        """Run a scenario with faults; repeat it if they hit nothing."""
        steps = tuple(faults)
        result = self._run(scenario, steps)
        for _ in range(MAX_RUNS - 1):
            if result.problems or result.is_hit or not steps:
                break
            result = self._run(scenario, steps)
        return result

    def _run(self, scenario: Scenario, steps: tuple[FaultStep, ...]) -> ServerCaseResult:
        """Carry out a scenario once, with the faults of these steps."""
        self._scenario.write_text(scenario.name, encoding="utf-8")
        self._proxy.start(FaultScript(steps))
        uploader = scenario.uploader(over_http(self._server.port), PART_SIZE)
        problems: list[str] = []
        try:
            _carry_out(uploader, scenario)
        except ProtocolError as error:
            problems.append(str(error))
        calls = self._proxy.calls
        self._proxy.deliver_delayed_calls()
        if not problems:
            problems += self._check(uploader, scenario, calls)
        if problems:
            faults = ", then ".join(map(str, steps))
            problems += [faults, *uploader.transcript, "; ".join(map(str, calls))]
        return ServerCaseResult(len(calls), any(call.fault for call in calls), tuple(problems))

    def _check(
        self, uploader: Uploader, scenario: Scenario, calls: Iterable[Call]
    ) -> Iterable[str]:
        """Yield what is wrong with the uploads of the client, after a sweep of tombstones."""
        bucket, s3 = self.service.bucket, self._admin
        is_terminated = scenario.terminate_at is not None
        may_leak = _may_leak_multipart(calls)
        if is_terminated:
            keys = Keys(PREFIX)
            sweep_tombstones(S3Store(s3, bucket, keys=keys), s3, bucket, keys)
        for id, file in uploader.expected_objects.items():
            data = scenario.data_name(id)
            left = {key for key in (data, f"{id}.info", f"{id}.part") if self._exists(key)}
            expected = set() if is_terminated else {f"{id}.info"}
            if not is_terminated and not scenario.is_rejected:
                expected.add(data)
            if left != expected:
                yield f"{sorted(left)} are left instead of {sorted(expected)}"
                return
            uploads = s3.list_multipart_uploads(Bucket=bucket, Prefix=PREFIX + id)
            if uploads.get("Uploads") and not may_leak:
                yield "a multipart upload is left"
            if data in expected:
                yield from self._check_object(scenario, PREFIX + data, file)
        yield from self._check_hooks(uploader, scenario)

    def _check_object(self, scenario: Scenario, key: str, file: bytes) -> Iterable[str]:
        bucket = self.service.bucket
        if self._admin.get_object(Bucket=bucket, Key=key)["Body"].read() != file:
            yield "the object differs from the file"
        if scenario.has_plan:
            yield from wrong_options(self._admin, bucket, key)

    def _check_hooks(self, uploader: Uploader, scenario: Scenario) -> Iterable[str]:
        """Yield which hooks did not run (D-06, D-13), and whether the client misses an answer."""
        finished = self._finished.read_text(encoding="ascii").split()
        is_finished = scenario.terminate_at in {None, scenario.length}
        if scenario.has_hook and is_finished and uploader.id not in finished:
            yield "on_finish never ran"
        terminated = self._terminated.read_text(encoding="ascii").split()
        if scenario.terminate_failures is not None and uploader.id not in terminated:
            yield "on_terminate never ran"
        if scenario.has_answer and isinstance(uploader, TusUploader) and uploader.answer is None:
            yield "the client never got the answer"

    def _exists(self, key: str) -> bool:
        listing = self._admin.list_objects_v2(Bucket=self.service.bucket, Prefix=PREFIX + key)
        return any(item["Key"] == PREFIX + key for item in listing.get("Contents", []))

    def _kill_worker(self, port: int) -> None:
        """Kill the worker whose connection has this port, and wait until it is dead."""
        for pid in self._server.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(pid)
                if port in {conn.laddr.port for conn in worker.net_connections("tcp")}:
                    os.kill(pid, signal.SIGKILL)
                    with contextlib.suppress(psutil.TimeoutExpired):
                        worker.wait(5)
                    return


class ServersUnderTest:
    """A server for each set of hooks. A server starts when a scenario first needs it.

    Args:
        service: the S3 service behind the proxies.
        directory: the directory of logs and locks.
        workers: how many processes each server has.
    """

    def __init__(self, service: S3Service, directory: Path, *, workers: int) -> None:
        self._service = service
        self._directory = directory
        self._workers = workers
        self._servers: dict[str, ServerUnderTest] = {}

    def for_scenario(self, scenario: str) -> ServerUnderTest:
        """Return the server for the scenario of this name."""
        hooks = SCENARIOS[scenario].hook_set
        if hooks not in self._servers:
            self._servers[hooks] = ServerUnderTest(
                self._service, self._directory / hooks, workers=self._workers, hooks=hooks
            )
        return self._servers[hooks]

    def close(self) -> None:
        """Stop the servers."""
        for server in self._servers.values():
            server.close()


def _carry_out(uploader: Uploader, scenario: Scenario) -> None:
    """Do what the client of the scenario does.

    Raises:
        ProtocolError: the server contradicted itself, or the client cannot resume.
    """
    if scenario.is_rejected:
        assert isinstance(uploader, TusUploader)
        uploader.upload_until_rejected()
        uploader.assert_gone()
        return
    uploader.upload(scenario.goal(PART_SIZE))
    if scenario.terminate_at is not None:
        uploader.terminate()
        uploader.assert_gone()


def _may_leak_multipart(calls: Iterable[Call]) -> bool:
    """Whether a multipart upload may be left for a sweep to find.

    Nothing can name a multipart upload whose UploadId never arrived, or was lost with the worker
    that was about to record it.
    """
    end = Call(0, "", "")
    for call, following in itertools.pairwise([*calls, end]):
        if call.operation != "CreateMultipartUpload":
            continue
        is_response_lost = call.fault is not None and call.fault.is_executed
        if is_response_lost or following.fault is Fault.KILL_BEFORE:
            return True
    return False
