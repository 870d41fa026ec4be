"""One case of the fault ring: a scenario with faults, and the verdict on what became of it.

A case has an object prefix of its own, so that everything under it is its doing. The application is
the real one, in this process; S3 is a real server behind the faulty proxy.
"""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from tests.faults.client import BrokenPromise, TusClient, in_process
from tests.faults.proxy import Call, Fault, FaultProxy
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.harness.service import Service
from tus_wsgi.assembly import TusMiddleware
from tus_wsgi.hooks import FinishedUpload
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.parts import PartLimits
from tus_wsgi.settings import Settings
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from mypy_boto3_s3 import S3Client

PATIENCE = 30.0
"""Seconds of silence that make a call a failure. Nothing but a fault may fail one."""

IMPATIENCE = 0.4
MORE_PATIENCE = 5.0
"""The same where a fault is silence. On a machine that does much else a call that nobody holds up
may take longer than the first, so a case that fails is run once more with the second."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario and what goes wrong in it.

    Attributes:
        scenario: its name.
        faults: by the number of the call.
        retries: whether boto3 tries failed calls again by itself.
        restarts: whether each request is served by an application that has just been started.
    """

    scenario: str
    faults: tuple[tuple[int, Fault], ...] = ()
    retries: bool = False
    restarts: bool = False

    def __str__(self) -> str:
        faults = ", ".join(f"{fault.value} at call {number}" for number, fault in self.faults)
        return f"{self.scenario}: {faults or 'no fault'}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a case.

    Attributes:
        case: which.
        calls: how many there were.
        hit: the calls that were made to fail.
        problems: what is wrong; empty for a case that is well.
        story: what client and server said, in their order.
    """

    case: Case
    calls: int
    hit: tuple[str, ...]
    problems: tuple[str, ...]
    story: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join([f"{self.case} ({', '.join(self.hit)})", *self.problems, *self.story])


@dataclass(slots=True)
class Lane:
    """What cases need and can share: a proxy, and clients of it. One case at a time.

    Attributes:
        service: the real one.
        part_size: bytes of a part; the smallest that the service takes, for speed.
        proxy: in front of it.
    """

    service: Service
    part_size: int
    proxy: FaultProxy
    inspector: S3Client = field(init=False)
    _clients: dict[tuple[float, bool], S3Client] = field(default_factory=dict)
    _session: boto3.session.Session = field(default_factory=boto3.session.Session)

    def __post_init__(self) -> None:
        self.inspector = self.service.client()

    def client(self, *, timeout: float, retries: bool) -> S3Client:
        """A client of the proxy, for one that is silent for `timeout` seconds at most."""
        if (timeout, retries) not in self._clients:
            self._clients[timeout, retries] = self._session.client(
                "s3",
                endpoint_url=self.proxy.endpoint,
                region_name=self.service.region,
                aws_access_key_id=self.service.credentials.access_key,
                aws_secret_access_key=self.service.credentials.secret_key,
                config=Config(
                    connect_timeout=5,
                    read_timeout=timeout,
                    retries={"mode": "standard", "total_max_attempts": 3 if retries else 1},
                    proxies={},
                    max_pool_connections=20,
                    s3={"addressing_style": "path"},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        return self._clients[timeout, retries]


@contextmanager
def open_lane(service: Service, part_size: int) -> Iterator[Lane]:
    """A lane, until the block ends."""
    with FaultProxy(urlsplit(service.endpoint).port or 80) as proxy:
        yield Lane(service, part_size, proxy)


def limits_for(part_size: int) -> PartLimits:
    """Limits under which every upload's parts are of that size, of unknown length or not."""
    return PartLimits(
        part_size=part_size, min_part_size=part_size, max_object_size=10_000 * part_size
    )


class Application:
    """The application under test, and its hook. Calling it gives the WSGI application.

    Args:
        lane: where it runs.
        case: what it runs for.
        prefix: of its objects.
        timeout: seconds after which a call to S3 has failed.
    """

    def __init__(self, lane: Lane, case: Case, prefix: str, *, timeout: float) -> None:
        self._timeout = timeout
        self._lane = lane
        self._case = case
        self._scenario = SCENARIOS[case.scenario]
        self._keys = Keys(prefix)
        self._refusals = self._scenario.refusals
        self._mutex = threading.Lock()
        self.finished: list[FinishedUpload] = []
        self.problems: list[str] = []
        self._app = self._start()

    def __call__(self) -> TusMiddleware:
        """The running application, or a new one if it restarts with each request."""
        if self._case.restarts:
            self.restart()
        return self._app

    def restart(self) -> None:
        """Forget all that is in memory."""
        self._app = self._start()

    def _start(self) -> TusMiddleware:
        service = self._lane.service
        store = S3Store(
            self._lane.client(timeout=self._timeout, retries=self._case.retries),
            service.bucket,
            keys=self._keys,
            limits=limits_for(self._lane.part_size),
            parallel_parts=4,
        )
        return TusMiddleware(
            _nothing,
            settings=Settings(s3_bucket=service.bucket, base_path="/files"),
            on_finish=self._on_finish if self._scenario.with_hook else None,
            store=store,
            locker=MemoryLocker(timeout=30),
        )

    def _on_finish(self, upload: FinishedUpload) -> None:
        """Note the call, and whether the object is there as it is claimed to be."""
        inspector = self._lane.inspector
        try:
            facts = inspector.head_object(
                Bucket=self._lane.service.bucket, Key=self._keys.data(upload.id)
            )
        except inspector.exceptions.ClientError:
            self.problems.append("on_finish ran before there was an object")
        else:
            if facts["ContentLength"] != upload.length:
                self.problems.append(f"on_finish ran with {facts['ContentLength']} bytes stored")
        with self._mutex:
            self._refusals -= 1
            if self._refusals >= 0:
                raise RuntimeError("the application is not ready")
        self.finished.append(upload)


