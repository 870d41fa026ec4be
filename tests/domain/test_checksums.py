"""Checksums, and bodies of which nobody gets a byte before theirs is right."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bodies import ScriptedBody, sliced
from tests.harness.clients.service import ServiceClient
from tus_wsgi.domain.checksums import Algorithm, Checksum, digest
from tus_wsgi.domain.commands import Verification
from tus_wsgi.domain.errors import (
    BodyIncomplete,
    BodyInterrupted,
    ChecksumMismatch,
    MalformedField,
    OffsetMismatch,
    StoreUnavailable,
    TusError,
    UploadTooLarge,
)
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.spool.body import STEP, SpooledBody
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.memory import MemoryStore

WRONG = Checksum(Algorithm.SHA1, bytes(20))

# RFC 3174, section 7.3; FIPS 180-2, appendices B.1 and C.1; RFC 1321, appendix A.5; and the
# check value of CRC-32, which is that of the nine digits.
KNOWN = [
    (Algorithm.SHA1, b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    (
        Algorithm.SHA256,
        b"abc",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    (
        Algorithm.SHA512,
        b"abc",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
    ),
    (Algorithm.MD5, b"abc", "900150983cd24fb0d6963f7d28e17f72"),
    (Algorithm.CRC32, b"123456789", "cbf43926"),
]


def never(trailers: object) -> None:
    """Nothing was said behind the body."""


def right(data: bytes, algorithm: Algorithm = Algorithm.SHA1) -> Verification:
    return Verification(Checksum(algorithm, digest(algorithm, [data])), never)


def behind(*checksums: Checksum | MalformedField) -> Verification:
    """A verification whose checksum comes behind the body."""

    def read(trailers: object) -> Checksum | None:
        for one in checksums:
            if isinstance(one, MalformedField):
                raise one
            return one
        return None

    return Verification(None, read)


@pytest.mark.parametrize(("algorithm", "data", "expected"), KNOWN)
def test_the_algorithms_are_those_of_their_standards(
    algorithm: Algorithm, data: bytes, expected: str
) -> None:
    """CK-01."""
    assert digest(algorithm, [data]).hex() == expected


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_checksum_has_the_size_of_its_algorithm(algorithm: Algorithm) -> None:
    assert len(digest(algorithm, [])) == algorithm.size


@pytest.mark.property
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300)))
def test_it_makes_no_difference_in_which_pieces_bytes_come(data: bytes, cuts: list[int]) -> None:
    pieces = sliced(data, cuts)
    assert digest(Algorithm.CRC32, pieces) == zlib.crc32(data).to_bytes(4)
    assert digest(Algorithm.SHA1, pieces) == hashlib.sha1(data).digest()


# -- the quarantine --------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, 100, 10**9], ids=["disk", "both", "memory"])
@pytest.mark.parametrize("size", [0, 1, STEP - 1, STEP, 2 * STEP + 1])
@pytest.mark.parametrize("is_announced", [True, False])
def test_what_is_held_comes_out_as_it_came_in(
    tmp_path: Path, budget: int, size: int, is_announced: bool
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    body = ScriptedBody(*sliced(data, [1, 1000]), content_length=size if is_announced else None)
    with SpooledBody(Spool(budget, str(tmp_path)), body) as held:
        held.limit(10 * STEP)
        assert held.receive() is BodyEnd.COMPLETE
        assert held.content_length == size
        assert held.digest(Algorithm.SHA256) == hashlib.sha256(data).digest()
        out = bytearray()
        step = memoryview(bytearray(70_000))
        while count := held.readinto(step):
            out += step[:count]
        assert out == data
        assert held.end is BodyEnd.COMPLETE


def test_memory_is_given_back(tmp_path: Path) -> None:
    spool = Spool(2 * STEP, str(tmp_path))
    for _ in range(3):
        with SpooledBody(spool, ScriptedBody(b"x" * STEP)) as held:
            held.limit(STEP)
            held.receive()
            assert spool.memory.available == STEP
        assert spool.memory.available == 2 * STEP


def test_memory_is_taken_as_bytes_come_and_not_as_they_are_promised(tmp_path: Path) -> None:
    """A client that announces the whole budget and sends nothing holds up nobody."""
    spool = Spool(100 * STEP, str(tmp_path))
    with SpooledBody(spool, ScriptedBody(b"x", content_length=100 * STEP)) as held:
        held.limit(100 * STEP)
        held.receive()
        assert spool.memory.available >= 99 * STEP


# -- in the service --------------------------------------------------------------------------------


@pytest.fixture
def uploads(tmp_path: Path) -> ServiceClient:
    spool = Spool(4 * STEP, str(tmp_path))
    return ServiceClient(MemoryStore(1000), body_buffer=partial(SpooledBody, spool))


def assert_untouched(uploads: ServiceClient, *, offset: int = 0, length: int | None = 10) -> None:
    """The one upload that there is has not changed."""
    (cell,) = uploads.store._uploads.values()  # type: ignore[attr-defined]
    assert (len(cell.content), cell.info.length) == (offset, length)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_right_checksum_lets_the_bytes_in(uploads: ServiceClient, algorithm: Algorithm) -> None:
    """CK-02, CK-07: each request is checked on its own."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01234", verification=right(b"01234", algorithm))
    info = uploads.append(id, 5, b"56789", verification=right(b"56789", algorithm))
    assert info.is_finished
    assert uploads.content(id) == b"0123456789"


