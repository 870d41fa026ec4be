"""A holder that is stopped within a write does no harm when it resumes.

Before each write a holder checks its lock, and stops if the lock is lost. But it may be stopped
after the check, for longer than a lease. Then its write arrives while the next holder works, or
long after that. These tests delay every write of each kind of request in turn. The next holder does
all of its work meanwhile, and the object must equal the file afterwards. Only one call is late: the
stopped holder must not make another one (D-10).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.data import some_bytes
from tests.harness.stores import LIMITS, PART, Call, S3Sandbox
from tus_wsgi.domain.commands import Inspect
from tus_wsgi.domain.errors import (
    LockLost,
    StoreUnavailable,
    Unavailable,
    UploadGone,
    UploadNotFound,
)
from tus_wsgi.domain.interfaces import Lock, Upload
from tus_wsgi.domain.model import Final, Metadata, Partial, UploadId, UploadInfo
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.stores.s3 import S3Store

pytestmark = pytest.mark.locks

STORED = 1000
"""Bytes that are stored, as a tail, before a holder is stopped."""

EXPIRES = datetime(2100, 1, 1, tzinfo=UTC)

WRITES = frozenset(
    (
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
        "CreateMultipartUpload",
        "DeleteObject",
        "PutObject",
        "UploadPart",
        "UploadPartCopy",
    )
)


class FakeLock:
    """A lock that is lost when the test sets `is_lost`."""

    def __init__(self) -> None:
        self.is_lost = False
        self.holder = self.previous_holder = None

    def assert_held(self) -> None:
        if self.is_lost:
            raise LockLost("the holder was stopped for too long")


Request = Callable[[S3Store, UploadId, FakeLock], object]
"""The work of a request that holds the lock."""


class DelayedWrite:
    """Delay one write of a holder until the next holder has done its work.

    Args:
        sandbox: the store's bucket, whose calls are intercepted.
        number: the number of the write that is delayed, from 1.
        lock: the holder's, which is lost meanwhile.
        next_holder: the work of the next holder.

    Attributes:
        call: the delayed call; None if there were fewer writes.
    """

    def __init__(
        self, sandbox: S3Sandbox, number: int, lock: FakeLock, next_holder: Callable[[], object]
    ):
        self._calls = sandbox.calls
        self._number = number
        self._lock = lock
        self._next_holder = next_holder
        self._resumed_at = 0
        self._created_multipart_upload = False
        self.call: Call | None = None

    def __call__(self, call: Call) -> None:
        if call.operation not in WRITES:
            return
        self._number -= 1
        if call.operation == "CreateMultipartUpload":
            self._created_multipart_upload = True
        if self._number == 0:
            self.call = call
            self._calls.before = None
            self._next_holder()
            self._lock.is_lost = True
            self._resumed_at = len(self._calls.log)

    def later_writes(self) -> list[str]:
        """Return the writes of the stopped holder after the delayed one."""
        log = self._calls.log[self._resumed_at :]
        later = [call for kind, call in log if kind == "begin" and call.operation in WRITES]
        if self._created_multipart_upload:
            # It aborts a multipart upload that no record names, which no other process could.
            later = [call for call in later if call.operation != "AbortMultipartUpload"]
        return list(map(str, later))


def delay_each_write(
    sandbox: S3Sandbox,
    create: Callable[[str], UploadId],
    request: Request,
    next_request: Request,
) -> Iterator[tuple[UploadId, str]]:
    """Run `request` once for each of its writes, with that write delayed until `next_request` ends.

    Yields:
        the upload after that, and the name of the delayed write.
    """
    for number in itertools.count(1):
        id = create(f"upload{number}")
        lock = FakeLock()
        next_holder = functools.partial(next_request, sandbox.store(), id, FakeLock())
        delayed = DelayedWrite(sandbox, number, lock, next_holder)
        # A single thread, because a process is stopped with all its threads.
        store = S3Store(
            sandbox.client, sandbox.bucket, keys=sandbox.keys, limits=LIMITS, parallel_parts=1
        )
        sandbox.calls.before = delayed
        try:
            request(store, id, lock)
        except (LockLost, StoreUnavailable, UploadGone):
            # The stopped request may fail in any of these ways.
            assert lock.is_lost
        finally:
            sandbox.calls.before = None
        if delayed.call is None:
            assert number > 1, "the request writes nothing"
            return
        assert delayed.later_writes() == [], f"after {delayed.call}"
        yield id, str(delayed.call)


# -- uploads ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A file to upload, and whether its length is declared at the end."""

    content: bytes
    is_deferred: bool = False

    def create(self, sandbox: S3Sandbox, name: str) -> UploadId:
        length = None if self.is_deferred else len(self.content)
        info = UploadInfo(id=UploadId(name), length=length, metadata=Metadata())
        sandbox.store().create(info, record_now=True)
        self.send(opened(sandbox.store(), info.id), upto=STORED, lock=FakeLock())
        return info.id

    def send(self, upload: Upload, *, upto: int, lock: FakeLock) -> None:
        """Append the bytes up to an offset, and finish the upload with the last byte."""
        if upto == len(self.content) and upload.info.length is None:
            upload.declare_length(upto, lock.assert_held)
        upload.append(ScriptedBody(self.content[upload.info.offset : upto]), lock.assert_held)
        if upload.info.is_full:
            upload.assemble(lock.assert_held)
            upload.finish(lock.assert_held, may_defer=False)


