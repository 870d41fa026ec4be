"""A holder that stood still within a write does no harm when it goes on.

Before a write everybody looks at the lock, and whoever has lost it stops there. But one may be
stopped after the look, for longer than a lease: then its write arrives while another is at work, or
has long finished. Every write of a request is delayed like that in turn, each time the successor
does all of its work meanwhile, and the object is the file, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.data import some_bytes
from tests.harness.stores import PART, Call, Place
from tus_wsgi.commands import Inspect
from tus_wsgi.errors import LockLost, StoreUnavailable, UploadGone
from tus_wsgi.model import Metadata, UploadId, UploadInfo
from tus_wsgi.ports import Lock, Upload
from tus_wsgi.service import UploadService
from tus_wsgi.stores.memory import MemoryStore

pytestmark = pytest.mark.locks

FILE = some_bytes(2 * PART + 70_000)

STORED = 1000
"""Bytes that are there before anybody stands still: a tail."""

WRITES = frozenset(
    ("PutObject", "UploadPart", "DeleteObject", "CompleteMultipartUpload", "CreateMultipartUpload")
)


class Lease:
    """A lock that its holder has until it was stopped, and not afterwards."""

    def __init__(self) -> None:
        self.is_lost = False
        self.found: Upload | None = None
        self.memo: Upload | None = None

    def assert_held(self) -> None:
        if self.is_lost:
            raise LockLost("it was stopped for too long")


def opened(place: Place, id: UploadId) -> Upload:
    """The upload as another host sees it, which remembers nothing."""
    upload = place.store().open(id)
    upload.measure()
    return upload


def go_on(place: Place, id: UploadId, *, upto: int, lease: Lease) -> None:
    """What a request does: send what is missing up to an offset, and finish with the last byte."""
    upload = opened(place, id)
    upload.append(ScriptedBody(FILE[upload.info.offset : upto]), lease.assert_held)
    if upload.info.is_full:
        upload.assemble(lease.assert_held)
        lease.assert_held()
        upload.finish(lazily=False)


def begun(place: Place, name: str) -> UploadId:
    info = UploadInfo(id=UploadId(name), length=len(FILE), metadata=Metadata())
    place.store().create(info, at_once=True)
    go_on(place, info.id, upto=STORED, lease=Lease())
    return info.id


class Standstill:
    """Stops whoever makes the write of this number, until `meanwhile` is over."""

    def __init__(self, place: Place, number: int, lease: Lease) -> None:
        self._place = place
        self._number = number
        self._lease = lease
        self.call: Call | None = None
        self.successor: list[int] = []

    def __call__(self, call: Call) -> None:
        if call.operation not in WRITES:
            return
        self._number -= 1
        if self._number == 0 and self.call is None:
            self.call = call
            self._place.calls.before = None
            self.meanwhile()
            self._lease.is_lost = True

    def meanwhile(self) -> None:
        raise NotImplementedError


def writes_of(place: Place, name: str, upto: int) -> int:
    """How many writes a request makes that nobody disturbs."""
    id = begun(place, name)
    place.calls.clear()
    go_on(place, id, upto=upto, lease=Lease())
    return sum(1 for kind, call in place.calls.log if kind == "begin" and call.operation in WRITES)


@pytest.mark.parametrize("upto", [PART // 2, PART + 5000, len(FILE)], ids=["tail", "part", "all"])
@pytest.mark.parametrize("then", [PART + 80_000, len(FILE)], ids=["goes-on", "finishes"])
def test_a_late_write_changes_nothing(place: Place, upto: int, then: int) -> None:
    count = writes_of(place, "undisturbed", upto)
    assert count
    for number in range(1, count + 1):
        id = begun(place, f"{upto}-{then}-{number}")
        lease = Lease()
        stored: list[int] = []

        class Meanwhile(Standstill):
            def meanwhile(self) -> None:
                if opened(place, id).info.offset < then:  # noqa: B023 - it is called in this round
                    go_on(place, id, upto=then, lease=Lease())  # noqa: B023
                stored.append(opened(place, id).info.offset)  # noqa: B023

        stopped = Meanwhile(place, number, lease)
        place.calls.before = stopped
        try:
            go_on(place, id, upto=upto, lease=lease)
        except (LockLost, StoreUnavailable, UploadGone):
            assert lease.is_lost  # the one who was stopped may learn it in any of these ways
        finally:
            place.calls.before = None
        assert stopped.call is not None, number
        after = opened(place, id)
        assert after.info.offset >= stored[0], f"{stopped.call} took acknowledged bytes away"
        if not after.info.is_finished:
            go_on(place, id, upto=len(FILE), lease=Lease())
        assert place.data(id) == FILE, f"{stopped.call} came late, and did harm"
        assert opened(place, id).info.is_finished


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

    def entrust(self, upload: Upload) -> None:
        raise AssertionError("nothing is created here")


@pytest.mark.parametrize("is_lost", [False, True])
def test_nobody_who_came_too_late_is_told_that_the_upload_is_gone(is_lost: bool) -> None:
    """Clients give up after a 410, and try again after a 503."""
    lease = Lease()
    lease.is_lost = is_lost
    service = UploadService(GoneStore(), OneLocker(lease), new_id=lambda: UploadId("a"))
    with pytest.raises(LockLost if is_lost else UploadGone):
        service.execute(Inspect(UploadId("a")), ScriptedBody())