def test_an_empty_body_has_a_checksum_too(uploads: ServiceClient) -> None:
    """CK-06."""
    id = uploads.create(10)
    assert uploads.append(id, 0, b"", verification=right(b"")).offset == 0
    with pytest.raises(ChecksumMismatch):
        uploads.append(id, 0, b"", verification=Verification(WRONG, never))


def test_a_wrong_checksum_changes_nothing(uploads: ServiceClient) -> None:
    """CK-03, CK-10, DL-08: not even the length that came with it."""
    id = uploads.create(None)
    with pytest.raises(ChecksumMismatch) as caught:
        uploads.append(id, 0, b"01234", length=5, verification=Verification(WRONG, never))
    assert caught.value.algorithm == "sha1"
    assert_untouched(uploads, length=None)
    uploads.append(id, 0, b"01234", length=5, verification=right(b"01234"))
    assert uploads.content(id) == b"01234"


def test_the_store_sees_no_byte_before_all_are_here(uploads: ServiceClient) -> None:
    """CK-10."""
    id = uploads.create(10)
    body = ScriptedBody(b"01", b"234", on_read=lambda: assert_untouched(uploads))
    assert uploads.append(id, 0, body, verification=right(b"01234")).offset == 5


@pytest.mark.parametrize(
    "end", [end for end in BodyEnd if end not in (BodyEnd.COMPLETE, BodyEnd.TOO_LONG)]
)
def test_a_body_that_cannot_be_verified_is_discarded(uploads: ServiceClient, end: BodyEnd) -> None:
    """CK-08: although without a checksum what came would be kept."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01")
    with pytest.raises(BodyIncomplete) as caught:
        uploads.append(
            id, 2, ScriptedBody(b"234", content_length=5, ending=end), verification=right(b"234")
        )
    assert caught.value.offset == 2
    assert_untouched(uploads, offset=2)


def test_what_can_be_seen_at_once_is_refused_first(uploads: ServiceClient) -> None:
    """CK-09: and nothing of the body is read."""
    id = uploads.create(10)
    bad: list[tuple[int, ScriptedBody, type[TusError]]] = [
        (7, ScriptedBody(b"789"), OffsetMismatch),
        (0, ScriptedBody(b"x" * 11), UploadTooLarge),
    ]
    for offset, body, error in bad:
        with pytest.raises(error):
            uploads.append(id, offset, body, verification=Verification(WRONG, never))
        assert body.received == 0


def test_no_more_is_held_than_fits(uploads: ServiceClient) -> None:
    """C-39, DL-09: by the upload's length, and by the greatest of all."""
    for length, limit in ((10, 10), (None, 1000)):
        id = uploads.create(length)
        body = ScriptedBody(b"x" * 2000, content_length=None)
        with pytest.raises(UploadTooLarge) as caught:
            uploads.append(id, 0, body, verification=Verification(WRONG, never))
        assert caught.value.limit == limit
        assert body.received <= limit
        assert uploads.inspect(id).offset == 0


@pytest.mark.parametrize("length", [5, 10, None])
def test_a_creation_with_a_right_checksum_is_kept(
    uploads: ServiceClient, length: int | None
) -> None:
    """CW-08."""
    assert uploads.create_upload(length, b"01234", verification=right(b"01234")).offset == 5


