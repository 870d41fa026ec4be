"""A direct call fails as boto3's call fails: with the same attempts and the same exception."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from boto3.session import Session
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from tests.harness.credentials import FAKE_CREDENTIALS
from tests.operations.answers import error_document
from tests.stores.s3.documents import document_for
from tus_wsgi.stores.s3.aws_session import new_session
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.direct import direct_calls
from tus_wsgi.stores.s3.direct.connection import Route

ENDPOINT = "http://127.0.0.1:9"

OBJECT = {
    "ETag": '"e"',
    "Last-Modified": "Sun, 29 Nov 2026 01:00:00 GMT",
    "Content-Length": "0",
}

Outcome = tuple[int, dict[str, str], bytes] | type[HTTPClientError]
"""A response, or the exception of an attempt without one."""


def error(status: int, code: str, **fields: str) -> Outcome:
    return status, fields, error_document(code)


SUCCESS: Outcome = (200, OBJECT, b"")

UNAVAILABLE = error(503, "SlowDown")

SCRIPTS: dict[str, list[Outcome]] = {
    "success": [SUCCESS],
    "missing": [error(404, "NoSuchKey")],
    "missing, without a document": [(404, {}, b"")],
    "missing, in HTML": [(404, {"Content-Type": "text/html"}, b"<html>no</html>")],
    "forbidden": [error(403, "AccessDenied")],
    "condition": [error(412, "PreconditionFailed")],
    "conflict": [error(409, "ConditionalRequestConflict")],
    "range": [error(416, "InvalidRange")],
    "not implemented": [error(501, "NotImplemented"), SUCCESS],
    "bad request": [error(400, "InvalidRequest")],
    "expired token": [error(400, "ExpiredToken"), SUCCESS],
    "clock skew": [error(403, "RequestTimeTooSkewed"), SUCCESS],
    "timed out at the service": [error(400, "RequestTimeout"), SUCCESS],
    "throttled, then done": [UNAVAILABLE, SUCCESS],
    "throttled, then refused": [UNAVAILABLE, error(412, "PreconditionFailed")],
    "throttled": [UNAVAILABLE] * 3,
    "500 in HTML": [(500, {}, b"<html>"), (502, {}, b""), SUCCESS],
    "lost, then done": [ConnectionClosedError, SUCCESS],
    "lost, then refused": [ReadTimeoutError, error(412, "PreconditionFailed")],
    "lost": [ReadTimeoutError, ConnectionClosedError, ReadTimeoutError],
    "no ETag": [(200, {**OBJECT, "ETag": ""} | {"Content-Length": "0"}, b"")],
    "no header fields": [(200, {}, b"")],
    "no content": [(204, {}, b"")],
    "no content, but a document": [(204, OBJECT, b"<Error><Code>SlowDown</Code></Error>")],
    "accepted": [(202, OBJECT, b"")],
    "HTML instead of a success": [(200, {"Content-Type": "text/html"}, b"<html>")],
    "error after a 200": [
        (200, OBJECT, b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>"),
        SUCCESS,
    ],
    "another document": [(200, OBJECT, b"<ListPartsResult><ETag>e</ETag></ListPartsResult>")],
    "cut document": [(200, OBJECT, b"<CompleteMultipartUploadResult><ETag>e</ETag>"), SUCCESS],
    "document in an unknown encoding": [
        (
            200,
            OBJECT,
            b"""<?xml version="1.0" encoding="unicode"?>
            <CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>""",
        )
    ],
    "document in another encoding": [
        (
            200,
            OBJECT,
            """<?xml version="1.0" encoding="ISO-8859-1"?><InitiateMultipartUploadResult>
            <UploadId>ü</UploadId></InitiateMultipartUploadResult>""".encode(),
        )
    ],
    "incomplete document": [
        (
            200,
            OBJECT,
            b"<InitiateMultipartUploadResult><Key>a</Key></InitiateMultipartUploadResult>",
        )
    ],
    "strange time": [(200, {**OBJECT, "Last-Modified": "2026-11-29T01:00:00Z"}, b"")],
    "moved": [(307, {"Location": "http://127.0.0.1:10/uploads/a"}, b""), SUCCESS],
    "another region": [
        error(301, "PermanentRedirect", **{"x-amz-bucket-region": "eu-west-1"}),
        SUCCESS,
    ],
}


class Service:
    """Answers the attempts of a client. A handler of `before-send`."""

    def __init__(self) -> None:
        self.script: list[Outcome] = []
        self.requests: list[tuple[str, str, str]] = []

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        scope = str(request.headers["Authorization"]).split("/")[2]
        self.requests.append((request.method, request.url, scope))
        outcome = self.script.pop(0) if self.script else SUCCESS
        if isinstance(outcome, type):
            raise outcome(endpoint_url=request.url, error="script")
        status, fields, content = outcome
        if outcome is SUCCESS:
            content = document_for(request.method, request.url)
            status = 204 if request.method == "DELETE" else status
        if request.method == "HEAD":
            content = b""
        if "Content-Length" in fields:
            fields = {**fields, "Content-Length": str(len(content))}
        body: Any = HTTPResponse(io.BytesIO(content), headers=fields, preload_content=False)
        headers: Any = HTTPHeaderDict(fields)
        return AWSResponse(request.url, status, headers, body)


@pytest.fixture(scope="module", autouse=True)
def environ() -> Iterator[pytest.MonkeyPatch]:
    """Credentials that do not exist, and retries without a delay."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FAKE_CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
        yield patch


@dataclass
class Sandbox:
    """A client, and the service that answers it."""

    client: Any
    service: Service = field(default_factory=Service)

    def __post_init__(self) -> None:
        self.client.meta.events.register("before-send.s3", self.service)
        self.direct: Any = direct_calls(self.client)


