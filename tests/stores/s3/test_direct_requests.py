"""Direct calls send what boto3 sends for the same input, over the same connections."""

from __future__ import annotations

import io
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ParamValidationError
from urllib3 import HTTPResponse
from urllib3.connectionpool import HTTPConnectionPool

from tests.harness.credentials import FAKE_CREDENTIALS
from tests.harness.stores import S3Sandbox
from tests.stores.s3.documents import document_for
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.client import ChecksumMode, make_client
from tus_wsgi.stores.s3.direct import direct_calls
from tus_wsgi.stores.s3.direct.calls import OPERATIONS
from tus_wsgi.stores.s3.direct.keepalive import keep_connections_alive

NOW = datetime(2026, 11, 29, 1, 2, 3, tzinfo=UTC)

STATISTICS = ("amz-sdk-invocation-id", "amz-sdk-request")
"""Unsigned fields with which AWS counts retries. Direct calls do not send them."""


@dataclass(frozen=True)
class Sent:
    """A request, and the connection pool that it was sent to."""

    pool: tuple[object, ...]
    method: str
    target: str
    headers: dict[str, str]
    body: object
    length: str | None
    options: dict[str, object]
    is_direct: bool


class Recorder:
    """Takes the place of urllib3's connections, and answers every request."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def urlopen(
        self, pool: Any, method: str, url: str, body: Any, headers: Any, **options: Any
    ) -> HTTPResponse:
        """Note a request without the fields that only boto3 sends, and answer it."""
        fields = {name.lower(): text_of(value) for name, value in headers.items()}
        is_direct = STATISTICS[0] not in fields
        # The letters after `m/` count the features that a call uses, for AWS's statistics.
        fields["user-agent"] = re.sub(r" m/[\w,]+", "", fields["user-agent"])
        given = fields.pop("content-length", None)
        # urllib3 adds the length of a body, also of an empty one.
        is_added = given is None and isinstance(body, bytearray)
        length = str(len(body)) if is_added else given
        for name in STATISTICS:
            fields.pop(name, None)
        connection = (
            *(pool.scheme, pool.host, pool.port, str(pool.proxy), str(pool.timeout)),
            {name: str(value) for name, value in pool.conn_kw.items() if "context" not in name},
            *(dict(pool.proxy_headers), pool.pool.maxsize),
            *(getattr(pool, name, None) for name in ("cert_reqs", "ca_certs", "cert_file")),
        )
        options["retries"] = options["retries"].total
        self.sent.append(Sent(connection, method, url, fields, body, length, options, is_direct))
        return response_to(method, url)


def response_to(method: str, url: str) -> HTTPResponse:
    """Return a successful response."""
    content = document_for(method, url)
    fields = {"x-amz-version-id": "v"}
    if method != "DELETE":
        fields |= {
            "ETag": '"e"',
            "Content-Length": str(len(content)),
            "Last-Modified": "Sun, 29 Nov 2026 01:00:00 GMT",
            "x-amz-meta-Case": "Value",
            **({} if content else {"x-amz-checksum-crc32": "AAAAAA=="}),
        }
    return HTTPResponse(
        io.BytesIO(content), status=status_for(method), headers=fields, preload_content=False
    )


def status_for(method: str) -> int:
    """Return the status of a successful response."""
    return 204 if method == "DELETE" else 200


def text_of(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()

    def urlopen(pool: Any, method: str, url: str, **details: Any) -> HTTPResponse:
        return recorder.urlopen(pool, method, url, **details)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: NOW)
    for name in [name for name in os.environ if name.startswith(("AWS_", "TUS_"))]:
        monkeypatch.delenv(name)
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return recorder


@dataclass(frozen=True)
class Setup:
    """What configures a client.

    Attributes:
        environ: environment variables.
        config: settings of botocore; None for those of `make_client`, if `more` is empty too.
        endpoint: the URL of S3; None for AWS.
        bucket: the name of the bucket.
        checksum: the mode of the checksum.
        more: further arguments of boto3's `client`.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    endpoint: str | None = None
    bucket: str = "uploads"
    checksum: ChecksumMode = ChecksumMode.AUTO
    more: Mapping[str, Any] = field(default_factory=dict)

    def client(self) -> Any:
        if self.config is None and not self.more:
            return make_client(endpoint=self.endpoint, parallel_parts=2, checksum=self.checksum)
        config: dict[str, Any] = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            **(self.config or {}),
        }
        return boto3.client("s3", endpoint_url=self.endpoint, config=Config(**config), **self.more)


PLAIN, TLS = "http://127.0.0.1:9", "https://s3.example.com:8443"