@pytest.mark.parametrize("length", [0, 10, None])
@pytest.mark.parametrize("data", [None, b"", b"x" * 5])
def test_a_creation_with_a_wrong_checksum_leaves_nothing(
    uploads: ServiceClient, length: int | None, data: bytes | None
) -> None:
    """CW-08: nothing is created, nobody is told."""
    with pytest.raises((ChecksumMismatch, UploadTooLarge)):
        uploads.create(length, data, verification=Verification(WRONG, never))
    assert uploads.store._uploads == {}  # type: ignore[attr-defined]
    assert uploads.events == []


def test_a_creation_that_is_cut_leaves_nothing(uploads: ServiceClient) -> None:
    """CK-08."""
    body = ScriptedBody(b"01", content_length=5, ending=BodyEnd.DISCONNECTED)
    with pytest.raises(BodyIncomplete) as caught:
        uploads.create(5, body, verification=right(b"01"))
    assert caught.value.offset == 0
    assert uploads.store._uploads == {}  # type: ignore[attr-defined]


def test_a_checksum_may_come_behind_the_body(uploads: ServiceClient) -> None:
    """CT-01."""
    id = uploads.create(10)
    with pytest.raises(ChecksumMismatch):
        uploads.append(id, 0, b"01234", verification=behind(WRONG))
    assert_untouched(uploads)
    said = right(b"01234").header_checksum
    assert said is not None
    assert uploads.append(id, 0, b"01234", verification=behind(said)).offset == 5


def test_a_checksum_that_was_promised_and_does_not_come_lets_nothing_in(
    uploads: ServiceClient,
) -> None:
    """CT-03."""
    id = uploads.create(10)
    with pytest.raises(MalformedField):
        uploads.append(id, 0, b"0", verification=behind(MalformedField("Upload-Checksum", "no")))
    assert_untouched(uploads)


@pytest.mark.parametrize("wrong_one", ["in front", "behind"])
def test_of_two_checksums_both_have_to_be_right(uploads: ServiceClient, wrong_one: str) -> None:
    """CT-02."""
    good = right(b"01234").header_checksum
    front, back = (WRONG, good) if wrong_one == "in front" else (good, WRONG)
    id = uploads.create(10)
    with pytest.raises(ChecksumMismatch):
        uploads.append(id, 0, b"01234", verification=Verification(front, lambda _: back))
    assert_untouched(uploads)
    uploads.append(id, 0, b"01234", verification=Verification(good, lambda _: good))


def test_the_trailers_are_those_of_the_body(uploads: ServiceClient) -> None:
    seen: list[object] = []
    id = uploads.create(10)
    body = ScriptedBody(b"0", content_length=None, trailers={"upload-checksum": "x"})
    uploads.append(id, 0, body, verification=Verification(None, seen.append))
    assert seen == [{"upload-checksum": "x"}]


def test_whoever_wants_the_upload_ends_a_body_that_is_held(uploads: ServiceClient) -> None:
    id = uploads.create(10)
    body = ScriptedBody(b"012", stalls=True)
    outcome: list[BaseException] = []
    holder = in_background(lambda: uploads.append(id, 0, body, verification=right(b"012")), outcome)
    assert body.waiting.wait(5)
    assert uploads.inspect(id).offset == 0
    holder.join(5)
    assert isinstance(outcome[0], BodyInterrupted)


def test_whoever_wants_the_upload_ends_a_body_that_is_on_its_way_on(tmp_path: Path) -> None:
    """What went on by then is right, so it counts."""
    with SpooledBody(Spool(0, str(tmp_path)), ScriptedBody(b"01234")) as held:
        held.limit(5)
        held.receive()
        step = memoryview(bytearray(2))
        assert held.readinto(step) == 2
        held.interrupt(BodyEnd.INTERRUPTED)
        held.interrupt(BodyEnd.DRAINING)
        assert held.readinto(step) == 0
        assert held.end is BodyEnd.INTERRUPTED


def test_a_full_disk_is_a_fault_of_ours(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    uploads = ServiceClient(MemoryStore(), body_buffer=partial(SpooledBody, Spool(0, gone)))
    id = uploads.create(10)
    with pytest.raises(StoreUnavailable):
        uploads.append(id, 0, b"01234", verification=right(b"01234"))
    assert_untouched(uploads)


def in_background(action: Callable[[], object], failures: list[BaseException]) -> threading.Thread:
    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - it is the outcome
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
