"""The app under test: the real middleware in this process, with an S3 store behind the proxy."""

from __future__ import annotations

import enum
import itertools
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.faults.app_decisions import (
    decide_finish,
    decide_terminate,
    hooks_of,
    wrong_options,
)
from tests.faults.faulty_s3 import FaultyS3, Rights, limits_for
from tests.faults.scenarios import Scenario
from tests.faults.takeover import ModelLocker, ModelLocks, Servers
from tests.faults.wrapped_app import not_found
from tests.stores.s3.upload_client import UncachedLocker
from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.answer import Answer
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import TusError
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import Locker, Upload
from tus_wsgi.domain.model import TIB, UploadId
from tus_wsgi.domain.termination import GoneUpload
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.strict_bucket import StrictBucket
from tus_wsgi.operations.sweep import ActionKind, Sweep, SweepPolicy
from tus_wsgi.service.termination import Terminator
from tus_wsgi.settings.settings import Settings
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.completion import COMPLETION_TIMEOUT
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EXPIRY = 3600.0
"""Seconds until an unfinished upload expires, in the scenarios in which the clock advances."""

MAX_SWEEPS = 8
"""Sweeps in a row of which one has to succeed."""

SAFE_AGE = 86400.0
"""Seconds: the default of `tus-wsgi sweep --min-age`. No call is late for so long."""

MODEL = "model"
"""The kind of locks that need no real service; see `ModelLocks`."""


class ProcessMode(enum.Enum):
    """What the process of a request remembers of earlier requests."""

    UNCACHED = "uncached"
    """What the store remembers of tails, but no cached upload."""
    CACHED = "cached"
    """The cached upload of the previous request, too."""
    RESTARTED = "restarted"
    """Nothing: each request has a new process."""
    ALTERNATING = "alternating"
    """Two processes with a cache each, which is stale after a request of the other process."""
    TWO_SERVERS = "two servers"
    """Two servers with a cache each. The first server can be frozen."""


PROCESS_SEQUENCE = (0, 0, 1)
"""Which of two alternating processes serves each request. The sequence repeats."""


@dataclass(frozen=True, slots=True)
class AppOptions:
    """How the app runs.

    Attributes:
        scenario: what it is used for.
        mode: what its processes remember.
        retries: whether boto3 repeats failed calls by itself.
        timeout: seconds of silence after which a call to S3 fails.
        locks: the kind of locks of two servers.
        can_expire: whether uploads expire in scenarios without `seconds_per_request`, too.
        clock_rate: multiplies the scenario's `seconds_per_request`. After several faults a client
            needs more requests, but an upload must not expire meanwhile.
    """

    scenario: Scenario
    mode: ProcessMode
    retries: bool
    timeout: float
    locks: str = MODEL
    can_expire: bool = False
    clock_rate: float = 1.0


class Application:
    """The app with its hooks and its clock. A context manager.

    Calling it advances the clock, and returns the WSGI app for the next request.

    Args:
        faulty_s3: where it stores uploads.
        prefix: the prefix of its keys.
        options: how it runs.

    Attributes:
        clock: the current time.
        finished: the uploads that `on_finish` accepted or rejected.
        terminated: the ids of the uploads whose removal `on_terminate` accepted.
        problems: what was wrong when a hook was called.
        servers: freezes the first of two servers.
    """

    def __init__(self, faulty_s3: FaultyS3, prefix: str, options: AppOptions) -> None:
        self.faulty_s3 = faulty_s3
        self.prefix = prefix
        self.keys = Keys(prefix)
        self.clock = datetime.now(UTC)
        self.finished: list[FinishedUpload] = []
        self.terminated: set[str] = set()
        self.problems: list[str] = []
        self._options = options
        self._hook_calls: Counter[tuple[str, str]] = Counter()
        self._mutex = threading.Lock()
        self._stack = ExitStack()
        self._real_lockers = None if options.locks == MODEL else faulty_s3.lockers(options.locks)
        self.servers = self._real_lockers.servers if self._real_lockers else Servers()
        self._model_locks = ModelLocks(self.servers)
        self._new_locker = self._locker_factory()
        self._sequence = itertools.cycle(PROCESS_SEQUENCE)
        are_several = options.mode in {ProcessMode.ALTERNATING, ProcessMode.TWO_SERVERS}
        self._process_count = max(PROCESS_SEQUENCE) + 1 if are_several else 1
        self.restart()

    def __call__(self, server: int = 0) -> TusMiddleware:
        """Advance the clock, and return the app that serves the next request.

        Args:
            server: which of two servers gets the request: 0 or 1. Other modes ignore it.
        """
        if not self.servers.is_frozen:
            seconds = self._options.scenario.seconds_per_request * self._options.clock_rate
            self.clock += timedelta(seconds=seconds)
        if self._options.mode is ProcessMode.TWO_SERVERS:
            return self._apps[server]
        if self._options.mode is ProcessMode.RESTARTED:
            self.restart()
        return self._apps[next(self._sequence) % self._process_count]

    def restart(self) -> None:
        """Replace all processes by new ones."""
        self._apps = [self._new_app(server) for server in range(self._process_count)]

    def open(self, id: str) -> Upload:
        """Open an upload without holding its lock."""
        return self._new_store().open(UploadId(id))

    def expire_uploads(self) -> None:
        """Advance the clock beyond the expiry of every unfinished upload."""
        self.clock += timedelta(seconds=2 * EXPIRY)

    def sweep(self) -> list[str]:
        """Sweep until nothing fails; return the last failures if every sweep fails."""
        failures: list[str] = []
        for attempt in range(MAX_SWEEPS):
            # The first sweep runs today, so a completion may still be in progress. The others stand
            # for sweeps on later days.
            timeout = COMPLETION_TIMEOUT if attempt == 0 else 0.0
            results = list(self._new_sweep(timeout).run())
            failures = [
                f"{result.name}: {result.error!r}"
                for result in results
                if result.kind in {ActionKind.FAILED, ActionKind.IN_USE}
            ]
            if not failures:
                return []
        return failures

    def sweep_meanwhile(self, rights: Rights) -> list[str]:
        """Sweep once, while requests are in progress, with the default policy.

        Calls fail and rights are missing, so a `TusError` is no problem.

        Returns:
            The other errors of the sweep.
        """
        client = self.faulty_s3.sweep_client(rights, timeout=self._options.timeout)
        sweep = self._build_sweep(
            client, self._new_store(1), server=1, min_age=SAFE_AGE, abort_unknown=False
        )
        return [
            f"the sweep failed: {result.name}: {result.error!r}"
            for result in sweep.run()
            if not isinstance(result.error, TusError | None)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _locker_factory(self) -> Callable[[int], Locker]:
        """Return a function that creates the locker of the server or process with a number."""
        if self._options.mode is ProcessMode.TWO_SERVERS:
            real = self._real_lockers
            return partial(ModelLocker, self._model_locks) if real is None else real.locker
        if self._options.mode is ProcessMode.CACHED:
            return lambda _: MemoryLocker(timeout=30)
        if self._options.mode is not ProcessMode.ALTERNATING:
            return lambda _: UncachedLocker()
        directory = self._stack.enter_context(tempfile.TemporaryDirectory())
        return lambda _: FileLocker(Path(directory), timeout=30)

    def _endpoint(self, server: int) -> str:
        is_second = server and self._options.mode is ProcessMode.TWO_SERVERS
        proxy = self.faulty_s3.proxy
        return proxy.second_endpoint if is_second else proxy.endpoint

    def _new_store(
        self, server: int = 0, completion_timeout: float = COMPLETION_TIMEOUT
    ) -> S3Store:
        options = self._options
        return S3Store(
            self.faulty_s3.client(
                timeout=options.timeout,
                retries=options.retries,
                endpoint=self._endpoint(server),
            ),
            self.faulty_s3.service.bucket,
            keys=self.keys,
            limits=limits_for(self.faulty_s3.part_size),
            parallel_parts=4,
            completion_timeout=completion_timeout,
        )

    def _new_app(self, server: int) -> TusMiddleware:
        scenario = self._options.scenario
        can_expire = scenario.seconds_per_request or self._options.can_expire
        app = TusMiddleware(
            not_found,
            settings=Settings(
                s3_bucket=self.faulty_s3.service.bucket,
                base_path="/files",
                expires=EXPIRY if can_expire else 0,
            ),
            store=self._new_store(server),
            locker=self._new_locker(server),
            **hooks_of(scenario, on_finish=self._on_finish, on_terminate=self._on_terminate),
        )
        app._service._now = lambda: self.clock
        return app

    def _new_sweep(self, completion_timeout: float) -> Sweep:
        client = self.faulty_s3.client(timeout=self._options.timeout, retries=False, may_list=True)
        # No other case uses the prefix, so the sweep may abort every unknown multipart upload.
        store = self._new_store(completion_timeout=completion_timeout)
        return self._build_sweep(client, store, server=0, min_age=0.0, abort_unknown=True)

    def _build_sweep(
        self,
        client: S3Client,
        store: S3Store,
        *,
        server: int,
        min_age: float,
        abort_unknown: bool,
    ) -> Sweep:
        bucket = self.faulty_s3.service.bucket
        has_hook = self._options.scenario.terminate_failures is not None
        terminator = Terminator(self._on_terminate, EventDispatcher(())) if has_hook else None
        return Sweep(
            store,
            self._new_locker(server),
            StrictBucket(client, bucket),
            keys=self.keys,
            listing=Listing(client, bucket),
            policy=SweepPolicy(
                now=self.clock,
                min_age=min_age,
                finisher=None,
                max_size=TIB,
                is_dry=False,
                abort_unknown=abort_unknown,
                terminator=terminator,
            ),
        )

    def _on_finish(self, upload: FinishedUpload) -> Answer | None:
        """Record the call, and check that the whole object exists."""
        admin, bucket = self.faulty_s3.admin, self.faulty_s3.service.bucket
        scenario, key = self._options.scenario, upload.storage["Key"]
        try:
            found = admin.head_object(Bucket=bucket, Key=key)
        except admin.exceptions.ClientError:
            self.problems.append("on_finish ran before the object existed")
        else:
            if found["ContentLength"] != upload.length:
                self.problems.append(f"on_finish ran with {found['ContentLength']} bytes stored")
        if scenario.has_plan:
            self.problems += wrong_options(admin, bucket, key)
        calls = self._count_call("on_finish", upload.id)
        if calls > scenario.hook_failures:
            self.finished.append(upload)
        return decide_finish(scenario, upload, calls)

    def _on_terminate(self, gone: GoneUpload) -> None:
        """Record the call, and check that the record still exists (D-13)."""
        admin = self.faulty_s3.admin
        try:
            admin.head_object(Bucket=self.faulty_s3.service.bucket, Key=self.keys.info(gone.id))
        except admin.exceptions.ClientError:
            self.problems.append("on_terminate ran after the record was removed")
        decide_terminate(self._options.scenario, self._count_call("on_terminate", gone.id))
        self.terminated.add(gone.id)

    def _count_call(self, hook: str, id: str) -> int:
        """Count a call of a hook, and return how many there were for the upload."""
        with self._mutex:
            self._hook_calls[hook, id] += 1
            return self._hook_calls[hook, id]
