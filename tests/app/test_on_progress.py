"""The application learns how far a request has come, and may stop it, under both protocols."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, HookedApp, User, id_of
from tests.harness.stores import PART, S3Sandbox
from tus_wsgi import FinishedUpload, Progress, Stop, UploadPlan
from tus_wsgi.domain.events import UploadCreated, UploadTerminated


class Recorder:
    """An `on_progress` hook that records its arguments, and raises at an offset."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.calls: list[Progress] = []
        self._stop_at = stop_at

    def __call__(self, progress: Progress) -> None:
        self.calls.append(progress)
        if self._stop_at is not None and progress.offset >= self._stop_at:
            raise Stop(403, "your subscription has ended", fields={"X-Plan": "none"})

    @property
    def offsets(self) -> list[int]:
        return [progress.offset for progress in self.calls]


def send_in_one_request(app: HookedApp) -> TestResponse:
    return app.post(data=DATA)


def send_in_two_requests(app: HookedApp) -> TestResponse:
    return app.patch(app.create(data=DATA[:4]), 4, DATA[4:])


every_way = pytest.mark.parametrize("send", [send_in_one_request, send_in_two_requests])
Send = Callable[[HookedApp], TestResponse]


def test_the_hook_is_called_at_the_end_of_each_request_with_bytes(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    hook = Recorder()
    app = hooked_app_on_any_store(
        authorize=User(),
        on_create=lambda _upload: UploadPlan(private={"order": "7"}),
        on_progress=hook,
    )
    path = app.create("ada", DATA[:4])
    app.patch(path, 4, DATA[4:7], "ada")
    app.head(path, "ada")
    assert hook.offsets == [4, 7]
    progress = hook.calls[-1]
    assert (progress.id, progress.owner, progress.length) == (id_of(path), "ada", len(DATA))
    assert progress.private == {"order": "7"}
    assert progress.seconds >= 0
    assert progress.request.method == "PATCH"


def test_the_hook_is_called_for_confirmed_bytes_while_they_arrive(
    hooked_app_on_s3: NewHookedApp,
) -> None:
    hook = Recorder()
    app = hooked_app_on_s3({"TUS_PROGRESS_HOOKS_INTERVAL": "0"}, on_progress=hook)
    data = bytes(3 * PART)
    fields = app.protocol.creation(len(data), data)
    assert app.request("POST", "/files", fields, data).status_code == 201
    assert hook.offsets == sorted(hook.offsets)
    assert hook.offsets[-1] == len(data)
    assert set(hook.offsets) <= {PART, 2 * PART, 3 * PART}
    assert len(hook.offsets) > 1


def test_the_interval_limits_the_calls(hooked_app_on_s3: NewHookedApp) -> None:
    hook = Recorder()
    app = hooked_app_on_s3({"TUS_PROGRESS_HOOKS_INTERVAL": "1h"}, on_progress=hook)
    data = bytes(3 * PART)
    app.request("POST", "/files", app.protocol.creation(len(data), data), data)
    assert hook.offsets == [len(data)]


@every_way
def test_a_stopped_upload_is_removed_and_the_client_learns_why(
    hooked_app_on_any_store: NewHookedApp, send: Send
) -> None:
    finished: list[str] = []
    hook = Recorder(stop_at=len(DATA))
    app = hooked_app_on_any_store(
        on_progress=hook, on_finish=lambda upload: finished.append(upload.id)
    )
    response = send(app)
    assert (response.status_code, response.text) == (403, "your subscription has ended\n")
    assert response.headers["X-Plan"] == "none"
    path = f"/files/{hook.calls[0].id}"
    assert app.head(path).status_code in (404, 410)
    assert finished == []
    kinds = [type(event) for event in app.events]
    assert kinds.count(UploadTerminated) == kinds.count(UploadCreated)


def test_a_stop_while_bytes_arrive_ends_the_body(
    hooked_app_on_s3: NewHookedApp, sandbox: S3Sandbox
) -> None:
    hook = Recorder(stop_at=1)
    app = hooked_app_on_s3({"TUS_PROGRESS_HOOKS_INTERVAL": "0"}, on_progress=hook)
    data = bytes(8 * PART)
    response = app.request("POST", "/files", app.protocol.creation(len(data), data), data)
    assert response.status_code == 403
    assert len(hook.calls) == 1
    assert sandbox.list_multiparts() == []


@every_way
def test_an_error_of_the_hook_is_logged_and_ignored(
    hooked_app: NewHookedApp, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    finished: list[FinishedUpload] = []

    def fail(progress: Progress) -> None:
        raise LookupError(f"no row for {progress.id}")

    app = hooked_app(on_progress=fail, on_finish=finished.append)
    assert send(app).status_code in (201, 204)
    (upload,) = finished
    assert "on_progress hook raised" in caplog.text
    assert "no row for" in caplog.text
    assert upload.id not in caplog.text


def test_a_process_that_is_killed_in_the_hook_loses_no_byte(
    hooked_app_on_s3: NewHookedApp,
) -> None:
    app = hooked_app_on_s3()
    path = app.create(data=DATA[:4])

    def die(_progress: Progress) -> None:
        raise SystemExit

    dying = hooked_app_on_s3(on_progress=die)
    with pytest.raises(SystemExit):
        dying.patch(path, 4, DATA[4:7])
    assert hooked_app_on_s3().offset(path) == 7


def test_without_hooks_no_request_is_copied(hooked_app: NewHookedApp) -> None:
    assert not hooked_app().middleware._service.needs_request
