"""What the size of an info object says about its record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tus_wsgi.domain.answer import Rejected
from tus_wsgi.domain.model import Final, Partial, State, TerminationReason, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.stores.s3.record import UploadRecord, decode, encode
from tus_wsgi.stores.s3.record_size import MODULUS, ListedState, listed_state, pad_to_state

RECEIVING = UploadRecord(
    UploadInfo(UploadId("Q1Hf2sVtT0m3bYwXyZ_-09"), 5), "bucket", "key", None, PartPlan(10)
)
FINISHING = RECEIVING.with_state(State.FINISHING)
FINISHED = RECEIVING.with_state(State.FINISHED)


def with_info(record: UploadRecord, **changes: object) -> UploadRecord:
    return replace(record, info=replace(record.info, **changes))  # type: ignore[arg-type]


def listed(record: UploadRecord) -> ListedState | None:
    content = pad_to_state(record, encode(record))
    assert decode(content) == record
    return listed_state(len(content))


@pytest.mark.parametrize(
    "record", [FINISHED, replace(FINISHED, multipart="m"), with_info(FINISHED, concat=Partial())]
)
def test_the_size_of_a_finished_record_says_so(record: UploadRecord) -> None:
    assert listed(record) is ListedState.FINISHED


def test_the_size_of_a_record_that_announces_an_object_says_so() -> None:
    """D-13: the object may exist, or not."""
    assert listed(FINISHING) is ListedState.ANNOUNCED


NEITHER: dict[str, UploadRecord] = {
    "receiving": RECEIVING,
    "rejected": with_info(
        FINISHED.with_state(State.REJECTED), rejection=Rejected(keep=True).rejection
    ),
    "terminated": FINISHED.as_tombstone(),
    "being removed": with_info(FINISHED, terminating=TerminationReason.APP),
    "being removed before the finish": with_info(FINISHING, terminating=TerminationReason.APP),
    "a partial upload": with_info(FINISHING, concat=Partial()),
    "a final upload": with_info(FINISHING, concat=Final((UploadId("x"),))),
    "with a multipart upload": replace(FINISHING, multipart="m"),
}


@pytest.mark.parametrize("record", NEITHER.values(), ids=NEITHER)
def test_the_size_of_every_other_record_says_nothing(record: UploadRecord) -> None:
    """D-06, D-08: something may be due."""
    assert listed(record) is None


@pytest.mark.parametrize("state", ListedState)
def test_no_other_record_has_such_a_size_by_accident(state: ListedState) -> None:
    """D-12: whatever the key of its object is."""
    missing = (state - len(encode(RECEIVING))) % MODULUS
    record = replace(RECEIVING, key=RECEIVING.key + "x" * missing)
    assert listed_state(len(encode(record))) is state
    assert listed(record) is None


@pytest.mark.parametrize("extra", range(5))
def test_a_record_grows_by_less_than_a_kibibyte(extra: int) -> None:
    record = replace(FINISHED, key="k" * (ListedState.FINISHED - 2 + extra))
    content = encode(record)
    padded = pad_to_state(record, content)
    assert len(content) <= len(padded) < len(content) + MODULUS
    assert pad_to_state(record, padded) == padded
