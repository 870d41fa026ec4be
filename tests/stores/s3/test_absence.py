"""D-07: which responses prove that an object does not exist, and which calls the proof takes.

Each test scripts S3's responses in their order, and fails if a call is missing or unexpected.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.stores.s3.stubbed_bucket import FACTS, StubbedBucket
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3 import absence
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.errors import NotFound

KEY = "folder/key"
OTHER = "folder/other"

Read = Callable[[Bucket], object]


def find(bucket: Bucket) -> object:
    facts = bucket.find(KEY)
    if facts is None:
        raise NotFound
    return facts


OPTIONAL: dict[str, Read] = {"get": lambda bucket: bucket.get(KEY), "find": find}
"""Reads of objects that may be missing."""

BARE_404 = [("404", 404), ("NotFound", 404), ("", 404)]
"""botocore's codes for a 404 without S3's error document: without a body, or with HTML."""

LIST_BUCKET = "User: x is not authorized to perform: s3:ListBucket on resource: y"


def deny(
    stubbed: StubbedBucket, code: str = "AccessDenied", message: str = "Access Denied"
) -> None:
    stubbed.add_error("get_object", code, 403, message)


def add_absent(stubbed: StubbedBucket) -> None:
    stubbed.add_error("get_object", "NoSuchKey", 404)


@pytest.fixture(params=OPTIONAL)
def read(request: pytest.FixtureRequest) -> Read:
    return OPTIONAL[request.param]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that advances the clock by some seconds."""
    now = time.monotonic()

    def later(seconds: float) -> None:
        nonlocal now
        now += seconds
        monkeypatch.setattr("time.monotonic", lambda: now)

    return later


# -- 404 -----------------------------------------------------------------------------------------


def test_the_code_no_such_key_proves_absence(stubbed: StubbedBucket, read: Read) -> None:
    add_absent(stubbed)
    with pytest.raises(NotFound):
        read(stubbed.bucket)


@pytest.mark.parametrize(("code", "status"), BARE_404)
def test_a_404_without_the_document_of_s3_is_a_failure(
    stubbed: StubbedBucket, read: Read, code: str, status: int
) -> None:
    stubbed.add_error("get_object", code, status)
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)


def test_a_404_to_head_is_followed_by_a_get(stubbed: StubbedBucket) -> None:
    """A response to HEAD has no document."""
    stubbed.add_error("head_object", "404", 404)
    add_absent(stubbed)
    with pytest.raises(NotFound):
        stubbed.bucket.head(KEY)


@pytest.mark.parametrize(("code", "status"), [*BARE_404, ("AccessDenied", 403), ("403", 403)])
@pytest.mark.parametrize("head", ["404", "403"])
def test_a_refused_head_is_a_failure_unless_get_proves_absence(
    stubbed: StubbedBucket, head: str, code: str, status: int
) -> None:
    """The caller of `head` knows that the object exists, so no 403 is absence."""
    stubbed.read_something(OTHER)
    stubbed.add_error("head_object", head, int(head))
    stubbed.add_error("get_object", code, status)
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.head(KEY)


@pytest.mark.parametrize("name", ["s3:ListBucket", "perform: s3:ListBucket"])
def test_the_name_of_a_file_proves_no_absence(stubbed: StubbedBucket, name: str) -> None:
    """D-07: AWS's message names the key, which may contain the name of a client's file."""
    stubbed.add_error("head_object", "403", 403)
    resource = f"arn:aws:s3:::uploads/{name}/id"
    deny(stubbed, message=f"User: x is not authorized to perform: s3:GetObject on {resource}")
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.head(KEY)


def test_a_get_after_a_refused_head_may_find_the_object(stubbed: StubbedBucket) -> None:
    stubbed.add_error("head_object", "403", 403)
    stubbed.add_object()
    assert stubbed.bucket.head(KEY).etag == FACTS["ETag"]


