"""Checksums of bodies: nothing is stored before they are verified."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.harness.bodies import ScriptedBody
from tests.service.service_fixtures import TIMEOUT, BackgroundRequest, FailingServiceClient
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

MAX_SIZE = 1000
WRONG = Checksum(Algorithm.SHA1, bytes(20))


def checksum_of(data: bytes, algorithm: Algorithm = Algorithm.SHA1) -> Checksum:
    return Checksum(algorithm, digest(algorithm, [data]))


def in_header(checksum: Checksum) -> Verification:
    return Verification(checksum, lambda _trailers: None)


def in_trailer(checksum: Checksum) -> Verification:
    return Verification(None, lambda _trailers: checksum)


@pytest.fixture
def uploads(tmp_path: Path) -> FailingServiceClient:
    spool = Spool(4 * STEP, str(tmp_path))
    return FailingServiceClient(max_size=MAX_SIZE, body_buffer=partial(SpooledBody, spool))


def assert_stored(
    uploads: FailingServiceClient, *, offset: int = 0, length: int | None = 10
) -> None:
    """Check the only upload in the store, without the service."""
    (stored,) = uploads.store._uploads.values()
    assert (len(stored.content), stored.info.length) == (offset, length)


# -- appending -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_body_with_the_right_checksum_is_stored(
    uploads: FailingServiceClient, algorithm: Algorithm
) -> None:
    """CK-02, CK-07: every request is verified on its own."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01234", verification=in_header(checksum_of(b"01234", algorithm)))
    verification = in_header(checksum_of(b"56789", algorithm))
    assert uploads.append(id, 5, b"56789", verification=verification).is_finished
    assert uploads.content(id) == b"0123456789"


def test_the_checksum_of_an_empty_body_is_verified(uploads: FailingServiceClient) -> None:
    """CK-06."""
    id = uploads.create(10)
    assert uploads.append(id, 0, b"", verification=in_header(checksum_of(b""))).offset == 0
    with pytest.raises(ChecksumMismatch):
        uploads.append(id, 0, b"", verification=in_header(WRONG))


def test_a_wrong_checksum_changes_nothing(uploads: FailingServiceClient) -> None:
    """CK-03, CK-10, DL-08: the length in the same request is not recorded either."""
    id = uploads.create(None)
    with pytest.raises(ChecksumMismatch) as caught:
        uploads.append(id, 0, b"01234", length=5, verification=in_header(WRONG))
    assert caught.value.algorithm == "sha1"
    assert_stored(uploads, length=None)
    uploads.append(id, 0, b"01234", length=5, verification=in_header(checksum_of(b"01234")))
    assert uploads.content(id) == b"01234"


def test_the_store_gets_no_byte_before_the_body_is_complete(uploads: FailingServiceClient) -> None:
    """CK-10."""
    id = uploads.create(10)
    body = ScriptedBody(b"01", b"234", on_read=lambda: assert_stored(uploads))
    verification = in_header(checksum_of(b"01234"))
    assert uploads.append(id, 0, body, verification=verification).offset == 5


@pytest.mark.parametrize(
    "end", [end for end in BodyEnd if end not in (BodyEnd.COMPLETE, BodyEnd.TOO_LONG)]
)
def test_an_incomplete_body_with_a_checksum_is_discarded(
    uploads: FailingServiceClient, end: BodyEnd
) -> None:
    """CK-08: without a checksum, the received bytes would be stored."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01")
    body = ScriptedBody(b"234", content_length=5, ending=end)
    with pytest.raises(BodyIncomplete) as caught:
        uploads.append(id, 2, body, verification=in_header(checksum_of(b"234")))
    assert caught.value.offset == 2
    assert_stored(uploads, offset=2)


@pytest.mark.parametrize(
    ("offset", "body", "error"),
    [
        pytest.param(7, ScriptedBody(b"789"), OffsetMismatch, id="wrong offset"),
        pytest.param(0, ScriptedBody(b"x" * 11), UploadTooLarge, id="too long"),
    ],
)
def test_other_errors_are_found_before_the_body_is_read(
    uploads: FailingServiceClient, offset: int, body: ScriptedBody, error: type[TusError]
) -> None:
    """CK-09."""
    id = uploads.create(10)
    with pytest.raises(error):
        uploads.append(id, offset, body, verification=in_header(WRONG))
    assert body.received == 0


@pytest.mark.parametrize(("length", "limit"), [(10, 10), (None, MAX_SIZE)])
def test_a_body_is_buffered_up_to_the_limit_of_the_upload(
    uploads: FailingServiceClient, length: int | None, limit: int
) -> None:
    """C-39, DL-09: the limit is the upload's length, or else the maximum size."""
    id = uploads.create(length)
    body = ScriptedBody(b"x" * 2000, content_length=None)
    with pytest.raises(UploadTooLarge) as caught:
        uploads.append(id, 0, body, verification=in_header(WRONG))
    assert caught.value.limit == limit
    assert body.received <= limit
    assert uploads.inspect(id).offset == 0


