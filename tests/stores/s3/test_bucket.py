"""The one door to S3: what its answers mean.

Codes that the real server gives are asked of it. The others, those that only AWS gives and those
of a server in trouble, come from botocore's Stubber, behind the very same client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.harness.stores import S3Sandbox
from tests.stores.s3.stubbed_bucket import FACTS, StubbedBucket
from tus_wsgi.domain.errors import LockLost, StoreUnavailable, TusError
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition, CopyRange
from tus_wsgi.stores.s3.errors import NotFound

KEY = "key"


@pytest.fixture
def bucket(sandbox: S3Sandbox) -> Bucket:
    return Bucket(sandbox.client, sandbox.bucket)


def payload(data: bytes) -> Payload:
    return Payload.of(data)


# -- what the real server answers ------------------------------------------------------------------


def test_what_was_put_is_there(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"abc"), content_type="text/x-a", metadata={"a": "B"})
    content, facts = bucket.get(key)
    assert content == b"abc"
    assert facts == bucket.head(key)
    assert (facts.size, facts.etag) == (3, etag)
    assert facts.metadata == {"a": "B"}
    assert facts.modified.tzinfo is not None
    found = sandbox.admin.head_object(Bucket=sandbox.bucket, Key=key)
    assert found["ContentType"] == "text/x-a"


def test_what_is_not_there_is_absent(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    for ask in (
        lambda: bucket.get(key),
        lambda: bucket.head(key),
        lambda: bucket.read(key, 0, 1, etag='"x"', chunk_size=10),
        lambda: bucket.list_parts(key, "0" * 32),
        lambda: bucket.upload_part(key, "0" * 32, 1, payload(b"x")),
        lambda: bucket.complete(key, "0" * 32, [Part(1, 1, '"x"')]),
    ):
        with pytest.raises(NotFound):
            ask()


def test_removing_what_is_not_there_is_nothing(sandbox: S3Sandbox, bucket: Bucket) -> None:
    bucket.delete(sandbox.prefix + KEY)
    bucket.abort(sandbox.prefix + KEY, "0" * 32)


def test_another_version_is_absent(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"abc"))
    assert b"".join(bucket.read(key, 1, 3, etag=etag, chunk_size=1)) == b"bc"
    bucket.put(key, payload(b"xyz"))
    with pytest.raises(NotFound):
        bucket.read(key, 0, 1, etag=etag, chunk_size=1)


def test_pieces_are_no_larger_than_asked_for(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"0123456789"))
    pieces = list(bucket.read(key, 0, 10, etag=etag, chunk_size=4))
    assert b"".join(pieces) == b"0123456789"
    assert max(map(len, pieces)) <= 4


def test_a_condition_that_does_not_hold_is_a_lost_lock(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"first"), condition=Condition(None))
    with pytest.raises(LockLost):
        bucket.put(key, payload(b"second"), condition=Condition(None))
    bucket.put(key, payload(b"third"), condition=Condition(etag))
    with pytest.raises(LockLost):
        bucket.put(key, payload(b"fourth"), condition=Condition(etag))
    bucket.delete(key)
    with pytest.raises(LockLost):
        bucket.put(key, payload(b"fifth"), condition=Condition(etag))
    assert sandbox.list_keys() == []


def test_the_bytes_of_another_write_are_not_taken_for_ours(
    sandbox: S3Sandbox, bucket: Bucket
) -> None:
    """Even where they are the same bytes: each write has a token of its own."""
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"same"), condition=Condition(None))
    with pytest.raises(LockLost):
        bucket.put(key, payload(b"same"), condition=Condition(None))
    assert bucket.head(key).etag == etag


def test_parts_are_listed_and_become_an_object(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    multipart = bucket.create_multipart(key, content_type=None, metadata={})
    assert bucket.list_parts(key, multipart) == []
    part = bucket.upload_part(key, multipart, 1, payload(b"abc"))
    assert (part.number, part.size) == (1, 3)
    assert [(one.number, one.size, one.etag) for one in bucket.list_parts(key, multipart)] == [
        (1, 3, part.etag)
    ]
    bucket.complete(key, multipart, [part])
    assert sandbox.get(key) == b"abc"


def test_bytes_that_changed_on_their_way_are_not_stored(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    wrong = Payload(b"abc", 3, Payload.of(b"abd").crc32)
    with pytest.raises(StoreUnavailable):
        bucket.put(key, wrong)
    multipart = bucket.create_multipart(key, content_type=None, metadata={})
    with pytest.raises(StoreUnavailable):
        bucket.upload_part(key, multipart, 1, wrong)
    assert bucket.list_parts(key, multipart) == []
    assert sandbox.list_keys() == []


def test_what_the_identity_may_not_do_is_a_failure_and_not_absence(sandbox: S3Sandbox) -> None:
    other = Bucket(sandbox.client, "another-bucket")
    for ask in (
        lambda: other.head(KEY),
        lambda: other.get(KEY),
        lambda: other.put(KEY, payload(b"")),
        lambda: other.delete(KEY),
        lambda: other.list_parts(KEY, "x"),
    ):
        with pytest.raises(StoreUnavailable):
            ask()


def test_a_server_that_cannot_be_reached_is_a_failure(sandbox: S3Sandbox, bucket: Bucket) -> None:
    with (
        sandbox.calls.failing(EndpointConnectionError(endpoint_url="x"), "HeadObject"),
        pytest.raises(StoreUnavailable, match="HeadObject") as caught,
    ):
        bucket.head(sandbox.prefix + KEY)
    assert isinstance(caught.value.__cause__, EndpointConnectionError)


# -- answers that no server here gives -------------------------------------------------------------


Ask = Callable[[Bucket], object]

READS: dict[str, Ask] = {
    "get_object": lambda bucket: bucket.get(KEY),
    "head_object": lambda bucket: bucket.head(KEY),
}


LISTS: dict[str, Ask] = {"list_parts": lambda bucket: bucket.list_parts(KEY, "m")}

WRITES: dict[str, Ask] = {
    "put_object": lambda bucket: bucket.put(KEY, payload(b""), condition=Condition(None)),
    "delete_object": lambda bucket: bucket.delete(KEY),
    "create_multipart_upload": lambda bucket: bucket.create_multipart(
        KEY, content_type=None, metadata={}
    ),
    "upload_part": lambda bucket: bucket.upload_part(KEY, "m", 1, payload(b"")),
    "complete_multipart_upload": lambda bucket: bucket.complete(KEY, "m", []),
    "abort_multipart_upload": lambda bucket: bucket.abort(KEY, "m"),
}


def test_to_remove_what_is_not_there_is_no_failure_where_the_service_says_so(
    stubbed: StubbedBucket,
) -> None:
    """Google's does; AWS answers 204 to both."""
    stubbed.add_error("delete_object", "NoSuchKey", 404)
    stubbed.bucket.delete(KEY)


@pytest.mark.parametrize("operation", READS)
@pytest.mark.parametrize("code", ["AccessDenied", "403", "Forbidden"])
def test_a_403_is_a_failure_until_something_was_read(
    stubbed: StubbedBucket, operation: str, code: str
) -> None:
    """A missing permission must not look like an empty bucket."""
    stubbed.add_error(operation, code, 403)
    with pytest.raises(StoreUnavailable):
        READS[operation](stubbed.bucket)


@pytest.mark.parametrize("operation", READS)
@pytest.mark.parametrize("code", ["AccessDenied", "403", "Forbidden"])
def test_a_403_is_absence_once_something_was_read(
    stubbed: StubbedBucket, operation: str, code: str
) -> None:
    """AWS hides absence from whoever may not list the bucket."""
    stubbed.read_something()
    stubbed.add_error(operation, code, 403)
    with pytest.raises(NotFound):
        READS[operation](stubbed.bucket)


@pytest.mark.parametrize("operation", READS)
def test_a_403_that_names_the_permission_to_list_is_absence(
    stubbed: StubbedBucket, operation: str
) -> None:
    """AWS says so where there is nothing to read, and only there."""
    message = "User: x is not authorized to perform: s3:ListBucket on resource: y"
    stubbed.add_error(operation, "AccessDenied", 403, message)
    with pytest.raises(NotFound):
        READS[operation](stubbed.bucket)


