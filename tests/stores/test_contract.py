"""The contract of all stores.

After each step the upload is opened in a new store instance, as the next request in another process
would do, so that the tests see only what is stored.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from tests.harness.bodies import ScriptedBody, sliced
from tests.harness.stores import PART, S3Sandbox
from tus_wsgi.domain.errors import LockLost, UploadIncomplete, UploadNotFound, UploadTooLarge
from tus_wsgi.domain.interfaces import BodyEnd, Store, Upload
from tus_wsgi.domain.model import Metadata, State, UploadId, UploadInfo
from tus_wsgi.stores.memory import MemoryStore

A = UploadId("Q1Hf2sVtT0m3bYwXyZ_-09")
B = UploadId("B")
METADATA = Metadata(
    (("filename", "Menü.txt".encode()), ("flag", b""), ("binary", bytes(range(256)))),
    "filename TWVuw7wudHh0,flag,binary AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKiss"
    "LS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3Bx"
    "cnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2"
    "t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t/g4eLj5OXm5+jp6uvs7e7v8PHy8/T19vf4+fr7"
    "/P3+/w==",
)
CREATED = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)

SMALL = random.Random(1).randbytes(1000)
LARGE = random.Random(2).randbytes(2 * PART + 777)
FILES = {"one part": SMALL, "three parts": LARGE, "full parts": LARGE[: 2 * PART]}


def held() -> None:
    """Do nothing: the lock is held."""


def lost() -> None:
    """Raise, as if another request held the lock."""
    raise LockLost("another request holds it")


@dataclass(frozen=True)
class StoreUnderTest:
    """A kind of store, and shorthand for its use.

    Attributes:
        reopen: makes a new store instance over the same uploads.
        list_leftovers: lists all that is stored, in the store's own terms.
    """

    reopen: Callable[[], Store]
    list_leftovers: Callable[[], list[str]]

    def create(self, length: int | None, *, id: UploadId = A, record_now: bool = True) -> Upload:
        info = UploadInfo(id, length, metadata=METADATA, created=CREATED)
        return self.reopen().create(info, record_now=record_now)

    def open(self, id: UploadId = A) -> Upload:
        """Open the upload as another process would."""
        upload = self.reopen().open(id)
        upload.load_offset()
        return upload

    def append(self, body: ScriptedBody) -> int:
        """Append the body in a new store instance; return the offset that another one finds.

        With the last byte, finish the upload, as a request does before it responds: before that,
        other requests need not find these bytes.
        """
        upload = self.open()
        before = upload.info.offset
        if upload.info.length is not None:
            body.limit(upload.info.length - before)
        upload.append(body, held)
        assert body.has_ended
        assert upload.info.offset == before + body.received
        if upload.info.is_full:
            upload.assemble(held)
            upload.finish(held, may_defer=False)
        found = self.open().info.offset
        assert found == upload.info.offset
        return found

    def finish(self) -> None:
        upload = self.open()
        upload.assemble(held)
        upload.finish(held, may_defer=False)

    def content(self) -> bytes:
        content = self.open().content()
        return b"".join(content.read(0, content.length))


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> StoreUnderTest:
    if request.param == "memory":
        store = MemoryStore()
        return StoreUnderTest(lambda: store, lambda: [str(id) for id in store._uploads])
    sandbox: S3Sandbox = request.getfixturevalue("sandbox")
    return StoreUnderTest(sandbox.store, functools.partial(list_after_sweep, sandbox))


class SweptSandbox(Protocol):
    """A sandbox whose tombstones a sweep can remove."""

    def sweep_tombstones(self) -> None: ...
    def list_keys(self) -> list[str]: ...
    def list_multiparts(self) -> list[str]: ...


def list_after_sweep(sandbox: SweptSandbox) -> list[str]:
    """Return what is left after a later sweep, which removes the tombstones."""
    sandbox.sweep_tombstones()
    return [*sandbox.list_keys(), *sandbox.list_multiparts()]


# -- existence -------------------------------------------------------------------------------------


def test_an_unknown_id_is_not_found(store: StoreUnderTest) -> None:
    store.create(10, id=B)
    with pytest.raises(UploadNotFound):
        store.reopen().open(A)


@pytest.mark.parametrize("length", [None, 10, len(LARGE)])
def test_an_upload_exists_after_its_creation(store: StoreUnderTest, length: int | None) -> None:
    created = store.create(length).info
    assert created == UploadInfo(A, length, 0, METADATA, created.state, CREATED)
    assert created.state is not State.FINISHED
    assert store.open().info == created


@pytest.mark.parametrize("length", [None, 10, len(LARGE)])
@pytest.mark.parametrize("data", [b"", b"abc"])
def test_an_upload_with_its_first_bytes_exists_after_append(
    store: StoreUnderTest, length: int | None, data: bytes
) -> None:
    store.create(length, record_now=False).append(ScriptedBody(data), held)
    found = store.open().info
    assert found == UploadInfo(A, length, len(data), METADATA, found.state, CREATED)
    assert found.state is not State.FINISHED


def test_an_upload_can_be_created_and_finished_in_one_request(store: StoreUnderTest) -> None:
    for data in FILES.values():
        upload = store.create(len(data), record_now=False)
        upload.append(ScriptedBody(data), held)
        assert upload.assemble(held)
        upload.finish(held, may_defer=True)
        assert store.content() == data
        store.open().terminate(held)
        assert store.list_leftovers() == []


def test_uploads_are_independent(store: StoreUnderTest) -> None:
    store.create(3)
    other = store.create(3, id=B)
    store.append(ScriptedBody(b"abc"))
    other.append(ScriptedBody(b"xyz"), held)
    store.open(B).terminate(held)
    assert store.content() == b"abc"


def test_a_length_above_max_size_is_refused_at_creation(store: StoreUnderTest) -> None:
    max_size = store.reopen().max_size
    with pytest.raises(UploadTooLarge) as caught:
        store.create(max_size + 1)
    assert (caught.value.limit, caught.value.provided) == (max_size, max_size + 1)
    assert store.list_leftovers() == []


# -- bytes -----------------------------------------------------------------------------------------

SLICES: dict[str, tuple[bytes, list[int]]] = {
    "whole": (SMALL, []),
    "byte by byte": (SMALL[:7], [1, 2, 3, 4, 5, 6]),
    "halves": (SMALL, [500]),
    "whole parts": (LARGE, []),
    "at part boundaries": (LARGE, [PART, 2 * PART]),
    "around a part boundary": (LARGE, [PART - 1, PART + 1]),
    "across two part boundaries": (LARGE, [3, 2 * PART + 1]),
    "tails only": (LARGE[: PART + 1], [1, 2, PART - 1, PART]),
    "last part is full": (LARGE[: 2 * PART], [PART + 5]),
}


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("slices", SLICES.values(), ids=SLICES.keys())
def test_the_object_does_not_depend_on_the_request_sizes(
    store: StoreUnderTest, *, slices: tuple[bytes, list[int]], has_length: bool
) -> None:
    data, cuts = slices
    store.create(len(data))
    offset = 0
    for request in sliced(data, cuts):
        content_length = len(request) if has_length else None
        body = ScriptedBody(*sliced(request, [1, 70_000, PART + 9]), content_length=content_length)
        offset = store.append(body)
    assert offset == len(data)
    assert store.content() == data


@pytest.mark.parametrize("cuts", [[], [9], [PART], [5, PART + 5, 2 * PART + 5]])
def test_a_length_can_be_declared_with_the_last_bytes(
    store: StoreUnderTest, cuts: list[int]
) -> None:
    store.create(None)
    for request in sliced(LARGE, cuts):
        store.append(ScriptedBody(request))
    assert store.open().info.length is None
    store.open().declare_length(len(LARGE), held)
    assert store.open().info == UploadInfo(A, len(LARGE), len(LARGE), METADATA, created=CREATED)
    store.append(ScriptedBody())
    assert store.content() == LARGE


@pytest.mark.parametrize("data", [b"", SMALL, LARGE, LARGE[:PART]], ids=len)
def test_declaring_a_length_can_complete_the_upload(store: StoreUnderTest, data: bytes) -> None:
    """The next request finishes the upload without another append."""
    store.create(None)
    store.append(ScriptedBody(data))
    store.open().declare_length(len(data), held)
    store.finish()
    assert store.content() == data


def test_a_length_can_be_declared_before_the_bytes(store: StoreUnderTest) -> None:
    store.create(None)
    store.append(ScriptedBody(LARGE[: PART + 3]))
    store.open().declare_length(len(LARGE), held)
    assert store.open().info.offset == PART + 3
    store.append(ScriptedBody(LARGE[PART + 3 :]))
    assert store.content() == LARGE


@pytest.mark.parametrize(
    ("received", "end"),
    [
        (0, BodyEnd.DISCONNECTED),
        (1, BodyEnd.STALLED),
        (PART - 1, BodyEnd.DISCONNECTED),
        (PART, BodyEnd.INTERRUPTED),
        (PART + 1, BodyEnd.DRAINING),
        (2 * PART + 700, BodyEnd.MALFORMED),
    ],
)
def test_the_received_bytes_of_an_interrupted_body_are_stored(
    store: StoreUnderTest, received: int, end: BodyEnd
) -> None:
    store.create(len(LARGE))
    assert (
        store.append(ScriptedBody(LARGE[:received], content_length=len(LARGE), ending=end))
        == received
    )
    store.append(ScriptedBody(LARGE[received:]))
    assert store.content() == LARGE


@pytest.mark.parametrize("received", [0, 5, PART, PART + 5])
def test_an_empty_append_changes_nothing(store: StoreUnderTest, received: int) -> None:
    store.create(len(LARGE))
    store.append(ScriptedBody(LARGE[:received]))
    assert store.append(ScriptedBody()) == received


def test_loading_the_offset_changes_nothing(store: StoreUnderTest) -> None:
    store.create(len(LARGE))
    store.append(ScriptedBody(LARGE[: PART + 5]))
    upload = store.open()
    upload.load_offset()
    assert upload.info == store.open().info
    assert store.append(ScriptedBody(LARGE[PART + 5 :])) == len(LARGE)


def test_nothing_is_written_after_the_lock_is_lost(store: StoreUnderTest) -> None:
    """D-03: the offset does not change."""
    store.create(len(LARGE))
    store.append(ScriptedBody(LARGE[:5]))
    for data in (LARGE[5:50], LARGE[5:]):
        upload = store.open()
        with pytest.raises(LockLost):
            upload.append(ScriptedBody(data), lost)
        assert store.open().info.offset == 5
    store.open().append(ScriptedBody(LARGE[5:]), held)
    full = store.open()
    with pytest.raises(LockLost):
        full.assemble(lost)
    with pytest.raises(UploadIncomplete):
        store.open().content()
    store.finish()
    assert store.content() == LARGE


# -- finishing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", FILES.values(), ids=FILES.keys())
def test_assemble_and_finish_are_idempotent(store: StoreUnderTest, data: bytes) -> None:
    """D-05."""
    upload = store.create(len(data))
    upload.append(ScriptedBody(data), held)
    assert upload.assemble(held)
    assert upload.assemble(held)
    upload.finish(held, may_defer=False)
    upload.finish(held, may_defer=False)
    again = store.open()
    assert again.info.is_finished
    assert not again.assemble(held)
    assert store.content() == data


@pytest.mark.parametrize("may_defer", [True, False])
@pytest.mark.parametrize("data", FILES.values(), ids=FILES.keys())
def test_a_finished_upload_is_finished_in_every_process(
    store: StoreUnderTest, *, data: bytes, may_defer: bool
) -> None:
    upload = store.create(len(data), record_now=False)
    upload.append(ScriptedBody(data), held)
    upload.assemble(held)
    upload.finish(held, may_defer=may_defer)
    found = store.open()
    assert (found.info.offset, found.info.is_full) == (len(data), True)
    assert found.info.is_finished or may_defer
    found.assemble(held)
    found.finish(held, may_defer=False)
    info = store.reopen().open(A).info
    assert info == UploadInfo(A, len(data), len(data), METADATA, State.FINISHED, CREATED)


def test_a_complete_object_without_its_record_is_found(store: StoreUnderTest) -> None:
    """D-05: the process died between the object and the record."""
    for data in FILES.values():
        upload = store.create(len(data))
        upload.append(ScriptedBody(data), held)
        upload.assemble(held)
        found = store.open()
        found.append(ScriptedBody(data[found.info.offset :]), held)
        found.assemble(held)
        found.finish(held, may_defer=False)
        assert store.content() == data
        store.open().terminate(held)
        assert store.list_leftovers() == []


def test_an_empty_upload_has_an_empty_object(store: StoreUnderTest) -> None:
    upload = store.create(0, record_now=False)
    assert upload.info.is_full
    assert upload.assemble(held)
    upload.finish(held, may_defer=True)
    found = store.open()
    assert found.info.is_full
    assert found.content().length == 0
    assert store.content() == b""


def test_a_body_for_a_complete_upload_is_read_to_its_end(store: StoreUnderTest) -> None:
    store.create(3)
    store.append(ScriptedBody(b"abc"))
    body = ScriptedBody()
    store.open().append(body, held)
    assert body.end is BodyEnd.COMPLETE
    surplus = ScriptedBody(b"x", content_length=None)
    assert store.append(surplus) == 3
    assert surplus.end is BodyEnd.TOO_LONG
    assert store.content() == b"abc"


# -- content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 0),
        (0, 1),
        (5, 5),
        (0, len(LARGE)),
        (PART - 3, PART + 3),
        (len(LARGE) - 1, len(LARGE)),
        (len(LARGE), len(LARGE)),
    ],
)
def test_content_is_read_in_ranges(store: StoreUnderTest, start: int, stop: int) -> None:
    store.create(len(LARGE))
    store.append(ScriptedBody(LARGE))
    content = store.open().content()
    assert content.length == len(LARGE)
    assert b"".join(content.read(start, stop)) == LARGE[start:stop]
    assert max(map(len, content.read(0, content.length))) <= 256 * 1024


def test_content_has_an_etag_and_a_date(store: StoreUnderTest) -> None:
    for id, data in ((A, b"abc"), (B, b"abd")):
        upload = store.create(3, id=id)
        upload.append(ScriptedBody(data), held)
        upload.assemble(held)
        upload.finish(held, may_defer=False)
    content, again, other = store.open().content(), store.open().content(), store.open(B).content()
    assert content.etag == again.etag
    assert content.etag != other.etag
    assert '"' not in content.etag
    assert content.modified == again.modified
    assert content.modified.tzinfo is not None
    # HTTP dates have whole seconds, and a service may round up.
    assert content.modified <= datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize("received", [0, 5, PART])
def test_an_incomplete_upload_has_no_content(store: StoreUnderTest, received: int) -> None:
    store.create(len(LARGE))
    store.append(ScriptedBody(LARGE[:received]))
    with pytest.raises(UploadIncomplete):
        store.open().content()


def test_a_full_upload_has_no_content_before_assemble(store: StoreUnderTest) -> None:
    store.create(len(LARGE)).append(ScriptedBody(LARGE), held)
    with pytest.raises(UploadIncomplete):
        store.open().content()
    store.finish()
    assert store.content() == LARGE


# -- termination -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [None, len(LARGE)])
@pytest.mark.parametrize("received", [0, 5, PART, PART + 5])
def test_a_terminated_upload_leaves_nothing(
    store: StoreUnderTest, received: int, length: int | None
) -> None:
    store.create(length)
    store.append(ScriptedBody(LARGE[:received]))
    store.open().terminate(held)
    assert store.list_leftovers() == []
    with pytest.raises(UploadNotFound):
        store.reopen().open(A)


@pytest.mark.parametrize("may_defer", [True, False])
@pytest.mark.parametrize("data", [b"", *FILES.values()], ids=len)
def test_a_terminated_finished_upload_leaves_nothing(
    store: StoreUnderTest, *, data: bytes, may_defer: bool
) -> None:
    upload = store.create(len(data), record_now=False)
    upload.append(ScriptedBody(data), held)
    upload.assemble(held)
    upload.finish(held, may_defer=may_defer)
    store.reopen().open(A).terminate(held)
    assert store.list_leftovers() == []


def test_termination_is_idempotent(store: StoreUnderTest) -> None:
    store.create(len(LARGE))
    store.append(ScriptedBody(LARGE[: PART + 5]))
    upload, same = store.open(), store.open()
    upload.terminate(held)
    upload.terminate(held)
    same.terminate(held)
    assert store.list_leftovers() == []


def test_an_id_can_be_reused_after_termination(store: StoreUnderTest) -> None:
    store.create(len(LARGE)).append(ScriptedBody(LARGE[: PART + 5]), held)
    store.open().terminate(held)
    assert store.list_leftovers() == []
    store.create(3)
    store.append(ScriptedBody(b"abc"))
    assert store.content() == b"abc"
