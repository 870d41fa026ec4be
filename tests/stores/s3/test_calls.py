"""What each request costs in S3 calls, pinned: they are money, and most of the time it takes."""

from __future__ import annotations

import random

import pytest

from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.service_client import Desk
from tus_wsgi.domain.errors import OffsetMismatch, UploadNotFound
from tus_wsgi.domain.model import UploadId

SMALL = b"0123456789"
LARGE = random.Random(3).randbytes(2 * PART + 777)

MEASURE = ["GetObject info", "HeadObject tail"]
MEASURE_ONE = [*MEASURE, "HeadObject data"]
MEASURE_PARTS = [*MEASURE, "ListParts data"]
COMPLETE = ["CompleteMultipartUpload data", "HeadObject data", "PutObject info"]
PARTS = ["UploadPart 1", "UploadPart 2", "UploadPart 3"]


class Counter:
    """Counts what the requests since the last look have cost."""

    def __init__(self, sandbox: S3Sandbox) -> None:
        self._calls = sandbox.calls

    def cost(self, *expected: str) -> None:
        """Compare with `expected`, in any order: some calls go at the same time."""
        assert sorted(self._calls.begun) == sorted(expected)
        self._calls.clear()

    def clear(self) -> None:
        """Forget what was spent so far."""
        self._calls.clear()


@pytest.fixture
def counter(sandbox: S3Sandbox) -> Counter:
    return Counter(sandbox)


@pytest.fixture(params=[False, True], ids=["strangers", "one process"])
def is_known(request: pytest.FixtureRequest) -> bool:
    """Whether this process has served the request before, and nobody has held the lock since."""
    known: bool = request.param
    return known


@pytest.fixture
def desk(sandbox: S3Sandbox, *, is_known: bool) -> Desk:
    return Desk(sandbox, remembers=is_known)


@pytest.fixture
def load_offset(*, is_known: bool) -> list[str]:
    """What a PATCH asks before its first byte, of an upload in one part."""
    return [] if is_known else MEASURE_ONE


@pytest.fixture
def measure_open(*, is_known: bool) -> list[str]:
    """The same, of an upload of unknown length."""
    return [] if is_known else MEASURE


@pytest.fixture
def measure_parts(*, is_known: bool) -> list[str]:
    """The same, of an upload in several parts."""
    return [] if is_known else MEASURE_PARTS


@pytest.mark.parametrize("data", [b"x", SMALL], ids=len)
def test_a_small_file_in_one_request_costs_two_calls(
    desk: Desk, counter: Counter, data: bytes
) -> None:
    desk.create(len(data), data)
    counter.cost("PutObject info", "PutObject data")


def test_a_file_of_exactly_one_part_costs_two_calls(desk: Desk, counter: Counter) -> None:
    desk.create(PART, LARGE[:PART])
    counter.cost("PutObject info", "PutObject data")


def test_an_empty_upload_costs_two_calls(desk: Desk, counter: Counter) -> None:
    desk.create(0)
    counter.cost("PutObject info", "PutObject data")


def test_a_hook_costs_one_more(sandbox: S3Sandbox, counter: Counter) -> None:
    Desk(sandbox, on_finish=lambda _: None).create(len(SMALL), SMALL)
    counter.cost("PutObject info", "PutObject data", "PutObject info")


def test_a_small_file_in_two_requests_costs_two_to_five_calls(
    desk: Desk, counter: Counter, load_offset: list[str]
) -> None:
    id = desk.create(len(SMALL)).id
    counter.cost("PutObject info")
    desk.append(id, SMALL)
    counter.cost(*load_offset, "PutObject data")


def test_with_a_hook_it_costs_three_to_six(
    sandbox: S3Sandbox, counter: Counter, *, is_known: bool
) -> None:
    desk = Desk(sandbox, on_finish=lambda _: None, remembers=is_known)
    id = desk.create(len(SMALL)).id
    desk.append(id, SMALL)
    load_offset = [] if is_known else MEASURE_ONE
    counter.cost("PutObject info", *load_offset, "PutObject data", "PutObject info")


def test_a_large_file_in_one_request_costs_a_call_for_each_part_and_five(
    desk: Desk, counter: Counter
) -> None:
    desk.create(len(LARGE), LARGE)
    counter.cost("CreateMultipartUpload data", "PutObject info", *PARTS, *COMPLETE)


