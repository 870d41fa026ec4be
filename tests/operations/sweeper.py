"""Helpers for tests of the sweep: create uploads in a sandbox, sweep it, and compare."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import PART, S3Sandbox
from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import TIB, UploadId, UploadInfo
from tus_wsgi.domain.plan import Plan
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.strict_bucket import StrictBucket
from tus_wsgi.operations.sweep import ActionKind, Sweep, SweepPolicy, SweepResult
from tus_wsgi.service.finish import Finisher
from tus_wsgi.service.termination import Terminator
from tus_wsgi.stores.s3.completion import COMPLETION_TIMEOUT
from tus_wsgi.stores.s3.termination import TOMBSTONE_LIFETIME
from tus_wsgi.stores.s3.upload import S3Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
LATER = datetime.now(UTC) + 2 * TOMBSTONE_LIFETIME
LENGTH = PART + 10


def held() -> None:
    """Return, as `Lock.assert_held` does while the lock is held."""


class RecordingLocker:
    """A locker that records the ids it locks, and calls `before_lock` before it locks one."""

    def __init__(self) -> None:
        self._locker = MemoryLocker(timeout=0.2)
        self.locked_ids: list[UploadId] = []
        self.before_lock: Callable[[], None] = lambda: None

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        self.locked_ids.append(id)
        self.before_lock()
        with self._locker.lock(id, on_release_request=on_release_request) as lock:
            yield lock

    def last_holder(self, id: UploadId) -> Hashable | None:
        return self._locker.last_holder(id)


@dataclass(frozen=True)
class Sweeper:
    """Sweeps a sandbox, and creates what there is to sweep.

    Attributes:
        sandbox: the prefix with the uploads.
        locker: the locker of servers and sweeps.
    """

    sandbox: S3Sandbox
    locker: RecordingLocker

    def create(
        self,
        length: int | None,
        *,
        stored: int = 0,
        expires: datetime | None = None,
        key: str | None = None,
    ) -> S3Upload:
        """Create an upload, and store the first `stored` bytes. `{id}` in `key` is its id."""
        id = UploadId(secrets.token_urlsafe(16))
        plan = Plan(key=None if key is None else key.format(id=id))
        upload = self.sandbox.store().create(
            UploadInfo(id, length, expires=expires, plan=plan), record_now=True
        )
        if stored:
            upload.append(ScriptedBody(bytes(stored)), held)
        return upload

    def create_finished(self, length: int, *, expires: datetime | None = None) -> S3Upload:
        upload = self.create(length, stored=length, expires=expires)
        upload.assemble(held)
        upload.finish(held, may_defer=False)
        return upload

    def sweep(
        self,
        *,
        min_age: float = 0.0,
        finisher: Finisher | None = None,
        is_dry: bool = False,
        abort_unknown: bool = False,
        terminator: Terminator | None = None,
        reads_all: bool = False,
        now: datetime | None = None,
        client: S3Client | None = None,
        page: int = 1000,
        completion_timeout: float = COMPLETION_TIMEOUT,
    ) -> list[SweepResult]:
        """Sweep once; return the results, sorted by name. By default, everything is old enough."""
        sandbox = self.sandbox
        sweep = Sweep(
            sandbox.store(completion_timeout=completion_timeout),
            self.locker,
            StrictBucket(client or sandbox.client, sandbox.bucket),
            keys=sandbox.keys,
            listing=Listing(sandbox.admin, sandbox.bucket, page=page),
            policy=SweepPolicy(
                # The times of the server are in whole seconds.
                now=now or datetime.now(UTC) + timedelta(seconds=2),
                min_age=min_age,
                finisher=finisher,
                max_size=TIB,
                is_dry=is_dry,
                abort_unknown=abort_unknown,
                terminator=terminator,
                reads_all=reads_all,
            ),
        )
        return sorted(sweep.run(), key=lambda result: result.name)

    def kinds(self, **policy: object) -> dict[str, ActionKind]:
        return {result.name: result.kind for result in self.sweep(**policy)}  # type: ignore[arg-type]

    def reload(self, upload: S3Upload) -> UploadInfo:
        again = self.sandbox.store().open(upload.info.id)
        again.load_offset()
        return again.info

    def snapshot(self) -> object:
        """Return the keys, ETags and UploadIds, to detect any change."""
        listed = self.sandbox.admin.list_objects_v2(
            Bucket=self.sandbox.bucket, Prefix=self.sandbox.prefix
        )
        objects = {(entry["Key"], entry["ETag"]) for entry in listed.get("Contents", [])}
        return objects, sorted(self.sandbox.list_multiparts())

    def create_orphan(self, name: str | None = None) -> tuple[str, str]:
        """Create a multipart upload that no info object names; return its key and UploadId."""
        key = self.sandbox.prefix + (name or secrets.token_urlsafe(16))
        created = self.sandbox.admin.create_multipart_upload(Bucket=self.sandbox.bucket, Key=key)
        return key, created["UploadId"]