def run_case(lane: Lane, case: Case) -> Verdict:
    """Run it and judge it."""
    is_slow = any(fault.is_slow for _, fault in case.faults)
    verdict = _run(lane, case, IMPATIENCE if is_slow else PATIENCE)
    if is_slow and verdict.problems:
        verdict = _run(lane, case, MORE_PATIENCE)
    return verdict


def _run(lane: Lane, case: Case, timeout: float) -> Verdict:
    scenario = SCENARIOS[case.scenario]
    prefix = f"{secrets.token_hex(6)}/"
    faults = dict(case.faults)
    lane.proxy.begin(lambda call: faults.get(call.number))
    app = Application(lane, case, prefix, timeout=timeout)
    client = TusClient(
        send=in_process(app), file=scenario.file(lane.part_size), way=scenario.way(lane.part_size)
    )
    problems: list[str] = []
    try:
        client.upload(scenario.goal(lane.part_size))
        if scenario.upto is not None:
            client.terminate()
            client.ask_for_trace()
    except BrokenPromise as broken:
        problems.append(str(broken))
    calls = lane.proxy.calls
    lane.proxy.settle()
    problems += app.problems
    if not problems:
        problems += _ask_again(app, client, scenario)
    if not problems:
        problems += Bucket(lane, prefix, client, calls).problems(scenario)
        problems += _judge_hook(app, scenario, client)
    return Verdict(
        case=case,
        calls=len(calls),
        hit=tuple(f"{call} {call.fault.value}" for call in calls if call.fault),
        problems=tuple(problems),
        story=(*client.said, " ".join(f"{call}{'!' * bool(call.fault)};" for call in calls)),
    )


def _ask_again(app: Application, client: TusClient, scenario: Scenario) -> list[str]:
    """Another process, that has none of this in memory and none of the faults, says the same."""
    app.restart()
    try:
        if scenario.upto is None:
            client.ask()
        else:
            client.ask_for_trace()
    except BrokenPromise as broken:
        return [f"in the end: {broken}"]
    return []


def _judge_hook(app: Application, scenario: Scenario, client: TusClient) -> list[str]:
    """`on_finish` ran at least once for an upload that is finished."""
    is_finished = scenario.upto in {None, scenario.length}
    if scenario.with_hook and is_finished and client.id not in {one.id for one in app.finished}:
        return ["on_finish never ran"]
    return []


class Bucket:
    """What is left under a case's prefix, as the service's owner sees it."""

    def __init__(self, lane: Lane, prefix: str, client: TusClient, calls: list[Call]) -> None:
        self._s3 = lane.inspector
        self._bucket = lane.service.bucket
        self._client = client
        self._calls = calls
        answer = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
        self.keys = {one["Key"].removeprefix(prefix) for one in answer.get("Contents", [])}
        self._prefix = prefix
        uploads = self._s3.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
        self.multiparts = {
            one["UploadId"]: one["Key"].removeprefix(prefix) for one in uploads.get("Uploads", [])
        }

    def problems(self, scenario: Scenario) -> list[str]:
        """All that is wrong."""
        keys = self.keys - self._late_tails()
        ours = {key for key in keys if key.partition(".")[0] == self._client.id}
        problems = self._strays(keys - ours)
        if scenario.upto is not None:
            problems += [f"{key} is left" for key in sorted(ours)]
            return problems
        wanted = {self._client.id, f"{self._client.id}.info"}
        problems += [f"{key} is missing" for key in sorted(wanted - ours)]
        problems += [f"{key} is left" for key in sorted(ours - wanted)]
        if self._client.id in ours and self._read(self._client.id) != self._client.file:
            problems.append("the object is not the file")
        return problems

    def _late_tails(self) -> set[str]:
        """Tails that S3 wrote when the upload was at its end: they count for nothing."""
        return {
            call.key.removeprefix(self._prefix)
            for call in self._calls
            if call.operation == "PutObject" and call.fault is not None and call.fault.is_late
            if call.key.endswith(".part")
        }

    def _strays(self, others: set[str]) -> list[str]:
        """What creations left that failed: infos, and only what an info names."""
        infos = {key.removesuffix(".info") for key in others if key.endswith(".info")}
        problems = [f"{key} has no info" for key in others if key.partition(".")[0] not in infos]
        if len(infos) >= self._client.creations:
            problems.append(f"{len(infos)} infos of {self._client.creations} creations")
        named = {self._multipart_of(id) for id in infos}
        unknown = [key for one, key in self.multiparts.items() if one not in named]
        if len(unknown) > self._excused():
            problems.append(
                f"{len(unknown)} multipart uploads are left that nobody names: {unknown}"
            )
        return problems

    def _excused(self) -> int:
        """How many multipart uploads may be left for a sweep to find.

        Nobody can name one whose UploadId never arrived. And one is left when two calls in a row
        fail: the record's, and then the look at it or the abort.
        """
        nameless = 0
        for call, following in itertools.pairwise([*self._calls, Call(0, "", "")]):
            if call.fault is None:
                continue
            if call.operation == "CreateMultipartUpload":
                nameless += call.fault.is_carried_out
            elif call.operation == "PutObject" and call.key.endswith(".info"):
                nameless += following.fault is not None
        return nameless

    def _multipart_of(self, id: str) -> str | None:
        storage = json.loads(self._read(f"{id}.info"))["Storage"]
        multipart: str | None = storage.get("MultipartUpload")
        return multipart

    def _read(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()


def _nothing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
