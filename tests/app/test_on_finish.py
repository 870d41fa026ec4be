"""The application learns of each complete file and answers its client, under both protocols."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, TUS, HookedApp, User, id_of, path_of
from tests.harness.stores import S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi import Answer, FinishedUpload, UploadPlan
from tus_wsgi.domain.checksums import Algorithm, Checksum
from tus_wsgi.domain.errors import OnFinishFailed
from tus_wsgi.domain.events import RequestFailed

ANSWER = Answer(fields={"X-Row": "7"}, body=b'{"row": 7}')


class Recorder:
    """An `on_finish` hook that records its arguments and returns `answer`."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer
        self.uploads: list[FinishedUpload] = []

    def __call__(self, upload: FinishedUpload) -> Answer | None:
        self.uploads.append(upload)
        return self.answer


def is_answer(response: TestResponse) -> bool:
    """Whether a response has the fields and the body of `ANSWER`."""
    return bool(
        response.headers.get("X-Row") == "7"
        and response.data == ANSWER.body
        and response.headers["Content-Type"] == "application/json"
        and response.headers["Content-Length"] == str(len(ANSWER.body))
    )


# -- facts -----------------------------------------------------------------------------------------


def test_the_hook_gets_everything_that_is_known_about_the_file(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    hook = Recorder()
    app = hooked_app_on_any_store(
        authorize=User(),
        on_create=lambda _upload: UploadPlan(private={"order": "7"}),
        on_finish=hook,
    )
    encoded = (f"{key} {b64encode(value).decode()}" for key, value in METADATA.items())
    path = app.create("ada", DATA[:4], Upload_Metadata=",".join(encoded))
    app.patch(path, 4, DATA[4:], "ada")
    (upload,) = hook.uploads
    assert (upload.id, upload.length, upload.owner) == (id_of(path), len(DATA), "ada")
    assert (upload.filename, upload.content_type) == ("a.txt", "text/plain")
    assert upload.private == {"order": "7"}
    assert upload.created is not None
    assert upload.etag
    assert '"' not in upload.etag
    assert upload.version is None
    assert upload.checksum == Checksum(Algorithm.CRC32, zlib.crc32(DATA).to_bytes(4))
    assert upload.request is not None
    assert (upload.request.method, upload.request.path) == ("PATCH", path)


METADATA = {"filename": b"a.txt", "filetype": b"text/plain"}


def test_the_etag_is_that_of_the_download(hooked_app_on_any_store: NewHookedApp) -> None:
    hook = Recorder()
    app = hooked_app_on_any_store(on_finish=hook)
    path = app.create(data=DATA)
    assert app.get(path).headers["ETag"] == f'"{hook.uploads[0].etag}"'


def test_the_hook_can_read_the_file(hooked_app_on_any_store: NewHookedApp) -> None:
    read: list[bytes] = []

    def look(upload: FinishedUpload) -> None:
        with upload.open() as file:
            read.append(file.read(3))
            file.seek(-2, 2)
            read.append(file.read())
            file.seek(0)
            read.append(file.read())

    app = hooked_app_on_any_store(on_finish=look)
    app.create(data=DATA)
    assert read == [DATA[:3], DATA[-2:], DATA]


def test_an_empty_file_can_be_read(hooked_app_on_any_store: NewHookedApp) -> None:
    read: list[bytes] = []
    app = hooked_app_on_any_store(on_finish=lambda upload: read.append(upload.open().read()))
    fields = app.protocol.creation(0, b"")
    assert app.request("POST", "/files", fields).status_code == 201
    assert read == [b""]


def test_the_hook_can_make_a_link(hooked_app_on_s3: NewHookedApp) -> None:
    links: list[str | None] = []
    app = hooked_app_on_s3(on_finish=lambda upload: links.append(upload.link(60)))
    path = app.create(data=DATA)
    assert links[0] is not None
    assert id_of(path) in links[0]
    assert "X-Amz-Expires=60" in links[0]


def test_a_store_without_urls_makes_no_link(hooked_app: NewHookedApp) -> None:
    links: list[str | None] = []
    hooked_app(on_finish=lambda upload: links.append(upload.link(60))).create(data=DATA)
    assert links == [None]


def test_a_multipart_upload_has_the_crc_32_of_the_whole_file(sandbox: S3Sandbox) -> None:
    """The parts may have been sent in several requests, which other processes have served."""
    data = bytes(range(256)) * 41_000
    hook = Recorder()
    id = UploadClient(sandbox).create(len(data)).id
    UploadClient(sandbox).append(id, data[:7_000_000])
    UploadClient(sandbox, on_finish=hook).append(id, data[7_000_000:], offset=7_000_000)
    assert hook.uploads[0].checksum == Checksum(Algorithm.CRC32, zlib.crc32(data).to_bytes(4))
    assert hook.uploads[0].etag


# -- the answer ------------------------------------------------------------------------------------


def send_in_one_request(app: HookedApp) -> tuple[str, TestResponse]:
    response = app.post(data=DATA, Origin="https://a.example")
    return path_of(response), response


def send_in_two_requests(app: HookedApp) -> tuple[str, TestResponse]:
    path = app.create(data=DATA[:4])
    return path, app.patch(path, 4, DATA[4:])


every_way = pytest.mark.parametrize("send", [send_in_one_request, send_in_two_requests])
Send = Callable[[HookedApp], tuple[str, TestResponse]]


@every_way
def test_the_answer_is_in_the_response_to_the_last_byte(
    hooked_app_on_any_store: NewHookedApp, send: Send
) -> None:
    app = hooked_app_on_any_store(on_finish=Recorder(ANSWER))
    path, response = send(app)
    assert response.status_code in (200, 201)
    assert is_answer(response)
    assert response.headers["Upload-Offset"] == str(len(DATA))
    assert app.get(path).data == DATA


@every_way
def test_the_answer_is_repeated_without_calling_the_hook_again(
    hooked_app_on_any_store: NewHookedApp, send: Send
) -> None:
    hook = Recorder(ANSWER)
    app = hooked_app_on_any_store(on_finish=hook)
    path, _response = send(app)
    for _ in range(2):
        head = app.head(path)
        assert (head.headers["X-Row"], head.data) == ("7", b"")
        assert is_answer(app.patch(path, len(DATA), b""))
    assert len(hook.uploads) == 1


def test_pages_of_other_origins_can_read_the_fields_of_the_answer(
    hooked_app: NewHookedApp,
) -> None:
    app = hooked_app(on_finish=Recorder(ANSWER))
    _path, response = send_in_one_request(app)
    assert "X-Row" in response.headers["Access-Control-Expose-Headers"]


@every_way
def test_without_an_answer_the_response_is_that_of_the_protocol(
    hooked_app: NewHookedApp, send: Send
) -> None:
    _path, expected = send(hooked_app())
    _path, response = send(hooked_app(on_finish=Recorder()))
    assert response.status_code == expected.status_code
    assert set(response.headers.keys()) == set(expected.headers.keys())
    assert response.data == b""


def test_an_answer_of_fields_only_has_no_body(hooked_app: NewHookedApp) -> None:
    app = hooked_app(on_finish=Recorder(Answer(fields={"X-Row": "7"})))
    _path, expected = send_in_two_requests(hooked_app())
    _path, response = send_in_two_requests(app)
    assert (response.status_code, response.data) == (expected.status_code, b"")
    assert response.headers["X-Row"] == "7"


def test_a_final_upload_has_an_answer_and_its_partial_uploads_have_none(
    hooked_app: NewHookedApp,
) -> None:
    hook = Recorder(ANSWER)
    app = hooked_app(on_finish=hook)
    fields = {**TUS, "Content-Type": "application/offset+octet-stream"}
    creation = {**fields, "Upload-Length": "10", "Upload-Concat": "partial"}
    response = app.request("POST", "/files", creation, DATA)
    assert "X-Row" not in response.headers
    final = {**TUS, "Upload-Concat": f"final;{path_of(response)}"}
    assert is_answer(app.request("POST", "/files", final))
    assert len(hook.uploads) == 1


WRONG_ANSWERS: dict[str, tuple[Any, str]] = {
    "a dictionary": ({"row": 7}, "Answer or None, got a dict"),
    "a body of text": (Answer(body="text"), "bytes"),  # type: ignore[arg-type]
    "a long body": (Answer(body=bytes(4097)), "at most 4096 bytes"),
    "long fields": (Answer(fields={"X-A": "b" * 4096}), "at most 4096 bytes"),
    "a field with a line break": (Answer(fields={"X-A": "1\r\nX-B: 2"}), "field"),
    "a field of the protocol": (Answer(fields={"Upload-Offset": "5"}), "set by the server"),
    "a number": (Answer(fields={"X-A": 5}), "fields of str"),  # type: ignore[dict-item]
    "no media type": (Answer(body=b"{}", content_type="json"), "media type"),
}


@every_way
@pytest.mark.parametrize(("answer", "problem"), WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_a_wrong_answer_is_a_fault_of_the_application_and_can_be_corrected(
    hooked_app: NewHookedApp, answer: Any, problem: str, send: Send
) -> None:
    hook = Recorder(answer)
    app = hooked_app(on_finish=hook)
    path, response = send(app)
    assert response.status_code == 503
    error = next(event.error for event in app.events if isinstance(event, RequestFailed))
    assert isinstance(error, OnFinishFailed)
    assert problem in str(error.__cause__)
    assert app.head(path).status_code == 423
    hook.answer = ANSWER
    assert app.head(path).headers["X-Row"] == "7"
    assert is_answer(app.patch(path, len(DATA), b""))


@every_way
def test_a_process_that_is_killed_in_the_hook_leaves_a_file_that_is_finished_later(
    hooked_app_on_any_store: NewHookedApp, send: Send
) -> None:
    """D-06: `finished` is not recorded before the hook has returned."""
    calls: list[str] = []

    def die_once(upload: FinishedUpload) -> Answer:
        calls.append(upload.id)
        if len(calls) == 1:
            raise SystemExit
        return ANSWER

    app = hooked_app_on_any_store(on_finish=die_once)
    with pytest.raises(SystemExit):
        send(app)
    path = f"/files/{calls[0]}"
    assert app.get(path).status_code in (204, 409)
    assert app.head(path).headers["X-Row"] == "7"
    assert is_answer(app.patch(path, len(DATA), b""))
    assert set(calls) == {calls[0]}
