"""S3 calls and the meaning of their responses.

Responses that the test server gives come from it. The others, which only AWS or a failing service
gives, come from botocore's Stubber behind the same client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.harness.stores import S3Sandbox
from tests.stores.s3.stubbed_bucket import FACTS, EmptyBody, StubbedBucket
from tus_wsgi.domain.errors import LockLost, StoreUnavailable, TusError
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition, CopyRange
from tus_wsgi.stores.s3.errors import CopyRefused, NotFound, NotSupported
from tus_wsgi.stores.s3.multipart import with_listed_checksums

KEY = "key"


@pytest.fixture
def bucket(sandbox: S3Sandbox) -> Bucket:
    return Bucket(sandbox.client, sandbox.bucket)


def payload(data: bytes) -> Payload:
    return Payload.of(data)


# -- responses of the real server ------------------------------------------------------------------


def test_an_object_is_read_as_it_was_written(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"abc"), content_type="text/x-a", metadata={"a": "B"})
    content, facts = bucket.get(key)
    assert content == b"abc"
    assert facts == bucket.head(key) == bucket.find(key)
    assert (facts.size, facts.etag) == (3, etag)
    assert facts.metadata == {"a": "B"}
    assert facts.modified.tzinfo is not None
    found = sandbox.admin.head_object(Bucket=sandbox.bucket, Key=key)
    assert found["ContentType"] == "text/x-a"


def test_a_missing_object_or_multipart_upload_is_not_found(
    sandbox: S3Sandbox, bucket: Bucket
) -> None:
    """D-07."""
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


@pytest.mark.parametrize("content", [b"", b"x", b"xyz"], ids=len)
def test_an_object_of_any_size_is_found(sandbox: S3Sandbox, bucket: Bucket, content: bytes) -> None:
    """The first byte, which an empty object does not have, is requested."""
    key = sandbox.prefix + KEY
    assert bucket.find(key) is None
    bucket.put(key, payload(content), metadata={"a": "B"})
    facts = bucket.find(key)
    assert facts == bucket.head(key)
    assert facts is not None
    assert (facts.size, facts.metadata) == (len(content), {"a": "B"})


def test_deleting_and_aborting_are_idempotent(sandbox: S3Sandbox, bucket: Bucket) -> None:
    bucket.delete(sandbox.prefix + KEY)
    bucket.abort(sandbox.prefix + KEY, "0" * 32)


def test_reading_a_replaced_version_is_not_found(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"abc"))
    assert b"".join(bucket.read(key, 1, 3, etag=etag, chunk_size=1)) == b"bc"
    bucket.put(key, payload(b"xyz"))
    with pytest.raises(NotFound):
        bucket.read(key, 0, 1, etag=etag, chunk_size=1)


def test_chunks_have_at_most_the_chunk_size(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"0123456789"))
    chunks = list(bucket.read(key, 0, 10, etag=etag, chunk_size=4))
    assert b"".join(chunks) == b"0123456789"
    assert max(map(len, chunks)) <= 4


def test_a_failed_condition_is_a_lost_lock(sandbox: S3Sandbox, bucket: Bucket) -> None:
    """D-11."""
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


def test_another_write_of_the_same_bytes_is_not_taken_for_this_write(
    sandbox: S3Sandbox, bucket: Bucket
) -> None:
    """Each write has a token of its own."""
    key = sandbox.prefix + KEY
    etag = bucket.put(key, payload(b"same"), condition=Condition(None))
    with pytest.raises(LockLost):
        bucket.put(key, payload(b"same"), condition=Condition(None))
    assert bucket.head(key).etag == etag


def test_uploaded_parts_are_listed_and_completed(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    multipart = bucket.create_multipart(key, content_type=None, metadata={})
    assert bucket.list_parts(key, multipart) == []
    part = bucket.upload_part(key, multipart, 1, payload(b"abc"))
    assert (part.number, part.size) == (1, 3)
    assert [
        (listed.number, listed.size, listed.etag) for listed in bucket.list_parts(key, multipart)
    ] == [(1, 3, part.etag)]
    bucket.complete(key, multipart, [part])
    assert sandbox.get(key) == b"abc"


def test_bytes_with_a_wrong_checksum_are_not_stored(sandbox: S3Sandbox, bucket: Bucket) -> None:
    key = sandbox.prefix + KEY
    wrong = Payload(b"abc", 3, Payload.of(b"abd").crc32)
    with pytest.raises(StoreUnavailable):
        bucket.put(key, wrong)
    multipart = bucket.create_multipart(key, content_type=None, metadata={})
    with pytest.raises(StoreUnavailable):
        bucket.upload_part(key, multipart, 1, wrong)
    assert bucket.list_parts(key, multipart) == []
    assert sandbox.list_keys() == []


def test_a_missing_permission_is_a_failure_and_not_absence(sandbox: S3Sandbox) -> None:
    """D-07."""
    other = Bucket(sandbox.client, "another-bucket")
    for ask in (
        lambda: other.head(KEY),
        lambda: other.find(KEY),
        lambda: other.get(KEY),
        lambda: other.put(KEY, payload(b"")),
        lambda: other.delete(KEY),
        lambda: other.list_parts(KEY, "x"),
    ):
        with pytest.raises(StoreUnavailable):
            ask()


def test_an_unreachable_server_is_a_failure(sandbox: S3Sandbox, bucket: Bucket) -> None:
    with (
        sandbox.calls.failing(EndpointConnectionError(endpoint_url="x"), "HeadObject"),
        pytest.raises(StoreUnavailable, match="HeadObject") as caught,
    ):
        bucket.head(sandbox.prefix + KEY)
    assert isinstance(caught.value.__cause__, EndpointConnectionError)


# -- scripted responses ----------------------------------------------------------------------------

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


def test_a_404_to_a_deletion_is_a_success(
    stubbed: StubbedBucket,
) -> None:
    """Google answers 404 for a missing object; AWS answers 204."""
    stubbed.add_error("delete_object", "NoSuchKey", 404)
    stubbed.bucket.delete(KEY)


def test_a_403_to_a_write_or_a_list_is_a_failure(stubbed: StubbedBucket) -> None:
    """D-07."""
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
def test_every_other_error_is_a_failure_and_never_absence(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    """D-07."""
    stubbed.read_something()
    for operation, ask in {**READS, **WRITES, **LISTS}.items():
        stubbed.add_error(operation, code, status)
        with pytest.raises(StoreUnavailable):
            ask(stubbed.bucket)


@pytest.mark.parametrize("condition", [Condition(None), Condition('"old"')])
@pytest.mark.parametrize(
    ("code", "status"), [("PreconditionFailed", 412), ("412", 412), ("NoSuchKey", 404)]
)
def test_a_412_to_a_repeated_write_is_recognized_by_its_token(
    stubbed: StubbedBucket,
    condition: Condition,
    code: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D-09: boto3 repeated the write because the first response was lost."""
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
    stubbed.add_error("get_object", "NoSuchKey", 404)
    with pytest.raises(LockLost):
        stubbed.bucket.put(KEY, payload(b""), condition=condition)


def test_a_412_that_cannot_be_verified_is_a_failure(stubbed: StubbedBucket) -> None:
    """D-09."""
    stubbed.add_error("put_object", "PreconditionFailed", 412)
    stubbed.add_error("head_object", "500", 500)
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.put(KEY, payload(b""), condition=Condition(None))


@pytest.mark.parametrize(
    ("code", "status"), [("PreconditionFailed", 412), ("NoSuchKey", 404), ("NotImplemented", 501)]
)
def test_an_unexpected_error_to_an_unconditional_write_is_a_failure(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    stubbed.add_error("put_object", code, status)
    with pytest.raises(TusError) as caught:
        stubbed.bucket.put(KEY, payload(b""))
    assert isinstance(caught.value, StoreUnavailable)


def test_conditions_are_dropped_after_a_test_showed_that_the_service_refuses_them(
    stubbed: StubbedBucket,
) -> None:
    """D-11: Swift answers 501, also to a condition that does not hold."""
    seen: list[set[str]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        seen.append({"IfMatch", "IfNoneMatch"} & set(params))

    events = stubbed.bucket._client.meta.events
    events.register("provide-client-params.s3.PutObject", note, unique_id="note")
    stubbed.add_error("put_object", "NotImplemented", 501)
    stubbed.add_error("put_object", "NotImplemented", 501)
    stubbed.add_response("put_object", ETag='"1"')
    assert stubbed.bucket.put(KEY, payload(b""), condition=Condition('"0"')) == '"1"'
    stubbed.add_response("put_object", ETag='"2"')
    assert stubbed.bucket.put(KEY, payload(b""), condition=Condition(None)) == '"2"'
    events.unregister("provide-client-params.s3.PutObject", unique_id="note")
    assert seen == [{"IfMatch"}, {"IfMatch"}, set(), set()]


def test_conditions_are_kept_after_a_501_if_the_service_honours_them(
    stubbed: StubbedBucket,
) -> None:
    """D-11: another program may have sent the 501."""
    stubbed.add_error("put_object", "NotImplemented", 501)
    stubbed.add_error("put_object", "PreconditionFailed", 412)
    with pytest.raises(NotSupported):
        stubbed.bucket.put(KEY, payload(b""), condition=Condition(None))
    assert not stubbed.bucket.conditions.are_ignored
    assert not stubbed.bucket.conditions.is_test_due


@pytest.mark.parametrize(
    ("code", "status"), [("NoSuchKey", 404), ("AccessDenied", 403), ("InternalError", 500)]
)
def test_another_error_does_not_tell_whether_the_service_honours_conditions(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    stubbed.add_error("put_object", code, status)
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.test_conditions(KEY, payload(b""))
    assert stubbed.bucket.conditions.is_test_due
    assert not stubbed.bucket.conditions.are_ignored


@pytest.mark.parametrize("marker", [5, 3])
def test_a_list_of_parts_that_does_not_advance_is_a_failure(
    stubbed: StubbedBucket, marker: int
) -> None:
    """D-07: the service ignores the marker; so the list would have no end."""
    parts = [{"PartNumber": 1, "Size": 1, "ETag": "e"}]
    stubbed.add_response(
        "list_parts", UploadId="m", Parts=parts, IsTruncated=True, NextPartNumberMarker=marker
    )
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.list_parts(KEY, "m", after=5)


def test_all_pages_of_list_parts_are_read(stubbed: StubbedBucket) -> None:
    """With a marker, without one, and without `IsTruncated` (rclone)."""

    def page(*numbers: int, **more: Any) -> None:
        parts = [{"PartNumber": number, "Size": 10, "ETag": '"e"'} for number in numbers]
        stubbed.add_response("list_parts", UploadId="m", Parts=parts, **more)

    page(1, 2, IsTruncated=True, NextPartNumberMarker=2)
    page(3, IsTruncated=True)
    page(4)
    listed = stubbed.bucket.list_parts(KEY, "m")
    assert [part.number for part in listed] == [1, 2, 3, 4]


def test_an_empty_page_is_not_the_end_of_a_truncated_list_of_parts(stubbed: StubbedBucket) -> None:
    """D-07: S3 says that there are more parts. Without them, the offset would decrease."""
    parts = [{"PartNumber": 5, "Size": 10, "ETag": '"e"'}]
    stubbed.add_response("list_parts", UploadId="m", IsTruncated=True, NextPartNumberMarker=4)
    stubbed.add_response("list_parts", UploadId="m", Parts=parts)
    assert [part.number for part in stubbed.bucket.list_parts(KEY, "m")] == [5]
    stubbed.add_response("list_parts", UploadId="m", IsTruncated=True)
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.list_parts(KEY, "m")


def test_a_list_without_an_upload_id_is_a_failure(stubbed: StubbedBucket) -> None:
    """D-07: an empty 200, or a proxy's page, does not prove that there are no parts."""
    stubbed.add_response("list_parts")
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.list_parts(KEY, "m")


@pytest.mark.parametrize(
    "operation", [*READS, *LISTS, *(set(WRITES) - {"delete_object", "abort_multipart_upload"})]
)
def test_an_empty_200_is_a_failure(stubbed: StubbedBucket, operation: str) -> None:
    """D-07: a proxy may have lost the rest. Responses to deletions are empty anyway."""
    stubbed.add_response(operation)
    with pytest.raises(StoreUnavailable):
        {**READS, **LISTS, **WRITES}[operation](stubbed.bucket)


def test_an_empty_200_to_a_range_or_a_copy_is_a_failure(stubbed: StubbedBucket) -> None:
    """D-07."""
    stubbed.add_response("get_object")
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.read(KEY, 0, 1, etag='"e"', chunk_size=1)
    stubbed.add_response("upload_part_copy")
    with pytest.raises(StoreUnavailable):
        stubbed.bucket.copy_part(KEY, "m", 1, CopyRange("source", '"e"', None))


COPY = CopyRange("source", '"e"', None)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("PreconditionFailed", 412),
        ("InvalidArgument", 400),
        ("MethodNotAllowed", 405),
        ("NotImplemented", 501),
    ],
)
def test_a_refused_copy_of_an_unchanged_source_is_no_failure_of_the_service(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    """The caller sends the bytes instead."""
    stubbed.add_error("upload_part_copy", code, status)
    if code in {"AccessDenied", "PreconditionFailed"}:
        stubbed.add_response("head_object", **FACTS)
    with pytest.raises(CopyRefused):
        stubbed.bucket.copy_part(KEY, "m", 1, COPY)


def test_a_copy_without_a_result_is_refused(stubbed: StubbedBucket) -> None:
    stubbed.add_response("upload_part_copy", CopyPartResult={})
    with pytest.raises(CopyRefused):
        stubbed.bucket.copy_part(KEY, "m", 1, COPY)


@pytest.mark.parametrize(
    ("code", "status"),
    [("InternalError", 500), ("SlowDown", 503), ("ExpiredToken", 400), ("NoSuchBucket", 404)],
)
def test_a_copy_is_not_refused_by_an_error_that_any_call_would_get(
    stubbed: StubbedBucket, code: str, status: int
) -> None:
    stubbed.add_error("upload_part_copy", code, status)
    with pytest.raises(StoreUnavailable) as raised:
        stubbed.bucket.copy_part(KEY, "m", 1, COPY)
    assert not isinstance(raised.value, CopyRefused)


def test_the_multipart_upload_of_a_copy_does_not_exist(stubbed: StubbedBucket) -> None:
    """D-07: the source exists, so it is the multipart upload that is missing."""
    stubbed.add_error("upload_part_copy", "NoSuchUpload", 404)
    stubbed.add_response("head_object", **FACTS)
    with pytest.raises(NotFound):
        stubbed.bucket.copy_part(KEY, "m", 1, COPY)


def test_listed_checksums_are_those_of_the_same_parts(stubbed: StubbedBucket) -> None:
    """A part that was sent twice has two ETags on some services."""

    def listed(number: int, etag: str, crc32: str) -> dict[str, object]:
        return {"PartNumber": number, "Size": 1, "ETag": etag, "ChecksumCRC32": crc32}

    stubbed.add_response(
        "list_parts",
        UploadId="m",
        Parts=[listed(1, '"a"', "A="), listed(2, '"old"', "X="), listed(3, '"c"', "C=")],
    )
    parts = [Part(1, 1, '"a"'), Part(2, 1, '"b"'), Part(3, 1, '"c"', "own=")]
    checked = with_listed_checksums(stubbed.bucket, KEY, "m", parts)
    assert [part.crc32 for part in checked] == ["A=", None, "own="]


@pytest.mark.parametrize("error", [OSError("reset"), EndpointConnectionError(endpoint_url="x")])
def test_an_interrupted_download_is_a_failure(stubbed: StubbedBucket, error: Exception) -> None:
    class FailingBody:
        closed = False

        def read(self, size: int) -> bytes:
            if not hasattr(self, "begun"):
                self.begun = True
                return b"x"
            raise error

        def close(self) -> None:
            self.closed = True

    body = FailingBody()
    stubbed.add_response("get_object", **FACTS, Body=body)
    chunks = stubbed.bucket.read(KEY, 0, 10, etag='"e"', chunk_size=4)
    assert next(chunks) == b"x"
    with pytest.raises(StoreUnavailable):
        next(chunks)
    assert body.closed


def test_closing_a_download_closes_its_connection(stubbed: StubbedBucket) -> None:
    class EndlessBody:
        closed = False

        def read(self, size: int) -> bytes:
            return b"x"

        def close(self) -> None:
            self.closed = True

    for started in (True, False):
        body = EndlessBody()
        stubbed.add_response("get_object", **FACTS, Body=body)
        chunks = stubbed.bucket.read(KEY, 0, 10, etag='"e"', chunk_size=4)
        if started:
            next(chunks)
        chunks.close()
        assert body.closed, f"{started=}"


class UnreadBody(EmptyBody):
    """Records whether it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    "read",
    [
        lambda bucket: bucket.get("something"),
        lambda bucket: bucket.find("something"),
        lambda bucket: bucket.read("something", 0, 1, etag="e", chunk_size=1),
    ],
    ids=["get", "find", "read"],
)
def test_a_response_without_its_fields_leaves_no_connection_open(
    stubbed: StubbedBucket, read: Callable[[Bucket], object]
) -> None:
    body = UnreadBody()
    stubbed.add_response("get_object", Body=body)
    with pytest.raises(StoreUnavailable):
        read(stubbed.bucket)
    assert body.is_closed