def test_a_large_file_in_two_requests(
    desk: Desk, counter: Counter, measure_parts: list[str]
) -> None:
    id = desk.create(len(LARGE)).id
    counter.cost("CreateMultipartUpload data", "PutObject info")
    desk.append(id, LARGE)
    counter.cost(*measure_parts, *PARTS, *COMPLETE)


def test_full_parts_of_a_running_upload_cost_a_call_each_and_up_to_three(
    desk: Desk, counter: Counter, measure_parts: list[str]
) -> None:
    id = desk.create(3 * PART).id
    desk.append(id, LARGE[:PART])
    counter.clear()
    desk.append(id, LARGE[:PART], offset=PART)
    counter.cost(*measure_parts, "UploadPart 2")


def test_what_the_process_knows_is_what_a_look_has_found(
    desk: Desk, counter: Counter, measure_parts: list[str]
) -> None:
    id = desk.create(len(LARGE)).id
    desk.append(id, LARGE[:PART])
    desk.look(id)
    counter.clear()
    desk.append(id, LARGE[PART:-1], offset=PART)
    counter.cost(*measure_parts, "UploadPart 2", "PutObject tail")


def test_a_request_that_was_refused_leaves_nothing_to_go_on_from(
    sandbox: S3Sandbox, counter: Counter
) -> None:
    desk = Desk(sandbox)
    id = desk.create(len(LARGE)).id
    with pytest.raises(OffsetMismatch):
        desk.append(id, b"x", offset=1)
    counter.clear()
    desk.append(id, LARGE[:PART])
    counter.cost(*MEASURE_PARTS, "UploadPart 1")


def test_bytes_that_fill_no_part_cost_one_write_and_no_reading_back(
    desk: Desk, counter: Counter, measure_parts: list[str]
) -> None:
    id = desk.create(len(LARGE)).id
    counter.cost("CreateMultipartUpload data", "PutObject info")
    for offset in (0, 3, 6):
        desk.append(id, LARGE[offset : offset + 3], offset=offset)
        counter.cost(*measure_parts, "PutObject tail")


def test_another_process_reads_the_tail_back(sandbox: S3Sandbox, counter: Counter) -> None:
    id = Desk(sandbox).create(len(LARGE)).id
    Desk(sandbox).append(id, LARGE[:3])
    sandbox.calls.clear()
    Desk(sandbox).append(id, LARGE[3:6], offset=3)
    counter.cost(*MEASURE_PARTS, "GetObject tail", "PutObject tail")


def test_a_part_that_swallows_the_tail(
    desk: Desk, counter: Counter, sandbox: S3Sandbox, measure_parts: list[str]
) -> None:
    id = desk.create(len(LARGE)).id
    desk.append(id, LARGE[:3])
    sandbox.calls.clear()
    desk.append(id, LARGE[3:], offset=3)
    counter.cost(*measure_parts, *PARTS, "DeleteObject tail", *COMPLETE)


def test_a_small_file_in_pieces_never_opens_a_multipart_upload(
    desk: Desk, counter: Counter, sandbox: S3Sandbox, load_offset: list[str]
) -> None:
    id = desk.create(len(SMALL)).id
    for offset in range(len(SMALL) - 1):
        desk.append(id, SMALL[offset : offset + 1], offset=offset)
    desk.look(id)
    assert not [call for call in sandbox.calls.begun if "Part" in call]
    sandbox.calls.clear()
    desk.append(id, SMALL[-1:], offset=len(SMALL) - 1)
    counter.cost(*load_offset, "PutObject data", "DeleteObject tail", "PutObject info")


@pytest.mark.parametrize(
    ("length", "came", "cost"),
    [
        (10, 0, MEASURE_ONE),
        (10, 3, MEASURE_ONE),
        (None, 3, MEASURE),
        (len(LARGE), 3, MEASURE_PARTS),
        (len(LARGE), PART, MEASURE_PARTS),
        (len(LARGE), len(LARGE), ["GetObject info"]),
    ],
)
def test_a_look_costs_up_to_three_calls(
    sandbox: S3Sandbox, *, length: int | None, came: int, cost: list[str]
) -> None:
    desk = Desk(sandbox)
    id = desk.create(length).id
    desk.append(id, LARGE[:came])
    sandbox.calls.clear()
    desk.look(id)
    Counter(sandbox).cost(*cost)


