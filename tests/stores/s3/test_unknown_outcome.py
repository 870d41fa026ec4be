"""D-08, D-09, D-10: the write of a record that names a new multipart upload has no clear outcome.

S3 carries the write out late, or loses its response, while boto3's second attempt is refused. Each
attempt is scripted on its way to a real S3 server.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import PART, S3Sandbox
from tus_wsgi.domain.errors import LockLost, Unavailable
from tus_wsgi.domain.interfaces import Upload
from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.stores.s3 import S3Store

ID = UploadId("Q1Hf2sVtT0m3bYwXyZ_-09")
FIRST = b"a" * 1000
DATA = FIRST + b"b" * (2 * PART)

LATE, LOST, PASS = "late", "lost", "pass"


def held() -> None:
    """Do nothing: the lock is held."""


class Body(io.BytesIO):
    """The body of a scripted response."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def response(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    document = f"<Error><Code>{code}</Code><Message>scripted</Message></Error>".encode()
    headers: Any = {"content-type": "application/xml"}
    return AWSResponse(request.url, status, headers, Body(document))


class ScriptedAttempts:
    """What happens to each attempt of a call on the info object.

    Args:
        script: for each method, the fates of its next attempts: late (S3 gets the request when
            `arrive` is called), lost (S3 carries it out, its response is lost), pass, or an error
            response.
    """

    def __init__(self, script: dict[str, list[str | tuple[int, str]]]) -> None:
        self._script = script
        self._late: list[AWSPreparedRequest] = []

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        fates = self._script.get(request.method, [])
        if not request.url.endswith(".info") or not fates:
            return None
        match fates.pop(0):
            case "late":
                self._late.append(request)
                raise ConnectionClosedError(endpoint_url=request.url)
            case "lost":
                URLLib3Session().send(request)
                raise ConnectionClosedError(endpoint_url=request.url)
            case (int(status), str(code)):
                return response(request, status, code)
            case _:
                pass
        return None

    def arrive(self) -> None:
        for request in self._late:
            URLLib3Session().send(request)


def reopen(sandbox: S3Sandbox) -> Upload:
    upload = sandbox.store().open(ID)
    upload.load_offset()
    return upload


@pytest.fixture
def started(sandbox: S3Sandbox) -> S3Sandbox:
    """A sandbox with an upload of deferred length and 1,000 acknowledged bytes."""
    upload = sandbox.store().create(UploadInfo(ID, None), record_now=True)
    upload.append(ScriptedBody(FIRST), held)
    return sandbox


def append_scripted(
    sandbox: S3Sandbox, script: dict[str, list[str | tuple[int, str]]], store: S3Store
) -> ScriptedAttempts:
    """Append while the calls on the info object have these fates."""
    attempts = ScriptedAttempts(script)
    upload = store.open(ID)
    upload.load_offset()
    events: Any = sandbox.client.meta.events  # its stubs do not know handlers that answer
    events.register("before-send.s3", attempts)
    try:
        upload.append(ScriptedBody(DATA[len(FIRST) :]), held)
    except Unavailable:
        pass
    finally:
        events.unregister("before-send.s3", attempts)
    return attempts


def assert_can_be_finished(sandbox: S3Sandbox) -> None:
    upload = reopen(sandbox)
    assert upload.info.offset >= len(FIRST)
    upload.declare_length(len(DATA), held)
    upload.append(ScriptedBody(DATA[upload.info.offset :]), held)
    upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert sandbox.data(ID) == DATA


@pytest.mark.parametrize(
    "refusal",
    [
        (409, "ConditionalRequestConflict"),
        (409, "OperationAborted"),
        (403, "AccessDenied"),
        (400, "InvalidRequest"),
    ],
    ids=lambda refusal: refusal[1],
)
def test_a_refused_second_attempt_proves_nothing_about_the_first(
    started: S3Sandbox, refusal: tuple[int, str]
) -> None:
    """D-09: the first attempt arrives after the request has ended."""
    script: dict[str, list[str | tuple[int, str]]] = {"PUT": [LATE, refusal, refusal, refusal]}
    append_scripted(started, script, started.store()).arrive()
    assert_can_be_finished(started)


def test_a_write_is_recognized_although_the_read_that_checks_it_is_refused_once(
    started: S3Sandbox,
) -> None:
    """D-07, D-09: the response is lost, the second attempt answers 412, and then a read 403."""
    script: dict[str, list[str | tuple[int, str]]] = {
        "PUT": [LOST],
        "HEAD": [(403, "AccessDenied")],
    }
    append_scripted(started, script, started.store())
    assert_can_be_finished(started)


def test_without_the_lock_the_successors_multipart_upload_is_not_aborted(
    started: S3Sandbox,
) -> None:
    """D-08, D-10: S3 wrote the record, the response was lost, and a successor appended."""
    first = started.store().open(ID)
    first.load_offset()
    is_lock_lost = False

    def run_successor_and_lose_response(request: AWSPreparedRequest, **_: Any) -> None:
        nonlocal is_lock_lost
        if is_lock_lost or request.method != "PUT" or not request.url.endswith(".info"):
            return
        is_lock_lost = True
        URLLib3Session().send(request)
        upload = reopen(started)
        upload.append(ScriptedBody(DATA[len(FIRST) : 2 * PART]), held)
        upload.declare_length(len(DATA), held)
        raise ConnectionClosedError(endpoint_url=request.url)

    def held_until_lost() -> None:
        if is_lock_lost:
            raise LockLost("the holder was stopped for longer than its lease")

    events: Any = started.client.meta.events
    events.register("before-send.s3", run_successor_and_lose_response)
    with pytest.raises(Unavailable):
        first.append(ScriptedBody(DATA[len(FIRST) :]), held_until_lost)
    events.unregister("before-send.s3", run_successor_and_lose_response)
    assert is_lock_lost
    assert reopen(started).info.offset == 2 * PART
    upload = reopen(started)
    upload.append(ScriptedBody(DATA[2 * PART :]), held)
    upload.assemble(held)
    assert started.data(ID) == DATA


def test_a_multipart_upload_of_a_refused_record_is_aborted(started: S3Sandbox) -> None:
    """A single attempt that S3 refuses was not carried out, so nothing leaks."""
    script: dict[str, list[str | tuple[int, str]]] = {"PUT": [(400, "InvalidRequest")]}
    append_scripted(started, script, started.store())
    assert started.list_multiparts() == []
    assert_can_be_finished(started)
