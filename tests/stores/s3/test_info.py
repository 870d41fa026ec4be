"""Writing the record: what a response, or none, proves about its outcome."""

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
    """Do nothing: the lock is held."""


@pytest.fixture
def info(stubbed: StubbedBucket) -> InfoObject:
    return InfoObject(stubbed.bucket, "a.info")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_after_a_5xx_a_missing_record_is_written_again(
    stubbed: StubbedBucket, info: InfoObject, status: int
) -> None:
    """D-09: S3 may still carry out the write, for example after a gateway's timeout."""
    stubbed.add_error("put_object", str(status), status)
    stubbed.add_error("get_object", "NoSuchKey", 404)
    stubbed.add_response("put_object", ETag='"1"')
    info.write(RECORD, held)
    assert info.exists


@pytest.mark.parametrize("code", ["InvalidRequest", "AccessDenied", "EntityTooLarge"])
def test_after_a_4xx_the_record_is_not_written(
    stubbed: StubbedBucket, info: InfoObject, code: str
) -> None:
    stubbed.add_error("put_object", code, 400)
    stubbed.add_error("get_object", "NoSuchKey", 404)
    with pytest.raises(NotWritten):
        info.write(RECORD, held)
    assert not info.exists


def test_if_the_record_cannot_be_read_back_the_outcome_is_unknown(
    stubbed: StubbedBucket, info: InfoObject
) -> None:
    """D-09."""
    stubbed.add_error("put_object", "504", 504)
    stubbed.add_error("get_object", "504", 504)
    with pytest.raises(StoreUnavailable) as caught:
        info.write(RECORD, held)
    assert not isinstance(caught.value, NotWritten)


def test_the_record_is_not_written_again_after_the_lock_is_lost(
    stubbed: StubbedBucket, info: InfoObject
) -> None:
    """D-09: S3 may still carry out the first write, so the outcome stays unknown."""
    held_once = iter([True])

    def held_for_one_call() -> None:
        if not next(held_once, False):
            raise LockLost("the lease expired")

    stubbed.add_error("put_object", "504", 504)
    stubbed.add_error("get_object", "NoSuchKey", 404)
    with pytest.raises(StoreUnavailable) as caught:
        info.write(RECORD, held_for_one_call)
    assert not isinstance(caught.value, NotWritten)