@pytest.fixture(scope="module")
def session(environ: pytest.MonkeyPatch) -> Session:
    return new_session()


@pytest.fixture
def sandbox(session: Session) -> Sandbox:
    """A new client, because boto3 limits the retries of a client."""
    return Sandbox(make_client(endpoint=ENDPOINT, parallel_parts=1, session=session))


CALLS: dict[str, dict[str, Any]] = {
    "put_object": {"Body": bytearray(b"data"), "IfMatch": '"e"'},
    "upload_part": {"Body": bytearray(b"data"), "UploadId": "u", "PartNumber": 1},
    "create_multipart_upload": {"ContentType": "text/plain"},
    "complete_multipart_upload": {
        "UploadId": "u",
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": '"e"'}]},
    },
    "get_object": {},
    "head_object": {},
    "delete_object": {"IfMatch": '"e"'},
}


def result_of(call: Callable[..., Any], method: str) -> tuple[object, ...]:
    """Return what the caller of a call learns."""
    try:
        response = call(Bucket="uploads", Key="a", **CALLS[method])
    except ClientError as refusal:
        metadata = refusal.response["ResponseMetadata"]
        code = refusal.response["Error"]["Code"]
        return type(refusal).__name__, code, metadata["HTTPStatusCode"], metadata["RetryAttempts"]
    except BotoCoreError as failure:
        return type(failure).__name__, str(failure)
    if "Body" in response:
        response["Body"].read()
    facts = [response.get(name) for name in ("ETag", "UploadId", "ContentLength", "LastModified")]
    return (*facts, response["ResponseMetadata"]["RetryAttempts"])


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_boto3_decides_about_everything_but_a_success(
    name: str, method: str, sandbox: Sandbox
) -> None:
    """D-09: the number of attempts, and so the proof of a refusal, is the same."""
    service = sandbox.service
    direct = getattr(sandbox.direct, method)
    service.script = []
    direct(Bucket="uploads", Key="a", **CALLS[method])
    results, requests, rest = [], [], []
    for call in (getattr(sandbox.client, method), direct):
        service.script = SCRIPTS[name].copy()
        service.requests = []
        results.append(result_of(call, method))
        requests.append(service.requests)
        rest.append(service.script)
    assert results[1] == results[0]
    assert requests[1] == requests[0]
    assert rest[1] == rest[0]


def test_after_an_unusual_outcome_boto3_finds_the_address_again() -> None:
    """A redirect to another region applies to all following calls."""
    sandbox = Sandbox(make_client(endpoint=None, parallel_parts=1))
    sandbox.direct.get_object(Bucket="uploads", Key="a")
    sandbox.service.script = SCRIPTS["another region"].copy()
    for _ in range(3):
        sandbox.direct.get_object(Bucket="uploads", Key="a")
    regions = [scope for _, _, scope in sandbox.service.requests]
    assert regions == ["eu-central-1", "eu-central-1", "eu-west-1", "eu-west-1", "eu-west-1"]


def test_the_first_attempt_of_one_call_is_not_taken_for_anothers(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 may fail before it sends anything."""
    call = sandbox.direct.head_object
    call(Bucket="uploads", Key="a")

    def fail(**_: Any) -> None:
        raise RuntimeError

    sandbox.service.script = [error(404, "NoSuchKey")]
    with monkeypatch.context() as patch:
        patch.setitem(sandbox.direct._boto, "HeadObject", fail)
        with pytest.raises(RuntimeError):
            call(Bucket="uploads", Key="a")
    assert sandbox.client.head_object(Bucket="uploads", Key="a")["ETag"] == '"e"'


POOL = HTTPConnectionPool("127.0.0.1", 9)

EXCEPTIONS: list[Exception] = [
    urllib3.exceptions.SSLError("x"),
    urllib3.exceptions.NewConnectionError(HTTPConnection("127.0.0.1"), "x"),
    socket.gaierror("x"),
    urllib3.exceptions.ProxyError("x", OSError()),
    urllib3.exceptions.ConnectTimeoutError(POOL, "x"),
    urllib3.exceptions.ReadTimeoutError(POOL, "/", "x"),
    urllib3.exceptions.ProtocolError("x"),
    urllib3.exceptions.IncompleteRead(1, 2),
    urllib3.exceptions.ClosedPoolError(POOL, "x"),
    urllib3.exceptions.LocationParseError("x"),
    ConnectionResetError("x"),
    ValueError("x"),
]


@pytest.mark.parametrize("raised", EXCEPTIONS, ids=lambda raised: type(raised).__name__)
def test_a_failed_connection_has_the_exception_of_botocore(
    raised: Exception, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def urlopen(*_: Any, **_options: Any) -> None:
        raise raised

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
    session = sandbox.client._endpoint.http_session
    url = f"{ENDPOINT}/uploads/a"
    with pytest.raises(Exception) as expected:
        session.send(AWSRequest("GET", url).prepare())
    attempt = Route(session, url).send("GET", url, {}, None, is_stream=False)
    assert type(attempt.error) is type(expected.value)
    assert str(attempt.error) == str(expected.value)


def test_a_cut_response_is_a_failure_of_the_attempt(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def urlopen(*_: Any, **_options: Any) -> HTTPResponse:
        class Cut(io.BytesIO):
            def read(self, *_: Any) -> bytes:
                raise urllib3.exceptions.ProtocolError("cut")

        return HTTPResponse(Cut(), headers=OBJECT, status=200, preload_content=False)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
    session = sandbox.client._endpoint.http_session
    url = f"{ENDPOINT}/uploads/a"
    attempt = Route(session, url).send("PUT", url, {}, None, is_stream=False)
    assert isinstance(attempt.error, ConnectionClosedError)