def opened(store: S3Store, id: UploadId) -> Upload:
    """Open the upload as a host without a cache does."""
    upload = store.open(id)
    upload.load_offset()
    return upload


LARGE = some_bytes(PART + 70_000)
SMALL = some_bytes(6000)

FILES = {
    "parts": File(LARGE),
    "parts, deferred": File(LARGE, is_deferred=True),
    "parts, all alike": File(bytes(len(LARGE))),
    "one part": File(SMALL),
    "one part, deferred": File(SMALL, is_deferred=True),
}


def cases() -> Iterator[tuple[str, int, int, bool]]:
    """Yield the name of a file, the offset at which the delayed request ends, the offset at which
    the next one ends, and whether a third request uses the next holder's cache.
    """
    for name, file in FILES.items():
        end = len(file.content)
        some, more = (PART + 5000, PART + 40_000) if end > PART else (3000, 4000)
        for upto in (some, end):
            yield name, upto, end, False
            yield name, upto, more, False
            if not file.is_deferred:
                yield name, upto, more, True
    # D-11: the tail of the next holder equals the previous tail, so a condition does not help.
    yield "parts, all alike", PART // 2, PART + STORED, False
    yield "parts", PART // 2, len(LARGE), False
    yield "parts", PART // 2, PART + 40_000, False


@pytest.mark.parametrize(("name", "upto", "next_upto", "is_cached"), list(cases()))
def test_a_late_write_of_an_append_changes_nothing(
    sandbox: S3Sandbox, name: str, upto: int, next_upto: int, is_cached: bool
) -> None:
    """D-03, D-11: a third request continues from the store, or from the next holder's cache."""
    file = FILES[name]
    uploads: list[Upload] = []

    def append(store: S3Store, id: UploadId, lock: FakeLock) -> None:
        file.send(opened(store, id), upto=upto, lock=lock)

    def append_more(store: S3Store, id: UploadId, lock: FakeLock) -> None:
        uploads.append(opened(store, id))
        if uploads[-1].info.offset < next_upto:
            file.send(uploads[-1], upto=next_upto, lock=lock)

    def create(id: str) -> UploadId:
        return file.create(sandbox, id)

    for id, write in delay_each_write(sandbox, create, append, append_more):
        after = opened(sandbox.store(), id)
        assert after.info.offset >= uploads[-1].info.offset, f"{write} lost acknowledged bytes"
        if is_cached and uploads[-1].is_cacheable:
            # It may find its cache outdated. Then the client retries.
            with suppress(Unavailable):
                file.send(uploads[-1], upto=len(file.content), lock=FakeLock())
        after = opened(sandbox.store(), id)
        if not after.info.is_finished:
            file.send(after, upto=len(file.content), lock=FakeLock())
        assert sandbox.data(id) == file.content, f"{write} was late and changed the object"
        assert opened(sandbox.store(), id).info.is_finished


