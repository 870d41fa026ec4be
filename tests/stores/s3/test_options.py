"""Headers and properties of objects that the settings or the application choose."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import LIMITS, PART, S3Sandbox
from tests.operations.answers import Answer, error_document, respond_with
from tests.operations.sweeper import held
from tus_wsgi.domain.model import Metadata, UploadId, UploadInfo
from tus_wsgi.domain.plan import ObjectOptions, Plan
from tus_wsgi.stores.s3.options import side_object_parameters, write_parameters
from tus_wsgi.stores.s3.store import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OPTIONS = ObjectOptions(
    content_disposition="inline",
    content_encoding="gzip",
    content_language="de",
    cache_control="max-age=60",
    tags={"a b": "c&d", "e": ""},
    storage_class="STANDARD_IA",
    acl="private",
    encryption="aws:kms",
    kms_key_id="key",
    bucket_key=False,
)


def test_options_become_the_parameters_of_boto3() -> None:
    assert write_parameters(OPTIONS) == {
        "ContentDisposition": "inline",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "CacheControl": "max-age=60",
        "Tagging": "a+b=c%26d&e=",
        "StorageClass": "STANDARD_IA",
        "ACL": "private",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key",
        "BucketKeyEnabled": False,
    }


def test_info_objects_tails_and_locks_have_only_the_encryption() -> None:
    assert side_object_parameters(OPTIONS) == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key",
        "BucketKeyEnabled": False,
    }
    assert side_object_parameters(ObjectOptions(acl="private")) == {}


def test_options_of_the_plan_take_precedence_over_the_settings() -> None:
    given = ObjectOptions(cache_control="no-store", encryption="AES256").over(OPTIONS)
    assert given.cache_control == "no-store"
    assert given.storage_class == "STANDARD_IA"
    assert (given.encryption, given.kms_key_id, given.bucket_key) == ("AES256", None, None)


@contextmanager
def requiring_encryption(client: S3Client) -> Iterator[None]:
    """Refuse every write without an encryption, as a bucket policy does."""

    def respond(request: Any, **_: Any) -> Any:
        puts_object = request.method == "PUT" and "uploadId=" not in request.url
        creates_multipart = request.method == "POST" and request.url.endswith("?uploads")
        is_encrypted = "X-Amz-Server-Side-Encryption" in request.headers
        if is_encrypted or not (puts_object or creates_multipart):
            return None
        return respond_with(request, Answer(403, error_document("AccessDenied")))

    client.meta.events.register_first("before-send.s3", respond)
    try:
        yield
    finally:
        client.meta.events.unregister("before-send.s3", respond)


def store(sandbox: S3Sandbox, options: ObjectOptions) -> S3Store:
    return S3Store(
        sandbox.client, sandbox.bucket, keys=sandbox.keys, limits=LIMITS, object_options=options
    )


def new_info(length: int | None, **more: Any) -> UploadInfo:
    return UploadInfo(UploadId(secrets.token_urlsafe(16)), length, **more)


@pytest.mark.parametrize("size", [10, PART + 10])
def test_every_object_is_encrypted_if_a_policy_requires_it(sandbox: S3Sandbox, size: int) -> None:
    data = bytes(size)
    with requiring_encryption(sandbox.client):
        upload = store(sandbox, ObjectOptions(encryption="AES256")).create(
            new_info(size), record_now=True
        )
        upload.append(ScriptedBody(data[:4]), held)
        upload.append(ScriptedBody(data[4:]), held)
        upload.assemble(held)
        upload.finish(held, may_defer=False)
    assert sandbox.get(upload.storage["Key"]) == data


@pytest.mark.parametrize("size", [10, PART + 10])
def test_the_object_has_the_options_of_its_plan_in_any_process(
    sandbox: S3Sandbox, size: int
) -> None:
    plan = Plan(
        object=ObjectOptions(
            content_type="text/x-a",
            content_disposition="inline",
            user_metadata={"case": "7"},
            tags={"kind": "upload"},
        )
    )
    defaults = ObjectOptions(cache_control="max-age=60", content_disposition="attachment")
    metadata = Metadata((("filename", b"a.txt"), ("filetype", b"text/plain")))
    info = new_info(size, metadata=metadata, plan=plan)
    store(sandbox, defaults).create(info, record_now=True)
    upload = store(sandbox, defaults).open(info.id)
    upload.load_offset()
    assert upload.info == replace(info, state=upload.info.state)
    upload.append(ScriptedBody(bytes(size)), held)
    upload.assemble(held)
    upload.finish(held, may_defer=False)
    key = upload.storage["Key"]
    found = sandbox.admin.head_object(Bucket=sandbox.bucket, Key=key)
    assert found["ContentType"] == "text/x-a"
    assert found["ContentDisposition"] == "inline"
    assert found["CacheControl"] == "max-age=60"
    assert found["Metadata"] == {"case": "7"}
    tags = sandbox.admin.get_object_tagging(Bucket=sandbox.bucket, Key=key)
    assert tags["TagSet"] == [{"Key": "kind", "Value": "upload"}]


@pytest.mark.parametrize("size", [10, PART + 10])
def test_an_upload_at_a_chosen_key_is_finished_read_and_removed_there(
    sandbox: S3Sandbox, size: int
) -> None:
    """D-12: the record names the key, and no other object is touched."""
    info = new_info(size)
    info = replace(info, plan=Plan(key=f"users/ada/{info.id}/a.txt"))
    upload = sandbox.store().create(info, record_now=True)
    upload.append(ScriptedBody(bytes(size)), held)
    upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert set(sandbox.list_keys()) == {f"{info.id}.info", f"users/ada/{info.id}/a.txt"}
    again = sandbox.store().open(info.id)
    assert b"".join(again.content().read(0, size)) == bytes(size)
    again.terminate(held)
    assert f"users/ada/{info.id}/a.txt" not in sandbox.list_keys()
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []
