"""Locks of two servers, where a holder on the first one can be frozen: a model, and real lockers.

The model costs no time: the lease of a holder expires as soon as it is frozen. With real leases,
the heartbeats of a frozen server stop, and the other server waits until the lease has expired.
"""

from __future__ import annotations

import functools
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.lockers import LockerSpec
from tus_wsgi.domain.errors import LockLost, UploadLocked
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import LeaseTiming

SHORT_TIMING = LeaseTiming(lease=1.0, heartbeat=0.25, margin=0.2, poll=0.05, reserve=0.1)
"""Intervals for tests in which each case waits for a lease."""

FILE_LOCK_TIMEOUT = 0.1
"""Seconds that a request waits for a file lock. A frozen holder does not release it."""

LEASE_TIMEOUT = 5.0
"""Seconds that a request waits for a lease."""


class Servers:
    """Freezes the first of two servers.

    Attributes:
        is_frozen: whether the first server is frozen.
    """

    def __init__(self) -> None:
        self._awake = threading.Event()
        self._awake.set()

    @property
    def is_frozen(self) -> bool:
        return not self._awake.is_set()

    @contextmanager
    def freeze(self) -> Iterator[None]:
        """Freeze the first server until the block ends."""
        self._awake.clear()
        try:
            yield
        finally:
            self._awake.set()

    def wait(self) -> None:
        """Wait until the first server is awake."""
        self._awake.wait()


@dataclass(slots=True)
class ModelLock:
    """The lock of one holder. While the holder is frozen, the other server can take the lock over.

    Attributes:
        server: the server of the holder; server 0 can be frozen.
        holder: the number of the holder, which increases with each holder of an upload's lock.
        previous_holder: the number of the previous holder.
        is_lost: whether the other server has taken the lock over.
    """

    server: int
    holder: int
    previous_holder: int | None
    is_lost: bool = False

    def assert_held(self) -> None:
        if self.is_lost:
            raise LockLost("the lock has passed to another holder")


class ModelLocks:
    """The locks of both servers. A request for a lock that is held is refused at once.

    Args:
        servers: tells whether the first server is frozen.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._mutex = threading.Lock()
        self._held: dict[UploadId, ModelLock] = {}
        self._fences: dict[UploadId, int] = {}

    @contextmanager
    def lock(self, id: UploadId, server: int) -> Iterator[Lock]:
        """Hold the lock of an upload.

        Raises:
            UploadLocked: another request holds the lock, and is not frozen.
        """
        lock = self._acquire(id, server)
        try:
            yield lock
        finally:
            with self._mutex:
                if self._held.get(id) is lock:
                    del self._held[id]

    def last_holder(self, id: UploadId) -> int:
        """Return the number of the last holder; 0 if there was none."""
        return self._fences.get(id, 0)

    def _acquire(self, id: UploadId, server: int) -> ModelLock:
        """Acquire a lock. Server 1 takes over a lock of server 0 while that server is frozen.

        Raises:
            UploadLocked: the lock is held, and cannot be taken over.
        """
        with self._mutex:
            current = self._held.get(id)
            if current is not None:
                is_holder_frozen = current.server == 0 and self._servers.is_frozen
                if server == 0 or not is_holder_frozen:
                    raise UploadLocked
                current.is_lost = True
            fence = self._fences.get(id, 0)
            self._fences[id] = fence + 1
            lock = self._held[id] = ModelLock(server, fence + 1, fence)
            return lock


class ModelLocker:
    """The locker of one of the two servers.

    Args:
        locks: the locks of both.
        server: which server it is.
    """

    def __init__(self, locks: ModelLocks, server: int) -> None:
        self._locks = locks
        self._server = server

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        with self._locks.lock(id, self._server) as lock:
            yield lock

    def last_holder(self, id: UploadId) -> int:
        return self._locks.last_holder(id)


class FreezableRecords:
    """The lease records of a server. Its calls wait while the server is frozen.

    Args:
        records: the records of the service.
        servers: tells whether the server is frozen.
    """

    def __init__(self, records: Any, servers: Servers) -> None:
        self._records = records
        self._servers = servers

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._records, name)
        return functools.partial(self._call, attribute) if callable(attribute) else attribute

    def _call(self, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        self._servers.wait()
        result = method(*args, **named)
        self._servers.wait()
        return result


class RealLockers:
    """A real locker for each of the two servers.

    Lockers are created once in a process, since a client of DynamoDB or S3 is expensive.

    Args:
        spec: the kind of the lockers, and the place of the locks.
        attach: called with each S3 client of S3 locks; see `EmbeddedProxy.attach`.
    """

    def __init__(self, spec: LockerSpec, attach: Callable[[Any], None]) -> None:
        self._attach = attach
        self.servers = Servers()
        self._lockers = [self._new_locker(spec, server) for server in (0, 1)]

    def locker(self, server: int) -> Locker:
        """Return the locker of a server."""
        return self._lockers[server]

    def _new_locker(self, spec: LockerSpec, server: int) -> Locker:
        if spec.kind == "file":
            return FileLocker(Path(spec.location), timeout=FILE_LOCK_TIMEOUT)
        return LeaseLocker(
            functools.partial(self._open_records, spec, server),
            timeout=LEASE_TIMEOUT,
            timing=spec.timing,
        )

    def _open_records(self, spec: LockerSpec, server: int) -> Any:
        # The first attempt may fail on a busy machine; the locker opens the records again later.
        with pytest.MonkeyPatch.context() as patch:
            for name, value in spec.environ.items():
                patch.setenv(name, value)
            records = spec._open_records()()
        if spec.kind == "s3":
            self._attach(records.client)
        return records if server else FreezableRecords(records, self.servers)


def file_spec() -> LockerSpec:
    """Return a new directory for file locks."""
    return LockerSpec(kind="file", location=tempfile.mkdtemp(prefix="tus-locks-"))