def test_a_403_to_anything_but_reading_is_a_failure(stubbed: StubbedBucket) -> None:
    stubbed.read_something()
    message = "not authorized to perform: s3:ListBucket"
    for operation, ask in {**WRITES, **LISTS}.items():
        stubbed.add_error(operation, "AccessDenied", 403, message)
        with pytest.raises(StoreUnavailable):
            ask(stubbed.bucket)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InternalError", 500),
        ("SlowDown", 503),
        ("500", 500),
        ("RequestTimeout", 400),
        ("NoSuchBucket", 404),
        ("InvalidAccessKeyId", 403),
        ("ExpiredToken", 400),
        ("PermanentRedirect", 301),
        ("", 502),
    ],
)
def test_everything_else_is_a_failure_and_never_absence(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    stubbed.read_something()
    for operation, ask in {**READS, **WRITES, **LISTS}.items():
        stubbed.add_error(operation, code, status)
        with pytest.raises(StoreUnavailable):
            ask(stubbed.bucket)


@pytest.mark.parametrize("condition", [Condition(None), Condition('"old"')])
@pytest.mark.parametrize(
    ("code", "status"), [("PreconditionFailed", 412), ("412", 412), ("NoSuchKey", 404)]
)
def test_a_refusal_of_our_own_first_try_is_recognised_by_its_token(
    stubbed: StubbedBucket,
    condition: Condition,
    code: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """boto3 sent it again, because the first answer was lost. It did happen."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "ours")
    stubbed.add_error("put_object", code, status)
    stubbed.add_response("head_object", **FACTS, Metadata={"Write": "ours"})
    assert stubbed.bucket.put(KEY, payload(b""), condition=condition) == '"e"'
    stubbed.add_error("put_object", code, status)
    stubbed.add_response("head_object", **FACTS, Metadata={"write": "theirs"})
    with pytest.raises(LockLost):
        stubbed.bucket.put(KEY, payload(b""), condition=condition)
    stubbed.add_error("put_object", code, status)
    stubbed.add_error("head_object", "404", 404)
    with pytest.raises(LockLost):
        stubbed.bucket.put(KEY, payload(b""), condition=condition)


def test_a_refusal_that_nobody_can_look_into_is_a_failure(stubbed: StubbedBucket) -> None:
    stubbed.add_error("put_object", "PreconditionFailed", 412)
    stubbed.add_error("head_object", "500", 500)
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.put(KEY, payload(b""), condition=Condition(None))


@pytest.mark.parametrize(
    ("code", "status"), [("PreconditionFailed", 412), ("NoSuchKey", 404), ("NotImplemented", 501)]
)
def test_an_odd_refusal_of_a_plain_write_is_a_failure(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    stubbed.add_error("put_object", code, status)
    with pytest.raises(TusError) as caught:
        stubbed.bucket.put(KEY, payload(b""))
    assert isinstance(caught.value, StoreUnavailable)


def test_a_service_without_conditional_writes_is_asked_for_them_once(
    stubbed: StubbedBucket,
) -> None:
    """Swift says 501."""
    seen: list[set[str]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        seen.append({"IfMatch", "IfNoneMatch"} & set(params))

    events = stubbed.bucket._client.meta.events
    events.register("provide-client-params.s3.PutObject", note, unique_id="note")
    stubbed.add_error("put_object", "NotImplemented", 501)
    stubbed.add_response("put_object", ETag='"1"')
    assert stubbed.bucket.put(KEY, payload(b""), condition=Condition('"0"')) == '"1"'
    stubbed.add_response("put_object", ETag='"2"')
    assert stubbed.bucket.put(KEY, payload(b""), condition=Condition(None)) == '"2"'
    events.unregister("provide-client-params.s3.PutObject", unique_id="note")
    assert seen == [{"IfMatch"}, set(), set()]


def test_parts_are_listed_page_by_page(stubbed: StubbedBucket) -> None:
    """With the marker, or without one; and without a word about more pages (rclone)."""

    def page(*numbers: int, **more: Any) -> None:
        parts = [{"PartNumber": number, "Size": 10, "ETag": '"e"'} for number in numbers]
        stubbed.add_response("list_parts", UploadId="m", Parts=parts, **more)

    page(1, 2, IsTruncated=True, NextPartNumberMarker=2)
    page(3, IsTruncated=True)
    page(4)
    listed = stubbed.bucket.list_parts(KEY, "m")
    assert [part.number for part in listed] == [1, 2, 3, 4]
    stubbed.add_response("list_parts", UploadId="m", IsTruncated=True)
    assert stubbed.bucket.list_parts(KEY, "m") == []


def test_a_list_that_does_not_say_whose_it_is_is_no_list(stubbed: StubbedBucket) -> None:
    """An empty 200, or the page of some proxy, is no proof that there are no parts."""
    stubbed.add_response("list_parts")
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.list_parts(KEY, "m")


@pytest.mark.parametrize(
    "operation", [*READS, *LISTS, *(set(WRITES) - {"delete_object", "abort_multipart_upload"})]
)
def test_an_answer_that_says_nothing_is_a_failure(stubbed: StubbedBucket, operation: str) -> None:
    """The 200 of a proxy that lost the rest. To a removal S3 says no more itself."""
    stubbed.add_response(operation)
    with pytest.raises(StoreUnavailable):
        {**READS, **LISTS, **WRITES}[operation](stubbed.bucket)


def test_a_range_or_a_copy_of_which_nothing_is_said_is_a_failure(stubbed: StubbedBucket) -> None:
    stubbed.add_response("get_object")
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.read(KEY, 0, 1, etag='"e"', chunk_size=1)
    stubbed.add_response("upload_part_copy")
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.copy_part(KEY, "m", 1, CopyRange("source", '"e"', None))


@pytest.mark.parametrize("error", [OSError("reset"), EndpointConnectionError(endpoint_url="x")])
def test_a_download_that_breaks_off_is_a_failure(stubbed: StubbedBucket, error: Exception) -> None:
    class Breaking:
        closed = False

        def read(self, size: int) -> bytes:
            if not hasattr(self, "begun"):
                self.begun = True
                return b"x"
            raise error

        def close(self) -> None:
            self.closed = True

    body = Breaking()
    stubbed.add_response("get_object", **FACTS, Body=body)
    pieces = stubbed.bucket.read(KEY, 0, 10, etag='"e"', chunk_size=4)
    assert next(pieces) == b"x"
    with pytest.raises(StoreUnavailable):
        next(pieces)
    assert body.closed


def test_a_download_that_nobody_reads_on_gives_its_connection_back(stubbed: StubbedBucket) -> None:
    class Closing:
        closed = False

        def read(self, size: int) -> bytes:
            return b"x"

        def close(self) -> None:
            self.closed = True

    for started in (True, False):
        body = Closing()
        stubbed.add_response("get_object", **FACTS, Body=body)
        pieces = stubbed.bucket.read(KEY, 0, 10, etag='"e"', chunk_size=4)
        if started:
            next(pieces)
        pieces.close()
        assert body.closed, f"{started=}"
