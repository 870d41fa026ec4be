"""Writing the record: what an answer, or none, says of whether it is there."""

from __future__ import annotations

import pytest

from tests.stores.s3.stubbed_bucket import StubbedBucket
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.stores.s3.info import InfoObject, NotWritten
from tus_wsgi.stores.s3.record import UploadRecord

RECORD = UploadRecord(UploadInfo(UploadId("a"), 5), "bucket", "a", None, PartPlan(10))


def held() -> None:
    """The lock is ours."""


@pytest.fixture
def info(stubbed: StubbedBucket) -> InfoObject:
    return InfoObject(stubbed.bucket, "a.info")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_is_no_refusal_so_the_record_is_written_again(
    stubbed: StubbedBucket, info: InfoObject, status: int
) -> None:
    """A gateway that gave up does not know what becomes of the call behind it."""
    stubbed.add_error("put_object", str(status), status)
    stubbed.add_error("get_object", "NoSuchKey", 404)
    stubbed.add_response("put_object", ETag='"1"')
    info.write(RECORD, held)
    assert info.exists


@pytest.mark.parametrize("code", ["InvalidRequest", "AccessDenied", "EntityTooLarge"])
def test_a_4xx_is_a_refusal_so_the_record_is_certainly_not_there(
    stubbed: StubbedBucket, info: InfoObject, code: str
) -> None:
    stubbed.add_error("put_object", code, 400)
    stubbed.add_error("get_object", "NoSuchKey", 404)
    with pytest.raises(NotWritten):
        info.write(RECORD, held)
    assert not info.exists


def test_where_nobody_can_look_nobody_can_tell(stubbed: StubbedBucket, info: InfoObject) -> None:
    stubbed.add_error("put_object", "504", 504)
    stubbed.add_error("get_object", "504", 504)
    with pytest.raises(StoreUnavailable) as caught:
        info.write(RECORD, held)
    assert not isinstance(caught.value, NotWritten)


def test_there_is_no_second_try_once_the_lock_is_lost(
    stubbed: StubbedBucket, info: InfoObject
) -> None:
    """The first one may still arrive, so it is not certain either that nothing is written."""
    held_once = iter([True])

    def held_for_one_call() -> None:
        if not next(held_once, False):
            raise LockLost("it was stopped for too long")

    stubbed.add_error("put_object", "504", 504)
    stubbed.add_error("get_object", "NoSuchKey", 404)
    with pytest.raises(StoreUnavailable) as caught:
        info.write(RECORD, held_for_one_call)
    assert not isinstance(caught.value, NotWritten)