def test_an_object_that_is_likely_to_exist_is_looked_up_with_head(stubbed: StubbedBucket) -> None:
    """A response to HEAD has the CRC-32. If it is a 404, GetObject proves the absence."""
    stubbed.add_response("head_object", **FACTS, ChecksumCRC32="AAAAAA==")
    facts = stubbed.bucket.find(KEY, is_likely=True)
    assert facts is not None
    assert facts.crc32 == "AAAAAA=="
    stubbed.add_error("head_object", "404", 404)
    add_absent(stubbed)
    assert stubbed.bucket.find(KEY, is_likely=True) is None
    stubbed.add_error("head_object", "404", 404)
    stubbed.add_error("get_object", "404", 404)
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.find(KEY, is_likely=True)


def test_an_empty_object_is_found_by_a_head(stubbed: StubbedBucket) -> None:
    stubbed.add_error("get_object", "InvalidRange", 416)
    stubbed.add_response("head_object", **FACTS)
    facts = stubbed.bucket.find(KEY)
    assert facts is not None
    assert facts.size == 0


BODY = Payload.of(b"")

OTHER_CALLS: dict[str, Read] = {
    "abort_multipart_upload": lambda bucket: bucket.abort(KEY, "m"),
    "complete_multipart_upload": lambda bucket: bucket.complete(KEY, "m", []),
    "delete_object": lambda bucket: bucket.delete(KEY),
    "list_parts": lambda bucket: bucket.list_parts(KEY, "m"),
    "upload_part": lambda bucket: bucket.upload_part(KEY, "m", 1, BODY),
}


@pytest.mark.parametrize("operation", OTHER_CALLS)
def test_a_bare_404_does_not_mean_that_nothing_is_there(
    stubbed: StubbedBucket, operation: str
) -> None:
    """D-07; D-13: a removal that another program answers has failed, so the record must stay."""
    stubbed.add_error(operation, "404", 404)
    with pytest.raises(StoreUnavailable):
        OTHER_CALLS[operation](stubbed.bucket)


# -- 403 where absence is visible ----------------------------------------------------------------


def test_a_403_is_a_failure_where_absence_is_visible(stubbed: StubbedBucket, read: Read) -> None:
    """An object that certainly does not exist gets a 404, so the 403 has another reason."""
    stubbed.read_something(OTHER)
    for _ in range(2):
        deny(stubbed)
        add_absent(stubbed)
        with pytest.raises(StoreUnavailable):
            read(stubbed.bucket)


@pytest.mark.parametrize("code", ["403", "Forbidden", "InvalidAccessKeyId", ""])
def test_a_403_without_the_document_of_s3_is_a_failure(
    stubbed: StubbedBucket, read: Read, code: str
) -> None:
    """Such a 403 comes from a proxy."""
    stubbed.read_something(OTHER)
    deny(stubbed, code)
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)


def test_a_403_that_names_list_bucket_means_absence(stubbed: StubbedBucket, read: Read) -> None:
    """AWS sends this message only if the object does not exist, and may be read."""
    deny(stubbed, message=LIST_BUCKET)
    with pytest.raises(NotFound):
        read(stubbed.bucket)


def test_a_403_to_head_is_explained_by_a_get(stubbed: StubbedBucket) -> None:
    stubbed.add_error("head_object", "403", 403)
    deny(stubbed, message=LIST_BUCKET)
    with pytest.raises(NotFound):
        stubbed.bucket.head(KEY)


# -- 403 where absence is hidden -----------------------------------------------------------------


def test_a_hidden_absence_takes_two_more_calls_and_four_at_first(
    stubbed: StubbedBucket, read: Read
) -> None:
    stubbed.read_something(OTHER)
    deny(stubbed)
    deny(stubbed)  # a random key
    stubbed.add_object()  # the other object
    deny(stubbed)  # a random key
    deny(stubbed)
    with pytest.raises(NotFound):
        read(stubbed.bucket)
    deny(stubbed)
    stubbed.add_object()
    deny(stubbed)
    with pytest.raises(NotFound):
        read(stubbed.bucket)


def test_a_403_is_a_failure_while_no_object_can_be_read(stubbed: StubbedBucket, read: Read) -> None:
    """During an outage, a random key gets a 403 too."""
    stubbed.read_something(OTHER)
    deny(stubbed)
    deny(stubbed)
    deny(stubbed)  # the other object
    stubbed.add_error("put_object", "AccessDenied", 403)
    stubbed.add_response("delete_object")
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)


