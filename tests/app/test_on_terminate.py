"""The application learns of each upload that is removed, under both protocols."""

from __future__ import annotations

import pytest

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, TUS, User, id_of, path_of
from tests.harness.stores import PART, S3Sandbox
from tus_wsgi import GoneUpload, Progress, Stop, TerminationReason, UploadPlan
from tus_wsgi.domain.errors import HookFailed, StoreUnavailable
from tus_wsgi.domain.events import RequestFailed, UploadTerminated
from tus_wsgi.domain.model import UploadId


class Recorder:
    """An `on_terminate` hook that records its arguments, and raises the first `failures` times."""

    def __init__(self, *, failures: int = 0, error: BaseException | None = None) -> None:
        self.calls: list[GoneUpload] = []
        self._failures = failures
        self._error = error or RuntimeError("the database is locked")

    def __call__(self, gone: GoneUpload) -> None:
        self.calls.append(gone)
        if len(self.calls) <= self._failures:
            raise self._error

    @property
    def reasons(self) -> list[TerminationReason]:
        return [gone.reason for gone in self.calls]


every_size = pytest.mark.parametrize("data", [b"", DATA[:4], DATA], ids=len)


@every_size
def test_the_hook_learns_what_was_removed(
    hooked_app_on_any_store: NewHookedApp, data: bytes
) -> None:
    hook = Recorder()
    app = hooked_app_on_any_store(
        authorize=User(),
        on_create=lambda _upload: UploadPlan(private={"order": "7"}, metadata={"a": "b"}),
        on_terminate=hook,
    )
    path = app.create("ada", data)
    assert app.delete(path, "ada").status_code == 204
    (gone,) = hook.calls
    assert (gone.id, gone.owner, gone.private) == (id_of(path), "ada", {"order": "7"})
    assert gone.metadata.text("a") == "b"
    assert gone.reason == "client"
    assert app.head(path, "ada").status_code in (404, 410)
    assert app.delete(path, "ada").status_code in (404, 410)
    assert len(hook.calls) == 1
    assert [type(event) for event in app.events].count(UploadTerminated) == 1


@every_size
def test_a_hook_that_raises_is_called_again_by_the_next_delete(
    hooked_app_on_any_store: NewHookedApp, data: bytes
) -> None:
    hook = Recorder(failures=2)
    app = hooked_app_on_any_store(on_terminate=hook)
    path = app.create(data=data)
    for _ in range(2):
        assert app.delete(path).status_code == 503
        assert app.head(path).status_code == 410
        assert app.patch(path, len(data), DATA[len(data) :]).status_code == 410
        assert app.get(path).status_code == 410
    errors = [event.error for event in app.events if isinstance(event, RequestFailed)]
    assert all(isinstance(error, HookFailed) for error in errors)
    assert app.delete(path).status_code == 204
    assert app.head(path).status_code in (404, 410)
    assert hook.reasons == ["client"] * 3


@pytest.mark.parametrize("size", [10, PART + 10])
def test_the_bytes_are_removed_before_the_hook_and_the_record_after_it(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox, size: int
) -> None:
    """D-13."""
    keys: list[list[str]] = []
    app = hooked_app_on_s3(on_terminate=lambda _gone: keys.append(sandbox.list_keys()))
    data = bytes(size)
    response = app.request("POST", "/files", app.protocol.creation(size, data), data)
    path = path_of(response)
    assert app.delete(path).status_code == 204
    assert keys == [[f"{id_of(path)}.info"]]
    assert id_of(path) not in sandbox.list_keys()


def test_an_unfinished_multipart_upload_is_aborted_before_the_hook(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox
) -> None:
    multiparts: list[list[str]] = []
    app = hooked_app_on_s3(on_terminate=lambda _gone: multiparts.append(sandbox.list_multiparts()))
    data = bytes(PART + 10)
    fields = app.protocol.creation(3 * PART, data)
    path = path_of(app.request("POST", "/files", fields, data))
    assert app.delete(path).status_code == 204
    assert multiparts == [[]]


@pytest.mark.parametrize("failing", ["DeleteObject data", "PutObject info", "PutObject tail"])
def test_a_termination_that_fails_is_continued_and_the_hook_is_called(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox, failing: str
) -> None:
    hook = Recorder()
    app = hooked_app_on_s3(on_terminate=hook)
    path = app.create(data=DATA)
    with sandbox.calls.failing(StoreUnavailable("test"), failing):
        assert app.delete(path).status_code == 503
    assert app.delete(path).status_code in (204, 404)
    assert app.head(path).status_code in (404, 410)
    assert id_of(path) not in sandbox.list_keys()
    assert set(hook.reasons) == {"client"}


def test_a_process_that_is_killed_in_the_hook_leaves_a_record_of_the_termination(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    hook = Recorder(failures=1, error=SystemExit())
    app = hooked_app_on_any_store(on_terminate=hook)
    path = app.create(data=DATA)
    with pytest.raises(SystemExit):
        app.delete(path)
    assert app.store.open(UploadId(id_of(path))).info.terminating == "client"
    assert app.delete(path).status_code == 204
    assert len(hook.calls) == 2


def test_the_application_learns_of_its_own_terminations(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    hook = Recorder()
    app = hooked_app_on_any_store(on_terminate=hook)
    path = app.create(data=DATA)
    app.middleware.terminate_upload(id_of(path))
    assert hook.reasons == ["app"]


def test_a_continued_termination_keeps_its_reason(hooked_app_on_any_store: NewHookedApp) -> None:
    hook = Recorder(failures=1)
    app = hooked_app_on_any_store(on_terminate=hook)
    path = app.create(data=DATA)
    with pytest.raises(HookFailed):
        app.middleware.terminate_upload(id_of(path))
    assert app.delete(path).status_code == 204
    assert hook.reasons == ["app", "app"]


def test_the_application_learns_of_a_stopped_upload(hooked_app_on_any_store: NewHookedApp) -> None:
    def stop(_progress: Progress) -> None:
        raise Stop

    hook = Recorder()
    app = hooked_app_on_any_store(on_progress=stop, on_terminate=hook)
    assert app.post(data=DATA).status_code == 403
    assert hook.reasons == ["stopped"]


def test_a_partial_upload_that_is_being_removed_cannot_be_concatenated(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    app = hooked_app_on_any_store(on_terminate=Recorder(failures=9))
    fields = {**TUS, "Content-Type": "application/offset+octet-stream"}
    creation = {**fields, "Upload-Length": "10", "Upload-Concat": "partial"}
    partial = path_of(app.request("POST", "/files", creation, DATA))
    assert app.request("DELETE", partial, TUS).status_code == 503
    final = {**TUS, "Upload-Concat": f"final;{partial}"}
    assert app.request("POST", "/files", final).status_code == 400


def test_partial_uploads_that_were_concatenated_are_removed_without_a_call(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    hook = Recorder()
    app = hooked_app_on_any_store({"TUS_DELETE_PARTIALS": "true"}, on_terminate=hook)
    fields = {**TUS, "Content-Type": "application/offset+octet-stream"}
    creation = {**fields, "Upload-Length": "10", "Upload-Concat": "partial"}
    partial = path_of(app.request("POST", "/files", creation, DATA))
    final = {**TUS, "Upload-Concat": f"final;{partial}"}
    assert app.request("POST", "/files", final).status_code == 201
    assert hook.calls == []