@pytest.mark.parametrize("is_one_request", [True, False])
def test_the_first_look_at_a_small_file_records_that_it_is_finished(
    desk: Desk, counter: Counter, sandbox: S3Sandbox, *, is_one_request: bool
) -> None:
    id = desk.create(len(SMALL), SMALL if is_one_request else None).id
    if not is_one_request:
        desk.append(id, SMALL)
    sandbox.calls.clear()
    desk.look(id)
    counter.cost(*MEASURE_ONE, "PutObject info")
    desk.look(id)
    counter.cost("GetObject info")


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=len)
def test_a_download_costs_three_calls(
    desk: Desk, counter: Counter, sandbox: S3Sandbox, data: bytes
) -> None:
    id = desk.create(len(data)).id
    desk.append(id, data)
    desk.look(id)
    sandbox.calls.clear()
    assert desk.download(id) == data
    counter.cost("GetObject info", "HeadObject data", "GetObject data")


def test_a_download_before_anybody_has_looked_costs_four(
    desk: Desk, counter: Counter, sandbox: S3Sandbox
) -> None:
    id = desk.create(len(SMALL)).id
    desk.append(id, SMALL)
    sandbox.calls.clear()
    assert desk.download(id) == SMALL
    counter.cost(*MEASURE_ONE, "GetObject data")


@pytest.mark.parametrize(
    ("length", "came", "aborts"),
    [(len(SMALL), 3, False), (len(LARGE), PART, True), (None, 3, False), (3, 3, False)],
)
def test_a_termination_costs_five_calls(
    desk: Desk,
    counter: Counter,
    sandbox: S3Sandbox,
    *,
    length: int | None,
    came: int,
    aborts: bool,
) -> None:
    """Abort first, the record last."""
    id = desk.create(length).id
    desk.append(id, LARGE[:came])
    sandbox.calls.clear()
    desk.terminate(id)
    begun = sandbox.calls.begun
    assert begun == [
        "GetObject info",
        *(["AbortMultipartUpload data"] if aborts else []),
        "DeleteObject tail",
        "DeleteObject data",
        "DeleteObject info",
    ]


def test_what_does_not_exist_costs_one_call(desk: Desk, counter: Counter) -> None:
    with pytest.raises(Exception, match="no such upload"):
        desk.look(UploadId("unknown"))
    counter.cost("GetObject info")


def test_a_deferred_length_opens_its_multipart_upload_with_the_first_part(
    desk: Desk,
    counter: Counter,
    sandbox: S3Sandbox,
    measure_open: list[str],
    measure_parts: list[str],
) -> None:
    id = desk.create(None).id
    counter.cost("PutObject info")
    desk.append(id, LARGE[:7])
    counter.cost(*measure_open, "PutObject tail")
    assert sandbox.list_multiparts() == []
    desk.append(id, LARGE[7 : PART + 7], offset=7)
    counter.cost(
        *measure_open,
        "CreateMultipartUpload data",
        "PutObject info",
        "UploadPart 1",
        "PutObject tail",
    )
    assert len(sandbox.list_multiparts()) == 1
    desk.append(id, b"", offset=PART + 7, length=PART + 7)
    counter.cost(*measure_parts, "PutObject info", "UploadPart 2", "DeleteObject tail", *COMPLETE)


def test_a_deferred_length_of_one_part_never_opens_one(
    desk: Desk, counter: Counter, sandbox: S3Sandbox, measure_open: list[str]
) -> None:
    id = desk.create(None, SMALL[:4]).id
    counter.cost("PutObject info", "PutObject tail")
    desk.append(id, SMALL[4:], offset=4, length=len(SMALL))
    counter.cost(
        *measure_open,
        "PutObject info",
        "PutObject data",
        "DeleteObject tail",
        "PutObject info",
    )
    assert sandbox.data(id) == SMALL


def test_nothing_goes_on_from_an_upload_that_was_removed(desk: Desk, sandbox: S3Sandbox) -> None:
    id = desk.create(len(SMALL)).id
    desk.append(id, SMALL[:3])
    desk.terminate(id)
    for offset, data in ((3, SMALL[3:]), (0, SMALL)):
        with pytest.raises(UploadNotFound):
            desk.append(id, data, offset=offset)
    assert sandbox.list_keys() == []
