"""gunicorn behind the faulty proxy, and one case on it: a scenario with a fault at one call.

Which call is the Nth depends on what the worker that a request meets remembers, so a fault may hit
nothing. Then the case is run again.
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

from tests.faults.scenarios import SCENARIOS, Scenario, Uploader
from tests.harness.clients.transport import over_http
from tests.harness.clients.uploader import BrokenPromise
from tests.harness.proxies.faults import Call, Fault, FaultProxy
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.servers.s3_service import S3Service

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "site/"

PART = 100_000
"""Bytes of a part: more than the server reads ahead, so that most come straight from the socket."""

TRIES = 4
"""Runs of a case of which one has to hit something."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: how many calls there were, whether one failed, and what is wrong."""

    calls: int
    is_hit: bool
    problems: tuple[str, ...]


class Site:
    """gunicorn behind the proxy; its workers die where the proxy says so.

    Args:
        service: the real one.
        directory: for logs and locks.
        workers: how many processes serve.
        with_hook: whether the application has an `on_finish`.

    Attributes:
        bodies: how the bodies of requests were read, one name for each.
    """

    def __init__(
        self, service: S3Service, directory: Path, *, workers: int, with_hook: bool
    ) -> None:
        directory.mkdir(parents=True)
        self.service = service
        self._inspector: S3Client = service.client()
        self._finished = directory / "finished"
        self.bodies = directory / "bodies"
        for file in (self._finished, self.bodies):
            file.touch()
        self._stack = contextlib.ExitStack()
        self._proxy = self._stack.enter_context(
            FaultProxy(urlsplit(service.endpoint).port or 80, kill=self._kill)
        )
        environ = {
            **service.environ(),
            "TUS_S3_ENDPOINT": self._proxy.endpoint,
            "TUS_S3_OBJECT_PREFIX": PREFIX,
            "TUS_S3_MIN_PART_SIZE": "1B",
            "TUS_S3_PART_SIZE": f"{PART}B",
            "TUS_S3_MAX_OBJECT_SIZE": f"{10_000 * PART}B",
            "TUS_LOCK_DIR": str(directory / "locks"),
            "AWS_MAX_ATTEMPTS": "1",
            "HOOK": "yes" if with_hook else "",
            "FINISHED": str(self._finished),
            "BODIES": str(self.bodies),
        }
        self._server = Gunicorn(
            environ,
            directory=directory / "server",
            workers=workers,
            app="tests.faults.gunicorn_app:app",
            arguments=["--preload"],
        )
        self._stack.push(self._server)

    def close(self) -> None:
        """End the server."""
        self._stack.close()

    def run(self, scenario: Scenario, number: int, fault: Fault) -> Outcome:
        """Let the call of this number fail, the first of which is 1; with 0 none does."""
        outcome = self._run(scenario, number, fault)
        for _ in range(TRIES - 1):
            if outcome.problems or outcome.is_hit or not number:
                break
            outcome = self._run(scenario, number, fault)
        return outcome

    def _run(self, scenario: Scenario, number: int, fault: Fault) -> Outcome:
        self._proxy.begin(lambda call: fault if call.number == number else None)
        client = scenario.client(over_http(self._server.port), PART)
        problems: list[str] = []
        try:
            client.upload(scenario.goal(PART))
            if scenario.upto is not None:
                client.terminate()
                client.ask_for_trace()
        except BrokenPromise as broken:
            problems.append(str(broken))
        calls = self._proxy.calls
        self._proxy.settle()
        problems += problems or self._judge(client, scenario, calls)
        if problems:
            problems += [f"at call {number}", *client.said, "; ".join(map(str, calls))]
        return Outcome(len(calls), any(call.fault for call in calls), tuple(problems))

    def _judge(self, client: Uploader, scenario: Scenario, calls: Iterable[Call]) -> Iterable[str]:
        """What is wrong with what is left of the client's uploads."""
        bucket, s3 = self.service.bucket, self._inspector
        is_excused = _leaves_a_nameless_one(calls)
        for id, file in client.wanted.items():
            left = {name for name in ("", ".info", ".part") if self._has(id + name)}
            wanted = {"", ".info"} if scenario.upto is None else set()
            if left != wanted:
                yield f"{sorted(left)} are left instead of {sorted(wanted)}"
                return
            uploads = s3.list_multipart_uploads(Bucket=bucket, Prefix=PREFIX + id)
            if uploads.get("Uploads") and not is_excused:
                yield "a multipart upload is left"
            if scenario.upto is None:
                stored = s3.get_object(Bucket=bucket, Key=PREFIX + id)["Body"].read()
                if stored != file:
                    yield "the object is not the file"
        finished = self._finished.read_text(encoding="ascii").split()
        if scenario.with_hook and scenario.upto is None and client.id not in finished:
            yield "on_finish never ran"

    def _has(self, key: str) -> bool:
        answer = self._inspector.list_objects_v2(Bucket=self.service.bucket, Prefix=PREFIX + key)
        return any(one["Key"] == PREFIX + key for one in answer.get("Contents", []))

    def _kill(self, port: int) -> None:
        """Kill the worker whose connection has this port, and wait until it is dead."""
        for pid in self._server.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(pid)
                if port in {one.laddr.port for one in worker.net_connections("tcp")}:
                    os.kill(pid, signal.SIGKILL)
                    with contextlib.suppress(psutil.TimeoutExpired):
                        worker.wait(5)
                    return


class Sites:
    """Sites with the hook that a scenario wants, each started when it is first asked for.

    Args:
        service: the real S3.
        directory: for logs and locks.
        workers: how many processes serve, in each.
    """

    def __init__(self, service: S3Service, directory: Path, *, workers: int) -> None:
        self._service = service
        self._directory = directory
        self._workers = workers
        self._sites: dict[bool, Site] = {}

    def of(self, scenario: str) -> Site:
        """That of the scenario with this name."""
        with_hook = SCENARIOS[scenario].with_hook
        if with_hook not in self._sites:
            self._sites[with_hook] = Site(
                self._service,
                self._directory / ("hook" if with_hook else "no-hook"),
                workers=self._workers,
                with_hook=with_hook,
            )
        return self._sites[with_hook]

    def close(self) -> None:
        """End all of them."""
        for site in self._sites.values():
            site.close()


def _leaves_a_nameless_one(calls: Iterable[Call]) -> bool:
    """Whether a multipart upload may be left for a sweep to find.

    Nobody can name one whose UploadId never arrived, or went down with the worker that was about to
    record it.
    """
    for begun, following in itertools.pairwise([*calls, Call(0, "", "")]):
        if begun.operation == "CreateMultipartUpload":
            if begun.fault and begun.fault.is_carried_out:
                return True
            if following.fault is Fault.KILL_BEFORE:
                return True
    return False