def test_a_late_write_of_a_new_expiry_changes_nothing(sandbox: S3Sandbox) -> None:
    file = FILES["parts"]

    def extend_expiry(store: S3Store, id: UploadId, lock: FakeLock) -> None:
        opened(store, id).extend_expiry(EXPIRES, lock.assert_held)

    def finish(store: S3Store, id: UploadId, lock: FakeLock) -> None:
        file.send(opened(store, id), upto=len(file.content), lock=lock)

    def create(id: str) -> UploadId:
        return file.create(sandbox, id)

    for id, _ in delay_each_write(sandbox, create, extend_expiry, finish):
        assert opened(sandbox.store(), id).info.is_finished
        assert sandbox.data(id) == file.content


# -- concatenation and termination -----------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(PART + 5, 3000), (3, 4)], ids=["parts", "one part"])
def test_a_late_write_of_a_concatenation_changes_nothing(
    sandbox: S3Sandbox, sizes: tuple[int, ...]
) -> None:
    """D-05: two requests complete the same final upload."""
    contents = [some_bytes(size) for size in sizes]
    store, ids = sandbox.store(), [UploadId(f"partial{number}") for number in range(len(sizes))]
    for id, content in zip(ids, contents, strict=True):
        store.create(UploadInfo(id, len(content), concat=Partial()), record_now=True)
        File(content).send(opened(store, id), upto=len(content), lock=FakeLock())

    def create(name: str) -> UploadId:
        info = UploadInfo(UploadId(name), sum(sizes), concat=Final(tuple(ids)))
        return sandbox.store().create(info, record_now=True).info.id

    def concatenate(store: S3Store, id: UploadId, lock: FakeLock) -> None:
        final = opened(store, id)
        final.assemble(lock.assert_held)
        final.finish(lock.assert_held, may_defer=False)

    late_writes = []
    for id, write in delay_each_write(sandbox, create, concatenate, concatenate):
        late_writes.append(write)
        assert opened(sandbox.store(), id).info.is_finished
        assert sandbox.data(id) == b"".join(contents), f"{write} was late and changed the object"
    assert ("UploadPartCopy 1" in late_writes) == (sizes[0] > PART)


@pytest.mark.parametrize("name", ["parts", "one part"])
@pytest.mark.parametrize("next_request", ["append", "termination"])
def test_a_late_write_of_a_termination_leaves_the_file_or_nothing(
    sandbox: S3Sandbox, name: str, next_request: str
) -> None:
    """The client asked for the removal, so the object may be gone, but never be a different one."""
    file = FILES[name]

    def terminate(store: S3Store, id: UploadId, lock: FakeLock) -> None:
        with suppress(UploadNotFound):
            store.terminate(id, lock.assert_held)

    def append(store: S3Store, id: UploadId, lock: FakeLock) -> None:
        with suppress(UploadGone, UploadNotFound):
            file.send(opened(store, id), upto=len(file.content), lock=lock)

    def create(id: str) -> UploadId:
        return file.create(sandbox, id)

    after = append if next_request == "append" else terminate
    for id, write in delay_each_write(sandbox, create, terminate, after):
        with suppress(UploadGone, UploadNotFound):
            upload = opened(sandbox.store(), id)
            if not upload.info.is_finished:
                file.send(upload, upto=len(file.content), lock=FakeLock())
            content = opened(sandbox.store(), id).content()
            assert b"".join(content.read(0, content.length)) == file.content, write


class GoneStore(MemoryStore):
    """A store whose uploads are all gone."""

    def open(self, id: UploadId) -> NoReturn:
        raise UploadGone("it is finished, and its parts with it")


class FakeLocker:
    """A locker that provides the same lock to every request."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        yield self._lock

    def last_holder(self, id: UploadId) -> None:
        raise AssertionError("no upload is created here")


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_request_that_lost_the_lock_does_not_report_the_upload_as_gone(is_lost: bool) -> None:
    """Clients give up after a 410, and retry after a 503."""
    lock = FakeLock()
    lock.is_lost = is_lost
    service = UploadService(GoneStore(), FakeLocker(lock), new_id=lambda: UploadId("a"))
    with pytest.raises(LockLost if is_lost else UploadGone):
        service.execute(Inspect(UploadId("a")), ScriptedBody())
