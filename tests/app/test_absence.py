"""D-07 through the whole app: no client gives up after an answer of S3 that does not prove absence.

The client is an uploader that holds the server to its acknowledgements. It raises `ProtocolError`
if an offset decreases, and after every status that clients do not retry, such as 404 and 410.
"""

from __future__ import annotations

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from werkzeug.exceptions import NotFound

from tests.harness.clients.http import Response
from tests.harness.clients.transport import in_process
from tests.harness.clients.uploader import TusUploader, UploadScript
from tests.harness.data import some_bytes
from tests.harness.stores import PART, S3Sandbox
from tests.operations.answers import DENIED, UNPROVEN, Answer, hide_absence, responding
from tests.stores.s3.upload_client import UncachedLocker
from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.domain.model import UploadId

pytestmark = pytest.mark.timeout(300)

TUS = {"Tus-Resumable": "1.0.0"}
APPEND = {**TUS, "Content-Type": "application/offset+octet-stream"}

SMALL = some_bytes(20)
LARGE = some_bytes(PART + 9)


class App:
    """The middleware over a sandbox, like one worker without a cache."""

    def __init__(self, sandbox: S3Sandbox) -> None:
        middleware = TusMiddleware(
            NotFound(),
            settings=Settings(s3_bucket=sandbox.bucket, base_path="/files"),
            store=sandbox.store(),
            locker=UncachedLocker(),
        )
        self.send = in_process(lambda: middleware)

    def uploader(self, file: bytes, *ends: int) -> TusUploader:
        return TusUploader(send=self.send, file=file, script=UploadScript(patch_ends=ends))

    def status(self, method: str, url: str, offset: int | None = None, body: bytes = b"") -> int:
        fields = TUS if offset is None else {**APPEND, "Upload-Offset": str(offset)}
        return self.request(method, url, fields, body).status

    def request(self, method: str, url: str, fields: dict[str, str], body: bytes) -> Response:
        return self.send(method, url, fields, body, len(body))


class Interference:
    """Gives some calls an answer that proves nothing. The other calls reach S3.

    Attributes:
        answer: the answer that proves nothing.
        number: the number of the call that gets it, from 0; None if no call does.
        is_outage: whether all calls get it.
        calls: the number of calls so far.
    """

    def __init__(self, answer: Answer, *, masked: bool, number: int | None = None) -> None:
        self.answer = answer
        self.number = number
        self.is_outage = False
        self.calls = 0
        self._masked = masked

    def __call__(self, request: AWSPreparedRequest) -> Answer | AWSResponse | None:
        self.calls += 1
        if self.is_outage or self.number == self.calls - 1:
            return self.answer
        return hide_absence(request) if self._masked else None


def upload(sandbox: S3Sandbox, file: bytes, ends: tuple[int, ...]) -> None:
    uploader = App(sandbox).uploader(file, *ends)
    uploader.upload()
    assert sandbox.data(UploadId(uploader.id)) == file
    assert uploader.creations <= 2
    uploader.terminate()
    uploader.assert_gone()


@pytest.mark.parametrize(
    ("name", "masked"), [("403", False), ("403", True), ("404 with HTML", False)]
)
def test_no_single_unproven_answer_ends_a_small_upload(
    sandbox: S3Sandbox, name: str, *, masked: bool
) -> None:
    """D-03, D-07: any one call of the upload gets the answer."""
    try_each_call(sandbox, SMALL, (7, len(SMALL)), UNPROVEN[name], masked=masked)


def test_no_single_unproven_answer_ends_an_upload_of_two_parts(sandbox: S3Sandbox) -> None:
    """D-03, D-07: also a read of the object after CompleteMultipartUpload."""
    answer = UNPROVEN["404 with HTML"]
    try_each_call(sandbox, LARGE, (5, len(LARGE)), answer, masked=False)


def try_each_call(
    sandbox: S3Sandbox, file: bytes, ends: tuple[int, ...], answer: Answer, *, masked: bool
) -> None:
    """Upload the file many times. Each time, another call of the upload gets the answer."""
    fault_free = Interference(answer, masked=masked)
    with responding(sandbox.client, fault_free):
        upload(sandbox, file, ends)
    # Where absence is hidden, an upload takes many more calls, so only some of them are tried.
    for number in range(0, fault_free.calls, 5 if masked else 1):
        with responding(sandbox.client, Interference(answer, masked=masked, number=number)):
            upload(sandbox, file, ends)


@pytest.mark.parametrize("masked", [False, True], ids=["404 for absent", "403 for absent"])
@pytest.mark.parametrize(
    "name", ["403", "403 with HTML", "404 with HTML", "404 with an empty body"]
)
def test_while_s3_denies_everything_no_upload_looks_absent(
    sandbox: S3Sandbox, name: str, *, masked: bool
) -> None:
    """D-07: 423 to HEAD, 503 to everything else; afterwards the upload continues."""
    app, s3 = App(sandbox), Interference(UNPROVEN[name], masked=masked)
    with responding(sandbox.client, s3):
        uploader = app.uploader(SMALL, 7, len(SMALL))
        uploader.upload(7)
        url = uploader.url or ""
        for _ in range(2):  # the second time, the worker may use what it learned before
            s3.is_outage = True
            assert app.status("HEAD", url) == 423
            assert app.status("PATCH", url, 7, SMALL[7:]) == 503
            assert app.status("GET", url) == 503
            assert app.status("DELETE", url) == 503
            assert app.status("HEAD", f"{url}x") == 423
            s3.is_outage = False
            assert app.status("HEAD", f"{url}x") == 404
        uploader.upload()
    assert sandbox.data(UploadId(uploader.id)) == SMALL


def test_a_worker_that_starts_during_an_outage_reports_no_absence(sandbox: S3Sandbox) -> None:
    """D-07: it has read no object yet, unlike a worker that runs for a while."""
    uploader = App(sandbox).uploader(SMALL, 7, len(SMALL))
    uploader.upload(7)
    app = App(sandbox)
    with responding(sandbox.client, lambda _request: DENIED):
        assert app.status("HEAD", uploader.url or "") == 423
        assert app.status("HEAD", "/files/unknown") == 423
    assert app.status("HEAD", uploader.url or "") == 200
    assert app.status("HEAD", "/files/unknown") == 404