PROXIES = {"http": "http://user:pass@proxy:3128", "https": "http://proxy:3128"}

SETUPS = {
    "AWS": Setup(),
    "us-east-1": Setup(environ={"AWS_DEFAULT_REGION": "us-east-1"}),
    "China": Setup(environ={"AWS_DEFAULT_REGION": "cn-north-1"}),
    "bucket with dots": Setup(bucket="up.loads"),
    "dual stack": Setup(environ={"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
    "FIPS": Setup(environ={"AWS_USE_FIPS_ENDPOINT": "true", "AWS_DEFAULT_REGION": "us-west-2"}),
    "accelerated": Setup(config={"s3": {"use_accelerate_endpoint": True}}),
    "access point": Setup(bucket="arn:aws:s3:eu-central-1:123456789012:accesspoint/ap"),
    "access point of another region": Setup(
        bucket="arn:aws:s3:eu-west-1:123456789012:accesspoint/ap",
        config={"s3": {"use_arn_region": True}},
    ),
    "path, plain": Setup(endpoint=PLAIN),
    "path, TLS": Setup(endpoint=TLS),
    "path with a prefix": Setup(endpoint=f"{TLS}/gateway"),
    "virtual host at a service": Setup(
        endpoint=TLS, config={"s3": {"addressing_style": "virtual"}}
    ),
    "endpoint variable": Setup(environ={"AWS_ENDPOINT_URL_S3": TLS}),
    "session token": Setup(environ={"AWS_SESSION_TOKEN": "token"}),
    "signed bytes": Setup(endpoint=PLAIN, checksum=ChecksumMode.REQUIRED),
    "bytes signed by default": Setup(endpoint=PLAIN, config={}),
    "no checksum": Setup(endpoint=TLS, checksum=ChecksumMode.OFF),
    "no signature": Setup(endpoint=PLAIN, config={"signature_version": UNSIGNED}),
    "signature chosen": Setup(config={"signature_version": "s3v4"}),
    "proxy for plain HTTP": Setup(endpoint=PLAIN, config={"proxies": PROXIES}),
    "proxy for TLS": Setup(endpoint=TLS, config={"proxies": PROXIES}),
    "proxy of the environment": Setup(environ={"HTTPS_PROXY": "http://proxy:3128"}),
    "CA bundle": Setup(endpoint=TLS, environ={"AWS_CA_BUNDLE": os.devnull}),
    "no verification": Setup(endpoint=TLS, more={"verify": False}),
    "client certificate": Setup(endpoint=TLS, config={"client_cert": ("cert.pem", "key.pem")}),
    "timeouts and keep-alive": Setup(
        endpoint=TLS, config={"connect_timeout": 1, "read_timeout": 2, "tcp_keepalive": True}
    ),
    "credentials of the client": Setup(
        more={"aws_access_key_id": "other", "aws_secret_access_key": "s"}
    ),
    "user agent": Setup(config={"user_agent_extra": "extra/1"}),
}

BODY = bytearray(b"0123456789")

WRITE: dict[str, Any] = {
    "Body": BODY,
    "ContentType": "text/plain",
    "Metadata": {"write": "a  b ", "Name": "x"},
}

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "first object": ("put_object", {"Key": "a", **WRITE, "ChecksumCRC32": "AAAAAA=="}),
    "object": (
        "put_object",
        {
            "Key": "a b/ü+~%=&?#;:@$,'()*!/../x//.info",
            **WRITE,
            "ChecksumCRC32": "AAAAAA==",
            "IfNoneMatch": "*",
            "ContentDisposition": "attachment; filename=\"a\"; filename*=UTF-8''%C3%BC",
            "CacheControl": "max-age=1,  public",
            "Tagging": "a=b%20c&d=",
            "StorageClass": "STANDARD_IA",
            "ACL": "private",
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "arn:aws:kms:eu-central-1:1:key/2",
            "BucketKeyEnabled": False,
        },
    ),
    "replaced object": ("put_object", {"Key": "a", **WRITE, "IfMatch": '"e"'}),
    "empty object": ("put_object", {"Key": "a", "Body": bytearray()}),
    "multipart upload": (
        "create_multipart_upload",
        {
            "Key": "a b/ü",
            "ContentType": "text/plain",
            "Metadata": {"Name": "x"},
            "ChecksumAlgorithm": "CRC32",
            "ChecksumType": "FULL_OBJECT",
            "ServerSideEncryption": "AES256",
        },
    ),
    "part": (
        "upload_part",
        {
            "Key": "a/b",
            "UploadId": "x/y+z=~",
            "PartNumber": 3,
            "Body": BODY,
            "ChecksumCRC32": "AAAAAA==",
        },
    ),
    "completion": (
        "complete_multipart_upload",
        {
            "Key": "a/b",
            "UploadId": "x/y+z=~",
            "MultipartUpload": {
                "Parts": [
                    {"PartNumber": 1, "ETag": '"<&>"', "ChecksumCRC32": "AAAAAA=="},
                    {"PartNumber": 10_000, "ETag": "e"},
                ]
            },
        },
    ),
    "read": ("get_object", {"Key": "a/b"}),
    "range": ("get_object", {"Key": "a", "Range": "bytes=0-0", "IfMatch": '"e"'}),
    "head": ("head_object", {"Key": "a", "ChecksumMode": "ENABLED"}),
    "deletion": ("delete_object", {"Key": "a b/ü+"}),
    "deletion with a condition": ("delete_object", {"Key": "a", "IfMatch": '"e"'}),
}


def requests_of(setup: Setup, recorder: Recorder, target: Any, names: Iterator[str]) -> list[Sent]:
    """Return the requests of all calls."""
    recorder.sent.clear()
    for name in names:
        method, parameters = CALLS[name]
        given = dict(parameters)
        if setup.checksum is ChecksumMode.OFF:
            given.pop("ChecksumCRC32", None)
        getattr(target, method)(Bucket=setup.bucket, **given)
    return recorder.sent.copy()


@pytest.mark.parametrize("name", SETUPS)
def test_direct_calls_send_what_boto3_sends(
    name: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = SETUPS[name]
    for variable, value in setup.environ.items():
        monkeypatch.setenv(variable, value)
    client = setup.client()
    keep_connections_alive(client)  # what direct calls change on purpose
    expected = requests_of(setup, recorder, client, iter(CALLS))
    direct = direct_calls(client)
    first = requests_of(setup, recorder, direct, iter(CALLS))
    second = requests_of(setup, recorder, direct, iter(CALLS))
    assert [sent.is_direct for sent in second] == [True] * len(CALLS)
    assert [sent.is_direct for sent in first] != [False] * len(CALLS)
    for requests in (first, second):
        for sent, by_boto in zip(requests, expected, strict=True):
            # Authorization contains the names of the signed fields.
            assert sent.headers == by_boto.headers
            assert (sent.method, sent.target, sent.length, sent.options) == (
                by_boto.method,
                by_boto.target,
                by_boto.length,
                by_boto.options,
            )
            assert sent.pool == by_boto.pool
            if not hasattr(by_boto.body, "read"):
                assert (sent.body or b"") == (by_boto.body or b"")
    assert second[0].body is BODY  # not a copy


READ_FIELDS = (
    "Body",
    "ChecksumCRC32",
    "ContentLength",
    "ETag",
    "LastModified",
    "Metadata",
    "UploadId",
    "VersionId",
)


@pytest.mark.parametrize("name", CALLS)
def test_the_response_has_the_fields_of_boto3s(name: str, recorder: Recorder) -> None:
    client = make_client(endpoint=PLAIN, parallel_parts=1)
    method, parameters = CALLS[name]
    direct = getattr(direct_calls(client), method)
    by_boto = direct(Bucket="uploads", **parameters)
    response = direct(Bucket="uploads", **parameters)
    assert recorder.sent[-1].is_direct
    for each in (by_boto, response):
        if "Body" in each:
            each["Body"] = each["Body"].read()
    assert {key: response[key] for key in READ_FIELDS if key in response} == {
        key: by_boto[key] for key in READ_FIELDS if key in by_boto
    }
    assert response["ResponseMetadata"]["RetryAttempts"] == 0
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status_for(recorder.sent[-1].method)


# -- what boto3 does alone -------------------------------------------------------------------------


def are_direct(client: Any, recorder: Recorder, method: str, **parameters: Any) -> list[bool]:
    """Make a call three times; return whether each was direct."""
    direct = direct_calls(client)
    for _ in range(3):
        getattr(direct, method)(**{"Bucket": "uploads", "Key": "a", **parameters})
    return [sent.is_direct for sent in recorder.sent[-3:]]


def test_the_first_call_of_an_operation_is_boto3s(recorder: Recorder) -> None:
    client = make_client(endpoint=PLAIN, parallel_parts=1)
    assert are_direct(client, recorder, "head_object") == [False, True, True]
    assert are_direct(client, recorder, "get_object") == [False, True, True]
    assert are_direct(client, recorder, "get_object", Bucket="other") == [False, True, True]


@pytest.mark.parametrize(
    "parameters",
    [
        {"Body": io.BytesIO(b"file")},
        {"Body": b"bytes"},
        {"Body": BODY, "Expires": NOW},
        {"Body": BODY, "ContentMD5": None},
        {"Body": BODY, "Metadata": {"name": "ü"}},
    ],
    ids=["file", "bytes", "time", "None", "not ASCII"],
)
def test_boto3_sends_what_is_not_understood(parameters: Any, recorder: Recorder) -> None:
    client = make_client(endpoint=PLAIN, parallel_parts=1)
    are_direct(client, recorder, "put_object", Body=BODY)
    recorder.sent.clear()
    # boto3 itself refuses metadata that is not ASCII.
    with suppress(ParamValidationError):
        direct_calls(client).put_object(Bucket="uploads", Key="a", **parameters)
    assert [sent.is_direct for sent in recorder.sent] in ([], [False])


@pytest.mark.parametrize(
    "event",
    [
        "provide-client-params.s3",
        "before-parameter-build.s3.PutObject",
        "before-call.*.*",
        "before-sign.s3",
        "choose-signer.s3",
        "request-created.s3",
        "after-call.s3",
        "after-call-error.s3",
        "needs-retry.s3.PutObject",
    ],
)
def test_boto3_makes_the_call_if_a_handler_sees_or_changes_it(
    event: str, recorder: Recorder
) -> None:
    client = make_client(endpoint=PLAIN, parallel_parts=1)
    events: Any = client.meta.events

    def handle(**_: Any) -> None:
        pass

    assert are_direct(client, recorder, "put_object", Body=BODY) == [False, True, True]
    events.register(event, handle)
    assert are_direct(client, recorder, "put_object", Body=BODY) == [False] * 3
    events.unregister(event, handle)
    assert are_direct(client, recorder, "put_object", Body=BODY) == [True] * 3


def test_boto3_makes_the_call_if_a_tool_traces_its_calls(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry and X-Ray wrap this method."""
    traced = []
    make_api_call: Any = vars(BaseClient)["_make_api_call"]

    class Tracer:
        def __get__(self, client: Any, kind: type) -> Any:
            def call(name: str, parameters: Any) -> Any:
                traced.append(name)
                return make_api_call(client, name, parameters)

            return call

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", Tracer())
    client = make_client(endpoint=PLAIN, parallel_parts=1)
    assert are_direct(client, recorder, "head_object") == [False] * 3
    assert traced == ["HeadObject"] * 3


def test_boto3_makes_the_call_if_the_body_is_sent_with_its_checksum(recorder: Recorder) -> None:
    """boto3's own checksums are a header field or a trailer."""
    client = Setup(config={"request_checksum_calculation": "when_supported"}, more={"verify": None})
    assert are_direct(client.client(), recorder, "put_object", Body=BODY) == [False] * 3


def test_boto3_makes_the_call_if_its_signature_is_old(recorder: Recorder) -> None:
    setup = Setup(endpoint=PLAIN, config={"signature_version": "s3"})
    assert are_direct(setup.client(), recorder, "head_object") == [False] * 3


def test_each_call_asks_for_the_credentials(recorder: Recorder) -> None:
    """Credentials of STS, IRSA and instance profiles expire."""
    client: Any = make_client(endpoint=PLAIN, parallel_parts=1)
    numbers = itertools.count()

    class Expiring:
        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            number = next(numbers)
            return ReadOnlyCredentials(f"key-{number}", "secret", f"token-{number}")

    client._request_signer._credentials = Expiring()
    assert are_direct(client, recorder, "head_object") == [False, True, True]
    for number, sent in enumerate(recorder.sent):
        assert sent.headers["x-amz-security-token"] == f"token-{number}"
        assert f"Credential=key-{number}/" in sent.headers["authorization"]


def test_the_calls_of_the_store_tests_are_direct(sandbox: S3Sandbox) -> None:
    bucket, key = Bucket(sandbox.client, sandbox.bucket), f"{sandbox.prefix}a"
    for _ in range(2):
        bucket.put(key, Payload.of(b"a"))
        bucket.get(key)
        bucket.head(key)
        multipart = bucket.create_multipart(key, content_type=None, metadata={})
        part = bucket.upload_part(key, multipart, 1, Payload.of(b"a"))
        bucket.complete(key, multipart, [part])
        bucket.delete(key)
    targets = direct_calls(sandbox.client)._targets
    assert {name for (name, _), target in targets.items() if target} == set(OPERATIONS)