def test_a_403_of_an_outage_between_two_probes_is_a_failure(
    stubbed: StubbedBucket, read: Read
) -> None:
    """The outage ends after the first probe, and the second probe shows that absence is visible."""
    stubbed.read_something(OTHER)
    deny(stubbed)
    deny(stubbed)  # the first probe: a random key
    stubbed.add_object()  # the other object
    add_absent(stubbed)  # the second probe: a random key
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)


def test_the_second_read_decides(stubbed: StubbedBucket, read: Read) -> None:
    """S3 answers one 403 for an object that exists."""
    stubbed.read_something(OTHER)
    deny(stubbed)
    deny(stubbed)
    stubbed.add_object()
    deny(stubbed)
    stubbed.add_object()
    assert read(stubbed.bucket)


def test_the_answer_to_a_probe_expires(
    stubbed: StubbedBucket, read: Read, later: Callable[[float], None]
) -> None:
    """The permission `s3:ListBucket` may have been granted meanwhile."""
    test_a_hidden_absence_takes_two_more_calls_and_four_at_first(stubbed, read)
    later(absence.VERDICT_TIME + 1)
    deny(stubbed)
    add_absent(stubbed)
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)


def test_an_object_that_was_just_read_is_not_absent(
    stubbed: StubbedBucket, read: Read, later: Callable[[float], None]
) -> None:
    stubbed.read_something(OTHER)
    stubbed.read_something(KEY)
    deny(stubbed)
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)
    later(absence.TRACE_TIME + 1)  # another process may have deleted it
    deny(stubbed)
    deny(stubbed)
    deny(stubbed)  # this object is the most recent one that is known
    stubbed.add_object()
    deny(stubbed)
    deny(stubbed)
    with pytest.raises(NotFound):
        read(stubbed.bucket)


def test_an_object_that_was_just_deleted_may_be_absent(stubbed: StubbedBucket, read: Read) -> None:
    stubbed.read_something(OTHER)
    stubbed.read_something(KEY)
    stubbed.add_response("delete_object")
    stubbed.bucket.delete(KEY)
    deny(stubbed)
    deny(stubbed)
    stubbed.add_object()
    deny(stubbed)
    deny(stubbed)
    with pytest.raises(NotFound):
        read(stubbed.bucket)


def test_without_a_known_object_a_temporary_one_shows_that_reads_are_allowed(
    stubbed: StubbedBucket, read: Read, later: Callable[[float], None]
) -> None:
    """Policies grant permissions by key prefix, so an object in another folder proves nothing."""
    stubbed.read_something("another/key")

    def add_answers() -> None:
        for step in (deny, deny, add_temporary, deny, deny):
            step(stubbed)

    add_answers()
    with pytest.raises(NotFound):
        read(stubbed.bucket)
    deny(stubbed)  # temporary objects are not written often
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)
    later(absence.VERDICT_TIME + 1)
    add_answers()
    with pytest.raises(NotFound):
        read(stubbed.bucket)


def add_temporary(stubbed: StubbedBucket) -> None:
    stubbed.add_response("put_object", ETag='"e"')
    stubbed.add_object()
    stubbed.add_response("delete_object")


# -- ETags ---------------------------------------------------------------------------------------


def test_weak_etags_become_strong(stubbed: StubbedBucket) -> None:
    """A proxy that compresses marks ETags as weak, and `If-Match` never matches a weak one."""
    bucket, weak = stubbed.bucket, 'W/"e"'
    stubbed.add_response("head_object", **{**FACTS, "ETag": weak})
    assert bucket.head(KEY).etag == '"e"'
    stubbed.add_response("put_object", ETag=weak)
    assert bucket.put(KEY, Payload.of(b"")) == '"e"'
    stubbed.add_response("upload_part", ETag=weak)
    assert bucket.upload_part(KEY, "m", 1, Payload.of(b"")).etag == '"e"'
    parts = [{"PartNumber": 1, "Size": 1, "ETag": weak}]
    stubbed.add_response("list_parts", UploadId="m", Parts=parts)
    assert bucket.list_parts(KEY, "m")[0].etag == '"e"'
