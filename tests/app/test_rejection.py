"""The application rejects a complete file for good, under both protocols."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, TUS, HookedApp, id_of, path_of
from tests.harness.stores import S3Sandbox
from tus_wsgi import FinishedUpload, Rejected
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.events import UploadCreated, UploadFinished, UploadRejected
from tus_wsgi.domain.model import UploadId

SENTENCE = "This file contains a virus."


class Reject:
    """An `on_finish` hook that rejects every file, and counts its calls."""

    def __init__(self, *, keep: bool = False) -> None:
        self.calls = 0
        self._keep = keep
        self.ids: list[str] = []

    def __call__(self, upload: FinishedUpload) -> None:
        self.calls += 1
        self.ids.append(upload.id)
        raise Rejected(422, SENTENCE, fields={"X-Virus": "eicar"}, keep=self._keep)


def send_in_one_request(app: HookedApp) -> TestResponse:
    return app.post(data=DATA)


def send_in_two_requests(app: HookedApp) -> TestResponse:
    return app.patch(app.create(data=DATA[:4]), 4, DATA[4:])


every_way = pytest.mark.parametrize("send", [send_in_one_request, send_in_two_requests])
Send = Callable[[HookedApp], TestResponse]


def is_rejection(response: TestResponse) -> bool:
    return (
        response.status_code == 422
        and response.text == f"{SENTENCE}\n"
        and response.headers["X-Virus"] == "eicar"
    )


@every_way
def test_the_client_learns_that_its_file_is_rejected(
    hooked_app_on_any_store: NewHookedApp, send: Send
) -> None:
    hook = Reject()
    app = hooked_app_on_any_store(on_finish=hook)
    assert is_rejection(send(app))
    path = f"/files/{hook.ids[0]}"
    for _ in range(2):
        assert app.head(path).status_code == 410
        assert app.get(path).status_code == 410
        assert is_rejection(app.patch(path, len(DATA), b""))
    assert hook.calls == 1
    kinds = [type(event) for event in app.events]
    assert kinds.count(UploadRejected) == kinds.count(UploadCreated) == 1
    assert UploadFinished not in kinds


@every_way
@pytest.mark.parametrize("keep", [False, True])
def test_the_object_is_removed_unless_the_application_keeps_it(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox, send: Send, *, keep: bool
) -> None:
    hook = Reject(keep=keep)
    send(hooked_app_on_s3(on_finish=hook))
    (id,) = hook.ids
    assert sandbox.list_keys() == ([id] if keep else []) + [f"{id}.info"]


def test_a_deletion_that_fails_is_repeated_by_the_next_request(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox
) -> None:
    """D-13: the rejection is recorded before the object is removed."""
    hook = Reject()
    app = hooked_app_on_s3(on_finish=hook)
    with sandbox.calls.failing(StoreUnavailable("DeleteObject"), "DeleteObject data"):
        assert is_rejection(send_in_two_requests(app))
        (id,) = hook.ids
        assert id in sandbox.list_keys()
        assert app.head(f"/files/{id}").status_code == 410
    assert id in sandbox.list_keys()
    assert app.head(f"/files/{id}").status_code == 410
    assert sandbox.list_keys() == [f"{id}.info"]
    assert hook.calls == 1


def test_a_process_that_is_killed_before_the_deletion_leaves_a_rejected_upload(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox
) -> None:
    hook = Reject()
    app = hooked_app_on_s3(on_finish=hook)
    with (
        sandbox.calls.failing(SystemExit(), "DeleteObject data"),  # type: ignore[arg-type]
        pytest.raises(SystemExit),
    ):
        send_in_one_request(app)
    (id,) = hook.ids
    assert app.get(f"/files/{id}").status_code == 410
    assert is_rejection(app.patch(f"/files/{id}", len(DATA), b""))
    assert sandbox.list_keys() == [f"{id}.info"]


@pytest.mark.parametrize("lost", [False, True])
def test_a_rejection_that_is_not_recorded_is_decided_again(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox, *, lost: bool
) -> None:
    """D-06, D-13: nothing is removed before the rejection is recorded."""
    hook = Reject()
    app = hooked_app_on_s3(on_finish=hook)
    path = app.create(data=DATA[:4])
    failing: list[str] = ["PutObject info"] if not lost else ["PutObject info", "GetObject info"]
    decided: list[bool] = []

    def fail_after_hook(upload: FinishedUpload) -> None:
        decided.append(True)
        sandbox.calls.before = lambda call: _fail(str(call) in failing)
        hook(upload)

    app.middleware._service._finisher._on_finish = fail_after_hook
    assert app.patch(path, 4, DATA[4:]).status_code == 503
    assert id_of(path) in sandbox.list_keys()
    sandbox.calls.before = None
    app.middleware._service._finisher._on_finish = hook
    assert app.head(path).status_code == 410
    assert sandbox.list_keys() == [f"{id_of(path)}.info"]
    assert hook.calls == 2


def _fail(condition: bool) -> None:
    if condition:
        raise StoreUnavailable("test")


def test_a_rejected_upload_can_be_deleted(hooked_app_on_any_store: NewHookedApp) -> None:
    hook = Reject()
    app = hooked_app_on_any_store(on_finish=hook)
    send_in_one_request(app)
    path = f"/files/{hook.ids[0]}"
    assert app.delete(path).status_code == 204
    assert app.head(path).status_code == 404


def test_bytes_for_a_rejected_upload_are_refused_with_the_rejection(
    hooked_app: NewHookedApp,
) -> None:
    hook = Reject()
    app = hooked_app(on_finish=hook)
    send_in_two_requests(app)
    assert is_rejection(app.patch(f"/files/{hook.ids[0]}", 4, DATA[4:]))


def test_a_final_upload_is_rejected_and_its_partial_uploads_stay(hooked_app: NewHookedApp) -> None:
    hook = Reject()
    app = hooked_app(on_finish=hook)
    fields = {**TUS, "Content-Type": "application/offset+octet-stream"}
    creation = {**fields, "Upload-Length": "10", "Upload-Concat": "partial"}
    partial = path_of(app.request("POST", "/files", creation, DATA))
    final = {**TUS, "Upload-Concat": f"final;{partial}"}
    assert is_rejection(app.request("POST", "/files", final))
    assert app.request("HEAD", partial, TUS).status_code == 200
    assert app.head(f"/files/{hook.ids[0]}").status_code == 410


@pytest.mark.parametrize(
    "arguments",
    [
        {"status": 500},
        {"status": 200},
        {"fields": {"Upload-Offset": "5"}},
        {"sentence": "x" * 5000},
    ],
    ids=str,
)
def test_a_rejection_that_cannot_be_sent_is_a_fault_of_the_application(
    hooked_app: NewHookedApp, arguments: dict[str, object]
) -> None:
    def reject(_upload: FinishedUpload) -> None:
        raise Rejected(**arguments)  # type: ignore[arg-type]

    app = hooked_app(on_finish=reject)
    assert send_in_two_requests(app).status_code == 503


def test_a_rejected_upload_is_stored_as_it_was_decided(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    hook = Reject(keep=True)
    app = hooked_app_on_any_store(on_finish=hook)
    send_in_one_request(app)
    rejection = app.store.open(UploadId(hook.ids[0])).info.rejection
    assert rejection is not None
    assert (rejection.status, rejection.sentence, rejection.keep) == (422, SENTENCE, True)
    assert rejection.fields == {"X-Virus": "eicar"}