def test_another_request_interrupts_a_body_that_is_being_buffered(
    uploads: FailingServiceClient,
) -> None:
    id = uploads.create(10)
    body = ScriptedBody(b"012", stalls=True)
    verification = in_header(checksum_of(b"012"))
    append = BackgroundRequest(lambda: uploads.append(id, 0, body, verification=verification))
    assert body.waiting.wait(TIMEOUT)
    assert uploads.inspect(id).offset == 0
    assert isinstance(append.wait(), BodyInterrupted)


def test_an_append_fails_if_the_body_cannot_be_buffered(tmp_path: Path) -> None:
    spool = Spool(0, str(tmp_path / "missing"))
    uploads = FailingServiceClient(body_buffer=partial(SpooledBody, spool))
    id = uploads.create(10)
    with pytest.raises(StoreUnavailable):
        uploads.append(id, 0, b"01234", verification=in_header(checksum_of(b"01234")))
    assert_stored(uploads)


# -- creating --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [5, 10, None])
def test_a_creation_with_the_right_checksum_stores_its_body(
    uploads: FailingServiceClient, length: int | None
) -> None:
    """CW-08."""
    verification = in_header(checksum_of(b"01234"))
    assert uploads.create_upload(length, b"01234", verification=verification).offset == 5


@pytest.mark.parametrize("length", [0, 10, None])
@pytest.mark.parametrize("data", [None, b"", b"x" * 5])
def test_a_creation_with_a_wrong_checksum_leaves_nothing(
    uploads: FailingServiceClient, length: int | None, data: bytes | None
) -> None:
    """CW-08: no upload is created, and no event dispatched."""
    with pytest.raises((ChecksumMismatch, UploadTooLarge)):
        uploads.create(length, data, verification=in_header(WRONG))
    assert uploads.stored_ids() == []
    assert uploads.events == []


def test_a_creation_with_a_checksum_and_an_incomplete_body_leaves_nothing(
    uploads: FailingServiceClient,
) -> None:
    """CK-08."""
    body = ScriptedBody(b"01", content_length=5, ending=BodyEnd.DISCONNECTED)
    with pytest.raises(BodyIncomplete) as caught:
        uploads.create(5, body, verification=in_header(checksum_of(b"01")))
    assert caught.value.offset == 0
    assert uploads.stored_ids() == []


# -- checksums in the trailer ----------------------------------------------------------------------


def test_a_checksum_in_the_trailer_is_verified(uploads: FailingServiceClient) -> None:
    """CT-01."""
    id = uploads.create(10)
    with pytest.raises(ChecksumMismatch):
        uploads.append(id, 0, b"01234", verification=in_trailer(WRONG))
    assert_stored(uploads)
    verification = in_trailer(checksum_of(b"01234"))
    assert uploads.append(id, 0, b"01234", verification=verification).offset == 5


def test_a_body_whose_trailer_lacks_the_announced_checksum_is_discarded(
    uploads: FailingServiceClient,
) -> None:
    """CT-03."""

    def parse_trailer(_trailers: object) -> Checksum | None:
        raise MalformedField("Upload-Checksum", "missing")

    id = uploads.create(10)
    with pytest.raises(MalformedField):
        uploads.append(id, 0, b"0", verification=Verification(None, parse_trailer))
    assert_stored(uploads)


@pytest.mark.parametrize("wrong", ["header", "trailer"])
def test_checksums_in_header_and_trailer_are_both_verified(
    uploads: FailingServiceClient, wrong: str
) -> None:
    """CT-02."""
    right = checksum_of(b"01234")
    header, trailer = (WRONG, right) if wrong == "header" else (right, WRONG)
    id = uploads.create(10)
    with pytest.raises(ChecksumMismatch):
        uploads.append(id, 0, b"01234", verification=Verification(header, lambda _: trailer))
    assert_stored(uploads)
    uploads.append(id, 0, b"01234", verification=Verification(right, lambda _: right))


def test_the_checksum_is_parsed_from_the_trailer_fields_of_the_body(
    uploads: FailingServiceClient,
) -> None:
    parsed: list[object] = []
    id = uploads.create(10)
    body = ScriptedBody(b"0", content_length=None, trailers={"upload-checksum": "x"})
    uploads.append(id, 0, body, verification=Verification(None, parsed.append))
    assert parsed == [{"upload-checksum": "x"}]
