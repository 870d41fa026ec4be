"""A holder that stood still within a write does no harm when it goes on.

Before each write everybody looks at the lock, and whoever has lost it stops there. But one may be
stopped after the look, for longer than a lease: then its write arrives while another is at work, or
has long finished. Every write of a request is delayed like that in turn, each time the successor
does all of its work meanwhile, and the object is the file, byte for byte. It is one call that is
late, and no other follows.
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
"""Bytes that are there before anybody stands still: a tail."""

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


class Lease:
    """A lock that its holder has until it was stopped, and not afterwards."""

    def __init__(self) -> None:
        self.is_lost = False
        self.holder = self.previous_holder = None

    def assert_held(self) -> None:
        if self.is_lost:
            raise LockLost("it was stopped for too long")


Request = Callable[[S3Store, UploadId, Lease], object]
"""What somebody does who has the lock."""


class Standstill:
    """Stops whoever makes the write of this number, and lets another one work meanwhile."""

    def __init__(
        self, sandbox: S3Sandbox, number: int, lease: Lease, meanwhile: Callable[[], object]
    ):
        self._calls = sandbox.calls
        self._number = number
        self._lease = lease
        self._meanwhile = meanwhile
        self._lost_at = 0
        self._has_begun = False
        self.call: Call | None = None

    def __call__(self, call: Call) -> None:
        if call.operation not in WRITES:
            return
        self._number -= 1
        self._has_begun |= call.operation == "CreateMultipartUpload"
        if self._number == 0:
            self.call = call
            self._calls.before = None
            self._meanwhile()
            self._lease.is_lost = True
            self._lost_at = len(self._calls.log)

    def later_writes(self) -> list[str]:
        """What the one who was stopped has written after the write in which it was."""
        log = self._calls.log[self._lost_at :]
        later = [call for kind, call in log if kind == "begin" and call.operation in WRITES]
        if self._has_begun:
            # A multipart upload that no record names, which nobody else could remove.
            later = [call for call in later if call.operation != "AbortMultipartUpload"]
        return list(map(str, later))


def standstills(
    sandbox: S3Sandbox, begin: Callable[[str], UploadId], request: Request, meanwhile: Request
) -> Iterator[tuple[UploadId, str]]:
    """For each write of `request`: the upload, after that write was late, and its name."""
    for number in itertools.count(1):
        id = begin(f"upload{number}")
        lease = Lease()
        then = functools.partial(meanwhile, sandbox.store(), id, Lease())
        stopped = Standstill(sandbox, number, lease, then)
        # One thread, since a process stands still with all that it has.
        store = S3Store(
            sandbox.client, sandbox.bucket, keys=sandbox.keys, limits=LIMITS, parallel_parts=1
        )
        sandbox.calls.before = stopped
        try:
            request(store, id, lease)
        except (LockLost, StoreUnavailable, UploadGone):
            assert lease.is_lost  # the one who was stopped may learn it in any of these ways
        finally:
            sandbox.calls.before = None
        if stopped.call is None:
            assert number > 1, "it writes nothing"
            return
        assert stopped.later_writes() == [], f"after {stopped.call}"
        yield id, str(stopped.call)


# -- what comes in requests ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """Something to upload, and whether its length is known from the beginning."""

    content: bytes
    is_deferred: bool = False

    def begin(self, sandbox: S3Sandbox, name: str) -> UploadId:
        length = None if self.is_deferred else len(self.content)
        info = UploadInfo(id=UploadId(name), length=length, metadata=Metadata())
        sandbox.store().create(info, record_now=True)
        self.go_on(opened(sandbox.store(), info.id), upto=STORED, lease=Lease())
        return info.id

    def go_on(self, upload: Upload, *, upto: int, lease: Lease) -> None:
        """Send what is missing up to an offset, and finish with the last byte."""
        if upto == len(self.content) and upload.info.length is None:
            upload.declare_length(upto, lease.assert_held)
        upload.append(ScriptedBody(self.content[upload.info.offset : upto]), lease.assert_held)
        if upload.info.is_full:
            upload.assemble(lease.assert_held)
            upload.finish(lease.assert_held, may_defer=False)


def opened(store: S3Store, id: UploadId) -> Upload:
    """The upload as another host sees it, which remembers nothing."""
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
    for name, file in FILES.items():
        end = len(file.content)
        some, more = (PART + 5000, PART + 40_000) if end > PART else (3000, 4000)
        for upto in (some, end):
            yield name, upto, end, False
            yield name, upto, more, False
            if not file.is_deferred:
                yield name, upto, more, True
    # The successor's tail is, byte for byte, the one that was there before.
    yield "parts, all alike", PART // 2, PART + STORED, False
    yield "parts", PART // 2, len(LARGE), False
    yield "parts", PART // 2, PART + 40_000, False


@pytest.mark.parametrize(("name", "upto", "then", "has_memo"), list(cases()))
def test_a_late_write_changes_nothing(
    sandbox: S3Sandbox, name: str, upto: int, then: int, has_memo: bool
) -> None:
    """The successor goes on afterwards from what it finds, or from what it remembers."""
    file = FILES[name]
    left: list[Upload] = []

    def request(store: S3Store, id: UploadId, lease: Lease) -> None:
        file.go_on(opened(store, id), upto=upto, lease=lease)

    def meanwhile(store: S3Store, id: UploadId, lease: Lease) -> None:
        left.append(opened(store, id))
        if left[-1].info.offset < then:
            file.go_on(left[-1], upto=then, lease=lease)

    for id, write in standstills(sandbox, lambda id: file.begin(sandbox, id), request, meanwhile):
        after = opened(sandbox.store(), id)
        assert after.info.offset >= left[-1].info.offset, f"{write} took acknowledged bytes away"
        if has_memo and left[-1].is_cacheable:
            # It may learn that it has to look again, and so the client asks.
            with suppress(Unavailable):
                file.go_on(left[-1], upto=len(file.content), lease=Lease())
        after = opened(sandbox.store(), id)
        if not after.info.is_finished:
            file.go_on(after, upto=len(file.content), lease=Lease())
        assert sandbox.data(id) == file.content, f"{write} came late, and did harm"
        assert opened(sandbox.store(), id).info.is_finished


def test_a_late_prolongation_changes_nothing(sandbox: S3Sandbox) -> None:
    file = FILES["parts"]

    def extend_expiry(store: S3Store, id: UploadId, lease: Lease) -> None:
        opened(store, id).extend_expiry(EXPIRES, lease.assert_held)

    def finish(store: S3Store, id: UploadId, lease: Lease) -> None:
        file.go_on(opened(store, id), upto=len(file.content), lease=lease)

    for id, _ in standstills(sandbox, lambda id: file.begin(sandbox, id), extend_expiry, finish):
        assert opened(sandbox.store(), id).info.is_finished
        assert sandbox.data(id) == file.content


# -- what is made of others, and what is removed ---------------------------------------------------


@pytest.mark.parametrize("sizes", [(PART + 5, 3000), (3, 4)], ids=["parts", "one part"])
def test_a_late_write_of_a_concatenation_changes_nothing(
    sandbox: S3Sandbox, sizes: tuple[int, ...]
) -> None:
    pieces = [some_bytes(size) for size in sizes]
    store, names = sandbox.store(), [UploadId(f"partial{number}") for number in range(len(sizes))]
    for id, piece in zip(names, pieces, strict=True):
        store.create(UploadInfo(id, len(piece), concat=Partial()), record_now=True)
        File(piece).go_on(opened(store, id), upto=len(piece), lease=Lease())

    def begin(name: str) -> UploadId:
        info = UploadInfo(UploadId(name), sum(sizes), concat=Final(tuple(names)))
        return sandbox.store().create(info, record_now=True).info.id

    def join(store: S3Store, id: UploadId, lease: Lease) -> None:
        final = opened(store, id)
        final.assemble(lease.assert_held)
        final.finish(lease.assert_held, may_defer=False)

    late = []
    for id, write in standstills(sandbox, begin, join, join):
        late.append(write)
        assert opened(sandbox.store(), id).info.is_finished
        assert sandbox.data(id) == b"".join(pieces), f"{write} came late, and did harm"
    assert ("UploadPartCopy 1" in late) == (sizes[0] > PART)


@pytest.mark.parametrize("name", ["parts", "one part"])
@pytest.mark.parametrize("follows", ["an append", "a termination"])
def test_a_late_removal_leaves_the_file_or_nothing(
    sandbox: S3Sandbox, name: str, follows: str
) -> None:
    """Somebody wanted it gone. So it may be gone, but never be another file."""
    file = FILES[name]

    def terminate(store: S3Store, id: UploadId, lease: Lease) -> None:
        store.open(id).terminate(lease.assert_held)

    def append(store: S3Store, id: UploadId, lease: Lease) -> None:
        with suppress(UploadGone):
            file.go_on(opened(store, id), upto=len(file.content), lease=lease)

    meanwhile = append if follows == "an append" else terminate
    for id, write in standstills(sandbox, lambda id: file.begin(sandbox, id), terminate, meanwhile):
        with suppress(UploadGone, UploadNotFound):
            upload = opened(sandbox.store(), id)
            if not upload.info.is_finished:
                file.go_on(upload, upto=len(file.content), lease=Lease())
            content = opened(sandbox.store(), id).content()
            assert b"".join(content.read(0, content.length)) == file.content, write


class GoneStore(MemoryStore):
    def open(self, id: UploadId) -> NoReturn:
        raise UploadGone("it is finished, and its parts with it")


class OneLocker:
    """Gives the same lock to everybody."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        yield self._lock

    def last_holder(self, id: UploadId) -> None:
        raise AssertionError("nothing is created here")


@pytest.mark.parametrize("is_lost", [False, True])
def test_nobody_who_came_too_late_is_told_that_the_upload_is_gone(is_lost: bool) -> None:
    """Clients give up after a 410, and try again after a 503."""
    lease = Lease()
    lease.is_lost = is_lost
    service = UploadService(GoneStore(), OneLocker(lease), new_id=lambda: UploadId("a"))
    with pytest.raises(LockLost if is_lost else UploadGone):
        service.execute(Inspect(UploadId("a")), ScriptedBody())
