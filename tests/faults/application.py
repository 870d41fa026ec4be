"""The application under test: the real one, in this process, with an S3 store behind the proxy."""

from __future__ import annotations

import enum
import itertools
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.faults.faulty_s3 import Lane, limits_for
from tests.faults.scenarios import Scenario
from tests.stores.s3.upload_client import UncachedLocker
from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import Locker, Upload
from tus_wsgi.domain.model import TIB, UploadId
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.sweep import ActionKind, Sweep, SweepPolicy
from tus_wsgi.settings import Settings
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LIFETIME = 3600.0
"""Seconds that an unfinished upload is kept in the scenarios in which time passes."""

SWEEPS = 8
"""Sweeps in a row of which one has to be without a failure."""


class Process(enum.Enum):
    """What a request finds in the process that it meets."""

    FORGETS = "forgets"
    """What the store remembers of tails, and no memo of the request before."""
    REMEMBERS = "remembers"
    """The memo of the request before, too."""
    RESTARTS = "restarts"
    """Nothing: the process was just started."""
    TAKES_TURNS = "takes turns"
    """Memos of its own, which are stale after each request that met the other process."""


TURNS = (0, 0, 1)
"""Which of two processes the requests meet, over and over."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How the application is run.

    Attributes:
        scenario: what is done to it.
        process: what a request finds of the one before.
        retries: whether boto3 tries failed calls again by itself.
        timeout: seconds after which a call to S3 has failed.
    """

    scenario: Scenario
    process: Process
    retries: bool
    timeout: float


class Application:
    """The application and its hook. Calling it gives the WSGI application. A context manager.

    Args:
        lane: where it runs.
        prefix: of its objects.
        setup: how it is run.

    Attributes:
        clock: what time it is.
        finished: what `on_finish` has accepted.
        problems: what was wrong when it was called.
    """

    def __init__(self, lane: Lane, prefix: str, setup: Setup) -> None:
        self.lane = lane
        self.keys = Keys(prefix)
        self.clock = datetime.now(UTC)
        self.finished: list[FinishedUpload] = []
        self.problems: list[str] = []
        self._setup = setup
        self._refusals = setup.scenario.refusals
        self._mutex = threading.Lock()
        self._stack = ExitStack()
        self._new_locker = self._lockers()
        self._turns = itertools.cycle(TURNS)
        self._count = max(TURNS) + 1 if setup.process is Process.TAKES_TURNS else 1
        self.restart()

    def __call__(self) -> TusMiddleware:
        """The application that the next request meets."""
        self.clock += timedelta(seconds=self._setup.scenario.step)
        if self._setup.process is Process.RESTARTS:
            self.restart()
        return self._apps[next(self._turns) % self._count]

    def restart(self) -> None:
        """Forget all that is in memory."""
        self._apps = [self._start() for _ in range(self._count)]

    def open(self, id: str) -> Upload:
        """The upload, past all that protects it."""
        return self._store().open(UploadId(id))

    def let_lapse(self) -> None:
        """Let more time pass than any unfinished upload has left."""
        self.clock += timedelta(seconds=2 * LIFETIME)

    def sweep(self) -> list[str]:
        """Sweep, as an operator does, until nothing fails; what is wrong if it always does."""
        failures: list[str] = []
        for _ in range(SWEEPS):
            actions = list(self._new_sweep().run())
            failures = [
                f"{one.name}: {one.error!r}" for one in actions if one.kind is ActionKind.FAILED
            ]
            if not failures:
                return []
        return failures

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _lockers(self) -> Callable[[], Locker]:
        if self._setup.process is Process.REMEMBERS:
            return lambda: MemoryLocker(timeout=30)
        if self._setup.process is not Process.TAKES_TURNS:
            return UncachedLocker
        directory = self._stack.enter_context(tempfile.TemporaryDirectory())
        return lambda: FileLocker(Path(directory), timeout=30)

    def _store(self) -> S3Store:
        return S3Store(
            self.lane.client(timeout=self._setup.timeout, retries=self._setup.retries),
            self.lane.service.bucket,
            keys=self.keys,
            limits=limits_for(self.lane.part_size),
            parallel_parts=4,
        )

    def _start(self) -> TusMiddleware:
        scenario = self._setup.scenario
        app = TusMiddleware(
            _nothing,
            settings=Settings(
                s3_bucket=self.lane.service.bucket,
                base_path="/files",
                expires=LIFETIME if scenario.step else 0,
            ),
            on_finish=self._on_finish if scenario.with_hook else None,
            store=self._store(),
            locker=self._new_locker(),
        )
        app._service._now = lambda: self.clock
        return app

    def _new_sweep(self) -> Sweep:
        client = self.lane.client(timeout=self._setup.timeout, retries=False, may_list=True)
        bucket = self.lane.service.bucket
        return Sweep(
            self._store(),
            self._new_locker(),
            Bucket(client, bucket),
            keys=self.keys,
            listing=Listing(client, bucket),
            policy=SweepPolicy(
                now=self.clock, min_age=0.0, finisher=None, max_size=TIB, is_dry=False
            ),
        )

    def _on_finish(self, upload: FinishedUpload) -> None:
        """Note the call, and whether the object is there as it is claimed to be."""
        inspector = self.lane.inspector
        try:
            facts = inspector.head_object(
                Bucket=self.lane.service.bucket, Key=self.keys.data(upload.id)
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


def _nothing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
