"""Lockers of every kind, from a description that can be told to another process."""

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
from tus_wsgi.lockers.file.ofd import ByteLocks, OpenLocks
from tus_wsgi.lockers.lease.dynamodb import DynamoDBRecords
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import LeaseTiming
from tus_wsgi.lockers.lease.s3 import S3Records
from tus_wsgi.lockers.memory import MemoryLocker

if TYPE_CHECKING:
    from demo.seaweedfs import SeaweedFS
    from tests.harness.servers.dynamodb import DynamoDB

KINDS: dict[str, OpenLocks] = {"file": ByteLocks, "flock": FlockLocks}
"""The kinds of kernel locks that the file locker can stand on."""

LEASES = ("dynamodb", "s3")

ALL = ("memory", *KINDS, *LEASES)

QUICK = LeaseTiming(lease=3.0, heartbeat=0.75, margin=0.5, poll=0.15, reserve=0.5)
"""Everything twice as fast as usual, for tests in which somebody dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where locks live.

    Attributes:
        kind: one of `ALL`.
        at: the directory, the table or the prefix.
        bucket: for `s3`.
        endpoint: for `s3`; that of DynamoDB is in the environment.
        environ: variables that a process needs to use them.
        times: for leases.
    """

    kind: str
    at: str = ""
    bucket: str = ""
    endpoint: str | None = None
    environ: dict[str, str] = field(default_factory=dict)
    times: LeaseTiming = field(default_factory=LeaseTiming)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**{**fields, "times": LeaseTiming(**fields["times"])})

    def locker(self, timeout: float, tell: Callable[[LockEvent], None] | None = None) -> Locker:
        """A locker for this process. The environment has to be set already."""
        if self.kind == "memory":
            return MemoryLocker(timeout=timeout)
        if self.kind in KINDS:
            return FileLocker(Path(self.at), timeout=timeout, open_locks=KINDS[self.kind])
        return LeaseLocker(
            self._open_records(),
            timeout=timeout,
            times=self.times,
            tell=tell or (lambda _: None),
        )

    def _open_records(self) -> Callable[[], DynamoDBRecords | S3Records]:
        if self.kind == "dynamodb":
            return functools.partial(DynamoDBRecords, self.at)
        return functools.partial(S3Records, self.bucket, self.at, endpoint=self.endpoint)


def new_place(
    kind: str,
    request: pytest.FixtureRequest,
    directory: Path,
    *,
    times: LeaseTiming | None = None,
) -> Place:
    """A fresh place for locks of a kind; its server is started if need be."""
    times = times or LeaseTiming()
    if kind == "dynamodb":
        database: DynamoDB = request.getfixturevalue("dynamodb")
        table: str = request.getfixturevalue("lock_table")
        return Place(kind=kind, at=table, environ=database.environ(), times=times)
    if kind == "s3":
        return bucket_place(request.getfixturevalue("s3"), times=times)
    return Place(kind=kind, at=str(directory / "locks"))


def bucket_place(server: SeaweedFS, *, times: LeaseTiming) -> Place:
    """A prefix of its own, for a process of the least privilege."""
    return Place(
        kind="s3",
        at=f"locks-{secrets.token_hex(4)}/",
        bucket=server.bucket,
        endpoint=server.endpoint,
        environ={k: v for k, v in server.environ().items() if k.startswith("AWS_")},
        times=times,
    )
