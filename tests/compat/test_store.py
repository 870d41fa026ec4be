"""The guarantees of the store, on each S3 service that the tests can start."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping

import pytest

from tests.compat.sandbox import (
    PART,
    ServiceSandbox,
    append,
    concatenate,
    create_partial,
    finish,
    held,
    new_id,
)
from tests.harness.data import some_bytes
from tests.harness.late_tails import LateTails
from tus_wsgi.domain.errors import InvalidPartial, Unavailable, UploadGone, UploadNotFound
from tus_wsgi.domain.model import KIB, Final, Metadata, UploadInfo
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.upload import S3Upload

pytestmark = pytest.mark.compat

ON_DISK = 0
"""A memory budget of zero: every part and every tail is a temporary file."""


@pytest.mark.parametrize(
    ("length", "record_now"),
    [
        (0, True),
        (0, False),
        (1, True),
        (KIB, False),
        (PART, True),
        (PART + 1, False),
        (2 * PART, True),
    ],
)
def test_an_upload_of_any_length_becomes_an_object(
    sandbox: ServiceSandbox, length: int, record_now: bool
) -> None:
    content = some_bytes(length)
    upload = sandbox.create(length, record_now=record_now)
    if length or not record_now:
        append(upload, content)
    finish(upload)
    assert sandbox.stored(upload) == content
    id = upload.info.id
    assert sandbox.list_keys() == sorted([id, f"{id}.info"])
    assert sandbox.list_multiparts() == []
    again = sandbox.reopen(upload)
    assert again.info.is_finished
    assert again.info.offset == length


@pytest.mark.parametrize("memory", [64 * PART, ON_DISK], ids=["memory", "disk"])
def test_each_request_can_run_in_another_process(sandbox: ServiceSandbox, memory: int) -> None:
    """The sizes create a tail, let it grow, turn it into a part, and create another."""
    sizes = [3 * KIB, 5 * KIB, PART, 0, 1]
    content = some_bytes(sum(sizes))
    upload = sandbox.create(len(content), memory=memory)
    offset = 0
    for size in sizes:
        upload = sandbox.reopen(upload, memory=memory)
        assert upload.info.offset == offset
        append(upload, content[offset : offset + size])
        offset += size
        assert upload.info.offset == offset
    upload = sandbox.reopen(upload, memory=memory)
    assert upload.info.is_full
    finish(upload)
    assert sandbox.stored(upload) == content
    assert sandbox.list_keys() == sorted([upload.info.id, f"{upload.info.id}.info"])


def test_a_late_tail_does_not_make_the_offset_smaller(sandbox: ServiceSandbox) -> None:
    """D-11: JuiceFS ignores conditional writes, and Swift answers 501."""
    content = some_bytes(90_000)
    upload = sandbox.create(len(content))
    append(upload, content[:10_000])
    late = LateTails(10)
    with late.delayed(sandbox.client), pytest.raises(Unavailable):
        append(sandbox.reopen(upload), content[10_000:20_000])
    upload = sandbox.reopen(upload)
    append(upload, content[upload.info.offset : 60_000])
    late.arrive()
    upload = sandbox.reopen(upload)
    assert upload.info.offset == 60_000
    append(upload, content[60_000:])
    finish(upload)
    assert sandbox.stored(upload) == content
    assert sandbox.list_keys() == sorted([upload.info.id, f"{upload.info.id}.info"])


@pytest.mark.parametrize("memory", [64 * PART, ON_DISK], ids=["memory", "disk"])
def test_a_small_upload_grows_request_by_request(sandbox: ServiceSandbox, memory: int) -> None:
    content = some_bytes(10 * KIB)
    upload = sandbox.create(len(content), memory=memory)
    for start in range(0, len(content), 2 * KIB):
        upload = sandbox.reopen(upload, memory=memory)
        append(upload, content[start : start + 2 * KIB])
    finish(sandbox.reopen(upload, memory=memory))
    assert sandbox.stored(upload) == content
    assert sandbox.list_keys() == sorted([upload.info.id, f"{upload.info.id}.info"])


def test_the_length_may_be_declared_last_and_the_parts_grow(sandbox: ServiceSandbox) -> None:
    content = some_bytes(3 * PART + 99)
    upload = sandbox.create(None)
    append(upload, content[:PART])
    upload = sandbox.reopen(upload)
    append(upload, content[PART:])
    upload = sandbox.reopen(upload)
    upload.declare_length(len(content), held)
    finish(upload)
    assert sandbox.stored(upload) == content


def test_a_part_that_was_uploaded_twice_counts_once(sandbox: ServiceSandbox) -> None:
    content = some_bytes(2 * PART + 10)
    upload = sandbox.create(len(content))
    for _ in range(2):
        sandbox.client.upload_part(
            Bucket=sandbox.service.bucket,
            Key=sandbox.keys.data(upload.info.id),
            UploadId=sandbox.multipart_id(upload),
            PartNumber=1,
            Body=content[:PART],
            ChecksumAlgorithm="CRC32",  # MinIO requires it in this multipart upload
        )
    upload = sandbox.reopen(upload)
    assert upload.info.offset == PART
    append(upload, content[PART:])
    finish(upload)
    assert sandbox.stored(upload) == content


def test_a_part_after_a_gap_does_not_count_and_is_replaced(sandbox: ServiceSandbox) -> None:
    content = some_bytes(2 * PART + 10)
    upload = sandbox.create(len(content))
    sandbox.client.upload_part(
        Bucket=sandbox.service.bucket,
        Key=sandbox.keys.data(upload.info.id),
        UploadId=sandbox.multipart_id(upload),
        PartNumber=2,
        Body=content[PART : 2 * PART],
        ChecksumAlgorithm="CRC32",  # MinIO requires it in this multipart upload
    )
    upload = sandbox.reopen(upload)
    assert upload.info.offset == 0
    append(upload, content)
    finish(sandbox.reopen(upload))
    assert sandbox.stored(upload) == content


def test_an_object_whose_completion_was_not_recorded_is_full(sandbox: ServiceSandbox) -> None:
    """D-05: the process died, or the response was lost, between Complete and the record."""
    content = some_bytes(PART + 10)
    upload = sandbox.create(len(content))
    append(upload, content)
    upload.assemble(held)
    again = sandbox.reopen(upload)
    assert again.info.is_full
    assert not again.info.is_finished
    finish(again)
    assert sandbox.stored(upload) == content
    assert sandbox.reopen(upload).info.is_finished
    assert sandbox.list_multiparts() == []


def test_completing_twice_has_no_further_effect(sandbox: ServiceSandbox) -> None:
    content = some_bytes(PART + 10)
    upload = sandbox.create(len(content))
    append(upload, content)
    first, second = sandbox.reopen(upload), sandbox.reopen(upload)
    finish(first)
    second.assemble(held)
    assert sandbox.stored(upload) == content


def test_an_unrecorded_object_can_be_terminated(sandbox: ServiceSandbox) -> None:
    upload = sandbox.create(PART + 10)
    append(upload, some_bytes(PART + 10))
    upload.assemble(held)
    sandbox.reopen(upload).terminate(held)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []
    assert sandbox.list_multiparts() == []


@pytest.mark.parametrize("stored", [0, 10, PART, PART + 10, PART + 20])
def test_a_terminated_upload_leaves_no_objects(sandbox: ServiceSandbox, stored: int) -> None:
    upload = sandbox.create(PART + 20)
    append(upload, some_bytes(stored))
    if stored == PART + 20:
        finish(upload)
    upload.terminate(held)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []
    assert sandbox.list_multiparts() == []
    upload.terminate(held)
    with pytest.raises(UploadNotFound):
        sandbox.reopen(upload)


def test_parts_that_another_program_removed_are_gone(sandbox: ServiceSandbox) -> None:
    upload = sandbox.create(PART + 20)
    append(upload, some_bytes(PART + 10))
    sandbox.client.abort_multipart_upload(
        Bucket=sandbox.service.bucket,
        Key=sandbox.keys.data(upload.info.id),
        UploadId=sandbox.multipart_id(upload),
    )
    with pytest.raises(UploadGone):
        sandbox.reopen(upload, completion_timeout=0)
    late = sandbox.store().open(upload.info.id)
    with pytest.raises(UploadGone):
        append(late, some_bytes(PART))


@pytest.mark.parametrize("tail", [0, 10], ids=["no tail", "a tail"])
def test_a_late_writer_corrupts_no_bytes(sandbox: ServiceSandbox, tail: int) -> None:
    """D-11: its write is refused if the service honours conditions; if not, it is a new tail."""
    content = some_bytes(PART + 100)
    upload = sandbox.create(len(content))
    append(upload, content[:tail])
    late = sandbox.reopen(upload)
    append(sandbox.reopen(upload), content[tail : PART + 50])
    with contextlib.suppress(Unavailable):
        append(late, content[tail : tail + 5])
    again = sandbox.reopen(upload)
    assert again.info.offset == PART + 50
    append(again, content[again.info.offset :])
    finish(again)
    assert sandbox.stored(upload) == content


METADATA = {
    "unicode": (("filename", "Menü ☃.pdf".encode()), ("filetype", b"application/pdf")),
    "no utf-8": (("filename", b"\xff\xfe"),),
    "controls": (("a", b"x\ty\r\nz\x7f"),),
    "blanks": (("a", b"  x  y "), ("b", b" "), ("c", b"")),
    "case": (("Name", b"1"), ("name", b"2"), ("NAME", b"3")),
    "underscores": (("file_name", b"1"),),
    "token": (("a!#$%&'*+.^`|~z", b"1"),),
    "not a token": (("a b", b"1"), ("a/b", b"2"), ('"', b"3")),
    "separators": (("a", b"x=y; z, w?&'\"<>"),),
    "long key": (("k" * 300, b"1"),),
    "longest value": (("a", b"v" * 256),),
    "long value": (("a", b"v" * 3000),),
    "many": tuple((f"key{number}", b"v") for number in range(150)),
    "full": tuple((f"key{number}", b"v" * 200) for number in range(12)),
    "names of our own metadata": (("start", b"1"), ("write", b"2"), ("upload-id", b"3")),
    "html": (("filename", b"x.html"),),
    "type": (("filetype", b"text/plain; charset=utf-8"),),
    "no type": (("filetype", b"text"),),
}


@pytest.mark.parametrize("pairs", METADATA.values(), ids=METADATA)
def test_no_metadata_makes_an_upload_fail(
    sandbox: ServiceSandbox, pairs: tuple[tuple[str, bytes], ...]
) -> None:
    upload = sandbox.create(5, Metadata(pairs))
    append(upload, b"<html")
    finish(upload)
    assert sandbox.stored(upload) == b"<html"
    assert stored_headers(sandbox, sandbox.keys.data(upload.info.id)) == expected_headers(upload)


@pytest.mark.parametrize("pairs", METADATA.values(), ids=METADATA)
def test_a_multipart_upload_gets_the_same_metadata(
    sandbox: ServiceSandbox, pairs: tuple[tuple[str, bytes], ...]
) -> None:
    """Use one small part, to save time."""
    upload = sandbox.create(5, Metadata(pairs))
    bucket, key = upload._context.bucket, sandbox.keys.data(upload.info.id)
    headers = upload._state.headers
    multipart = bucket.create_multipart(
        key, content_type=headers.content_type, metadata=headers.metadata
    )
    bucket.complete(key, multipart, [bucket.upload_part(key, multipart, 1, Payload.of(b"12345"))])
    assert stored_headers(sandbox, key) == expected_headers(upload)


def stored_headers(sandbox: ServiceSandbox, key: str) -> tuple[str, dict[str, str]]:
    """Return the type and the metadata of an object, from the service."""
    facts = sandbox.client.head_object(Bucket=sandbox.service.bucket, Key=key)
    return facts["ContentType"], normalize(facts["Metadata"])


def expected_headers(upload: S3Upload) -> tuple[str, dict[str, str]]:
    """Return the type and the metadata that the upload should have."""
    headers = upload._state.headers
    return headers.content_type or "application/octet-stream", normalize(headers.metadata)


def normalize(metadata: Mapping[str, str]) -> dict[str, str]:
    """SeaweedFS drops empty values; Swift replaces underscores in a multipart upload by hyphens."""
    return {key.lower().replace("_", "-"): value for key, value in metadata.items() if value}


def test_partial_uploads_become_one_object(sandbox: ServiceSandbox) -> None:
    """The service copies parts within one partial upload; parts across a boundary are sent."""
    content = some_bytes(3 * PART + 50)
    cuts = [0, PART, PART + 20, 3 * PART + 40, len(content)]
    final = concatenate(sandbox, [content[start:stop] for start, stop in itertools.pairwise(cuts)])
    assert sandbox.stored(final) == content
    assert sandbox.list_multiparts() == []


def test_a_removed_partial_upload_fails_the_final_upload(
    sandbox: ServiceSandbox,
) -> None:
    content = some_bytes(2 * PART)
    ids = [create_partial(sandbox, content[:PART]), create_partial(sandbox, content[PART:])]
    final = sandbox.store().create(
        UploadInfo(new_id(), None, concat=Final((*ids,))), record_now=True
    )
    final.load_offset()
    for id in ids:
        sandbox.client.delete_object(Bucket=sandbox.service.bucket, Key=sandbox.keys.data(id))
    with pytest.raises(InvalidPartial):
        finish(final)
    assert final.info.id not in sandbox.list_keys()


def test_a_finished_upload_is_read_in_ranges(sandbox: ServiceSandbox) -> None:
    content = some_bytes(2 * PART)
    upload = sandbox.create(len(content))
    append(upload, content)
    finish(upload)
    file = sandbox.reopen(upload).content()
    assert file.length == len(content)
    assert b"".join(file.read(0, len(content))) == content
    assert b"".join(file.read(PART - 3, PART + 3)) == content[PART - 3 : PART + 3]
    assert b"".join(file.read(len(content) - 1, len(content))) == content[-1:]


def test_an_upload_whose_object_was_removed_is_gone_and_can_be_terminated(
    sandbox: ServiceSandbox,
) -> None:
    upload = sandbox.create(5)
    append(upload, b"12345")
    finish(upload)
    sandbox.client.delete_object(
        Bucket=sandbox.service.bucket, Key=sandbox.keys.data(upload.info.id)
    )
    with pytest.raises(UploadGone):
        sandbox.reopen(upload).content()
    sandbox.reopen(upload).terminate(held)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []
