"""D-09: a completion without a clear answer is neither complete nor gone for a stated time.

The scripted service takes a CompleteMultipartUpload, and answers `NoSuchUpload` to every question
about the multipart upload until the test lets the completion end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.test_unknown_outcome import held, response
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.commands import Concatenate
from tus_wsgi.domain.errors import StoreUnavailable, UploadGone
from tus_wsgi.domain.model import Final, Metadata, Partial, UploadId, UploadInfo
from tus_wsgi.stores.s3.completion import CompletionPending

DATA = b"a" * PART + b"b" * 1000
NO_UPLOAD = (404, "NoSuchUpload")


class SlowCompletion:
    """A service that completes multipart uploads when `end` is called.

    Args:
        answers: the responses to CompleteMultipartUpload, in order; None for silence. Later ones
            are `NoSuchUpload`.
    """

    def __init__(self, answers: list[tuple[int, str] | None]) -> None:
        self._answers = answers
        self.has_begun = False
        self._requests: list[AWSPreparedRequest] = []

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        """Answer a call on the multipart upload itself; return None to let S3 answer."""
        if "uploadId=" not in request.url or "partNumber=" in request.url:
            return None
        if request.method == "POST":
            self.has_begun = True
            self._requests.append(request)
            answer = self._answers.pop(0) if self._answers else NO_UPLOAD
            if answer is None:
                raise ReadTimeoutError(endpoint_url=request.url)
            return response(request, *answer)
        return response(request, *NO_UPLOAD) if self.has_begun else None

    def end(self) -> None:
        URLLib3Session().send(self._requests[0])


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 retry at once."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))


@contextmanager
def slow_completion(
    sandbox: S3Sandbox, *answers: tuple[int, str] | None
) -> Iterator[SlowCompletion]:
    service = SlowCompletion(list(answers))
    events: Any = sandbox.client.meta.events  # its stubs do not know handlers that answer
    events.register("before-send.s3", service)
    try:
        yield service
    finally:
        events.unregister("before-send.s3", service)


def read_info(sandbox: S3Sandbox, id: UploadId) -> dict[str, object]:
    fields: dict[str, object] = json.loads(sandbox.get(sandbox.keys.info(id)))
    return fields


ANSWERS: dict[str, list[tuple[int, str] | None]] = {
    "silent": [None] * 10,
    "silent, then NoSuchUpload": [None],
    "NoSuchUpload at once": [],
    "500": [(500, "InternalError")] * 10,
    "silent, then refused": [None, (400, "InvalidPart")],
}


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_an_upload_whose_completion_is_in_progress_is_neither_complete_nor_gone(
    sandbox: S3Sandbox, answers: list[tuple[int, str] | None]
) -> None:
    """HEAD gets 423 and PATCH 503 until the object exists; then both succeed."""
    client = UploadClient(sandbox)
    id = client.create(len(DATA)).id
    with slow_completion(sandbox, *answers) as service:
        with pytest.raises(StoreUnavailable):
            client.append(id, DATA)
        for another in (client, UploadClient(sandbox)):
            with pytest.raises(StoreUnavailable):
                another.inspect(id)
            with pytest.raises(StoreUnavailable):
                another.append(id, b"", offset=len(DATA))
            with pytest.raises(StoreUnavailable):
                another.download(id)
        service.end()
    info = UploadClient(sandbox).inspect(id)
    assert info.is_finished
    assert sandbox.data(id) == DATA
    assert "CompletingSince" not in read_info(sandbox, id)


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_an_upload_is_gone_when_its_completion_takes_too_long(
    sandbox: S3Sandbox, answers: list[tuple[int, str] | None]
) -> None:
    """A completion that never ends does not block the client for ever."""
    client = UploadClient(sandbox)
    id = client.create(len(DATA)).id
    with slow_completion(sandbox, *answers):
        with pytest.raises(StoreUnavailable):
            client.append(id, DATA)
        with pytest.raises(CompletionPending):
            client.inspect(id)
        late = UploadClient(sandbox, store=sandbox.store(completion_timeout=0))
        with pytest.raises(UploadGone):
            late.inspect(id)


def test_the_wait_for_a_completion_begins_once(sandbox: S3Sandbox) -> None:
    """A client that asks again and again does not extend the wait."""
    client = UploadClient(sandbox)
    id = client.create(len(DATA)).id
    with slow_completion(sandbox, None):
        with pytest.raises(StoreUnavailable):
            client.append(id, DATA)
        with pytest.raises(CompletionPending):
            client.inspect(id)
        since = read_info(sandbox, id)["CompletingSince"]
        for _ in range(3):
            with pytest.raises(CompletionPending):
                client.inspect(id)
        assert read_info(sandbox, id)["CompletingSince"] == since


def test_a_process_that_is_killed_in_a_completion_does_not_make_the_upload_gone(
    sandbox: S3Sandbox,
) -> None:
    """The process ends without a trace in the record."""

    class KilledError(BaseException):
        """The process ends here."""

    def kill(request: AWSPreparedRequest, **_: Any) -> None:
        if request.method == "POST" and "uploadId=" in request.url:
            raise KilledError

    client = UploadClient(sandbox)
    id = client.create(len(DATA)).id
    events: Any = sandbox.client.meta.events
    with slow_completion(sandbox, None) as service:
        events.register("before-send.s3", kill)
        with pytest.raises(KilledError):
            client.append(id, DATA)
        events.unregister("before-send.s3", kill)
        assert "CompletingSince" not in read_info(sandbox, id)
        with pytest.raises(CompletionPending):
            UploadClient(sandbox).inspect(id)
        assert "CompletingSince" in read_info(sandbox, id)
        service.end()
    assert UploadClient(sandbox).inspect(id).is_finished
    assert sandbox.data(id) == DATA


def test_an_upload_of_unknown_length_cannot_be_completing(sandbox: S3Sandbox) -> None:
    """The record gets the length before a completion begins, so missing parts were removed."""
    store = sandbox.store()
    upload = store.create(UploadInfo(UploadId("a"), None), record_now=True)
    upload.append(ScriptedBody(DATA), held)
    with slow_completion(sandbox) as service:
        service.has_begun = True
        with pytest.raises(UploadGone):
            store.open(UploadId("a")).load_offset(held)


def test_a_repeated_completion_begins_a_new_wait(sandbox: S3Sandbox) -> None:
    """The parts are still there, so the completion of unknown outcome has failed."""
    client = UploadClient(sandbox)
    id = client.create(len(DATA)).id
    with slow_completion(sandbox, *ANSWERS["500"]), pytest.raises(StoreUnavailable):
        client.append(id, DATA)
    since = str(read_info(sandbox, id)["CompletingSince"])
    with slow_completion(sandbox, None):
        with pytest.raises(StoreUnavailable):
            client.inspect(id)
        assert str(read_info(sandbox, id)["CompletingSince"]) > since


def test_a_refused_completion_is_not_awaited(sandbox: S3Sandbox) -> None:
    """S3 refused the only attempt, so nothing is in progress."""
    client = UploadClient(sandbox)
    id = client.create(len(DATA)).id
    with slow_completion(sandbox, (403, "AccessDenied")), pytest.raises(StoreUnavailable):
        client.append(id, DATA)
    assert "CompletingSince" not in read_info(sandbox, id)
    assert client.inspect(id).is_finished


def test_a_concatenation_whose_completion_is_in_progress_is_neither_complete_nor_gone(
    sandbox: S3Sandbox,
) -> None:
    """A final upload that waited for its partial uploads."""
    client = UploadClient(sandbox)
    store = sandbox.store()
    partials = []
    for name in "ab":
        info = UploadInfo(UploadId(name), len(DATA), concat=Partial())
        partials.append(store.create(info, record_now=True))
    final = Final((UploadId("a"), UploadId("b")))
    created: Any = client.service.execute(Concatenate(final, Metadata()), ScriptedBody())
    for partial in partials:
        client.append(partial.info.id, DATA)
    id = created.info.id
    with slow_completion(sandbox, None) as service:
        for another in (client, UploadClient(sandbox)):
            with pytest.raises(CompletionPending):
                another.inspect(id)
        late = UploadClient(sandbox, store=sandbox.store(completion_timeout=0))
        with pytest.raises(UploadGone):
            late.inspect(id)
        service.end()
    assert client.inspect(id).is_finished
    assert sandbox.data(id) == DATA + DATA
