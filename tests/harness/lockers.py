"""Lockers of every kind, from a specification that can be sent to another process."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tus_wsgi.domain.events import LockEvent
from tus_wsgi.domain.interfaces import Locker
from tus_wsgi.lockers.file.flock import FlockLocks
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.file.ofd import OfdLocks, OpenLocks
from tus_wsgi.lockers.lease.dynamodb import DynamoDBRecords
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import LeaseTiming
from tus_wsgi.lockers.lease.s3 import S3Records
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.s3.direct import direct_calls

if TYPE_CHECKING:
    from demo.seaweedfs import SeaweedFS
    from tests.harness.servers.dynamodb import DynamoDB

ADVISORY_LOCKS: dict[str, OpenLocks] = {"file": OfdLocks, "flock": FlockLocks}
"""The kinds of kernel locks that the file locker can use."""

LEASE_KINDS = ("dynamodb", "s3")

LOCKER_KINDS = ("memory", *ADVISORY_LOCKS, *LEASE_KINDS)

FAST_TIMING = LeaseTiming(lease=3.0, heartbeat=0.75, margin=0.5, poll=0.15, reserve=0.5)
"""Half of the default intervals, for tests in which a holder dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockerSpec:
    """Where locks are kept, and how to reach them.

    Attributes:
        kind: one of `LOCKER_KINDS`.
        location: the directory, the table or the prefix.
        bucket: the bucket of `s3` locks.
        endpoint: the endpoint of `s3` locks; the endpoint of DynamoDB is in `environ`.
        environ: environment variables that a process needs to use the locks.
        timing: the times of leases.
    """

    kind: str
    location: str = ""
    bucket: str = ""
    endpoint: str | None = None
    environ: dict[str, str] = field(default_factory=dict)
    timing: LeaseTiming = field(default_factory=LeaseTiming)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**{**fields, "timing": LeaseTiming(**fields["timing"])})

    def locker(self, timeout: float, on_event: Callable[[LockEvent], None] | None = None) -> Locker:
        """Return a locker for this process. The caller sets the variables of `environ` first."""
        if self.kind == "memory":
            return MemoryLocker(timeout=timeout)
        if self.kind in ADVISORY_LOCKS:
            return FileLocker(
                Path(self.location), timeout=timeout, open_locks=ADVISORY_LOCKS[self.kind]
            )
        return LeaseLocker(
            self._open_records(),
            timeout=timeout,
            timing=self.timing,
            on_event=on_event or (lambda _: None),
        )

    def _open_records(self) -> Callable[[], DynamoDBRecords | S3Records]:
        if self.kind == "dynamodb":
            return functools.partial(DynamoDBRecords, self.location)
        return functools.partial(
            S3Records,
            self.bucket,
            self.location,
            endpoint=self.endpoint,
            fast_calls=direct_calls,
        )


def new_locker_spec(
    kind: str,
    request: pytest.FixtureRequest,
    directory: Path,
    *,
    timing: LeaseTiming | None = None,
) -> LockerSpec:
    """Return the specification of a new, empty place for locks. Start its server if needed."""
    timing = timing or LeaseTiming()
    if kind == "dynamodb":
        database: DynamoDB = request.getfixturevalue("dynamodb")
        table: str = request.getfixturevalue("lock_table")
        return LockerSpec(kind=kind, location=table, environ=database.environ(), timing=timing)
    if kind == "s3":
        return s3_locker_spec(request.getfixturevalue("s3"), timing=timing)
    return LockerSpec(kind=kind, location=str(directory / "locks"))


def s3_locker_spec(server: SeaweedFS, *, timing: LeaseTiming) -> LockerSpec:
    """Return the specification of a new prefix, with the credentials of least privilege."""
    return LockerSpec(
        kind="s3",
        location=f"locks-{secrets.token_hex(4)}/",
        bucket=server.bucket,
        endpoint=server.endpoint,
        environ={k: v for k, v in server.environ().items() if k.startswith("AWS_")},
        timing=timing,
    )
