"""Shorthand for requests to the upload service over a real bucket."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import S3Sandbox
from tus_wsgi.domain.commands import (
    Append,
    Appended,
    Create,
    Created,
    Download,
    Downloadable,
    Inspect,
    Inspected,
    Terminate,
)
from tus_wsgi.domain.hook_set import Hooks
from tus_wsgi.domain.hooks import OnFinish
from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import Metadata, UploadId, UploadInfo
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.s3 import S3Store


@dataclass(frozen=True, slots=True)
class UnidentifiedLock:
    """A lock that does not identify its holders."""

    assert_held: Callable[[], None]
    holder: None = None
    previous_holder: None = None


class UncachedLocker:
    """A locker whose locks do not identify their holders, so the service caches nothing."""

    def __init__(self) -> None:
        self._locker = MemoryLocker(timeout=5)

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        with self._locker.lock(id, on_release_request=on_release_request) as lock:
            yield UnidentifiedLock(lock.assert_held)

    def last_holder(self, id: UploadId) -> None:
        pass


class UploadClient:
    """Sends requests to a new upload service, which stands for a server process.

    Args:
        sandbox: the service's part of the bucket.
        has_cache: whether the service caches uploads between requests.
        store: the service's store; None for a new one in the sandbox.
        on_finish: the app's hook.
    """

    def __init__(
        self,
        sandbox: S3Sandbox,
        *,
        has_cache: bool = True,
        store: S3Store | None = None,
        on_finish: OnFinish | None = None,
    ) -> None:
        ids = (UploadId(f"id{number}") for number in itertools.count())
        self.service = UploadService(
            store or sandbox.store(),
            MemoryLocker(timeout=5) if has_cache else UncachedLocker(),
            new_id=lambda: next(ids),
            hooks=Hooks(on_finish=on_finish),
        )

    def create(self, length: int | None, data: bytes | None = None) -> UploadInfo:
        """Send a POST, with data unless `data` is None."""
        command = Create(length, Metadata(), has_data=data is not None)
        created = self.service.execute(command, ScriptedBody(data or b""))
        assert isinstance(created, Created)
        return created.info

    def append(
        self, id: UploadId, data: bytes, *, offset: int = 0, length: int | None = None
    ) -> UploadInfo:
        """Send a PATCH."""
        appended = self.service.execute(Append(id, offset, length), ScriptedBody(data))
        assert isinstance(appended, Appended)
        return appended.info

    def inspect(self, id: UploadId) -> UploadInfo:
        """Send a HEAD."""
        inspected = self.service.execute(Inspect(id), ScriptedBody())
        assert isinstance(inspected, Inspected)
        return inspected.info

    def terminate(self, id: UploadId) -> None:
        """Send a DELETE."""
        self.service.execute(Terminate(id), ScriptedBody())

    def download(self, id: UploadId) -> bytes:
        """Send a GET."""
        outcome = self.service.execute(Download(id), ScriptedBody())
        assert isinstance(outcome, Downloadable)
        return b"".join(outcome.content.read(0, outcome.content.length))
