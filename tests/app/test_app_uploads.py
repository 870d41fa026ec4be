"""The application creates and terminates uploads, and links to their files, without a request."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import urlopen

import pytest
from werkzeug.test import create_environ

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, TUS, HookedApp, Protocol, User, path_of
from tests.harness.stores import S3Sandbox
from tus_wsgi import CreatedUpload, FinishedUpload, ObjectOptions, UploadPlan
from tus_wsgi.domain.errors import (
    StoreUnavailable,
    UploadIncomplete,
    UploadNotFound,
    UploadTooLarge,
)
from tus_wsgi.domain.events import UploadCreated, UploadTerminated
from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.stores.memory import MemoryStore

ENVIRON = create_environ("/any/page", "https://app.example/")


def create(app: HookedApp, length: int | None = len(DATA), **more: Any) -> CreatedUpload:
    return app.middleware.create_upload(length=length, **{"environ": ENVIRON, **more})


# -- creation --------------------------------------------------------------------------------------


def test_a_client_sends_the_file_to_an_upload_of_the_application(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    finished: list[FinishedUpload] = []
    user = User()
    app = hooked_app_on_any_store(authorize=user, on_finish=finished.append)
    created = create(app, metadata={"filename": "ä.txt", "raw": b"\xff"}, owner="ada")
    assert user.accesses == []
    assert app.events[-1] == UploadCreated(created.id, len(DATA))
    path = f"/files/{created.id}"
    assert created.url == f"https://app.example{path}"
    assert app.head(path, "eve").status_code == 404
    assert app.offset(path, "ada") == 0
    assert app.patch(path, 0, DATA, "ada").status_code in (201, 204)
    assert app.get(path, "ada").data == DATA
    (upload,) = finished
    assert (upload.owner, upload.metadata.text("filename")) == ("ada", "ä.txt")
    assert dict(upload.metadata.pairs)["raw"] == b"\xff"
    if app.protocol.name == "tus":
        sent = app.head(path, "ada").headers["Upload-Metadata"]
        assert sent == "filename w6QudHh0,raw /w=="


def test_another_process_knows_the_upload_at_once(hooked_app_on_any_store: NewHookedApp) -> None:
    created = create(hooked_app_on_any_store(), owner="ada")
    other = hooked_app_on_any_store(authorize=User())
    assert other.offset(f"/files/{created.id}", "ada") == 0
    assert other.head(f"/files/{created.id}", "eve").status_code == 404


def test_the_plan_of_the_application_replaces_on_create(sandbox: S3Sandbox) -> None:
    asked: list[object] = []
    app = HookedApp(Protocol("tus", TUS), sandbox.store(), {"on_create": asked.append})
    created = create(
        app,
        owner="ada",
        plan=lambda id: UploadPlan(
            key=f"users/ada/{id}",
            max_size=len(DATA),
            lifetime=60,
            object=ObjectOptions(cache_control="no-cache"),
        ),
    )
    assert asked == []
    assert created.expires is not None
    path = f"/files/{created.id}"
    assert app.patch(path, 0, DATA).status_code == 204
    key = f"{sandbox.prefix}users/ada/{created.id}"
    found = sandbox.admin.get_object(Bucket=sandbox.bucket, Key=key)
    assert found["Body"].read() == DATA
    assert found["CacheControl"] == "no-cache"
    with pytest.raises(UploadTooLarge):
        create(app, plan=UploadPlan(max_size=len(DATA) - 1))
    with pytest.raises(ValueError, match="key"):
        create(app, plan=UploadPlan(key="without-the-id"))


def test_what_a_plan_function_raises_reaches_the_application(hooked_app: NewHookedApp) -> None:
    def plan(_id: str) -> UploadPlan:
        raise LookupError("no such project")

    app = hooked_app()
    with pytest.raises(LookupError):
        create(app, plan=plan)
    assert_empty(app)


def test_a_length_may_be_declared_later(hooked_app: NewHookedApp) -> None:
    app = hooked_app({"TUS_DISABLE_DEFER_LENGTH": "true"})
    path = f"/files/{create(app, None).id}"
    fields = {**app.protocol.append(0, is_last=True), "Upload-Length": str(len(DATA))}
    assert app.request("PATCH", path, fields, DATA).status_code in (201, 204)
    assert app.get(path).data == DATA


def test_an_empty_file_is_finished_at_once(hooked_app: NewHookedApp) -> None:
    finished: list[FinishedUpload] = []
    app = hooked_app(on_finish=finished.append)
    created = create(app, 0)
    assert [upload.id for upload in finished] == [created.id]
    assert app.get(f"/files/{created.id}").data == b""


def test_the_url_is_the_public_one_or_that_of_the_request(hooked_app: NewHookedApp) -> None:
    public = hooked_app({"TUS_PUBLIC_URL": "https://up.example/put"})
    created = create(public, environ=None)
    assert created.url == f"https://up.example/put/{created.id}"
    mounted = create_environ("/page", "https://app.example/mount")
    created = create(hooked_app({"TUS_BASE_PATH": "/uploads"}), environ=mounted)
    assert created.url == f"https://app.example/mount/uploads/{created.id}"


@pytest.mark.parametrize("environ", [None, {**ENVIRON, "HTTP_HOST": "bad host"}])
def test_without_a_url_nothing_is_created(hooked_app: NewHookedApp, environ: Any) -> None:
    app = hooked_app()
    with pytest.raises(ValueError, match="TUS_PUBLIC_URL"):
        create(app, environ=environ)
    assert_empty(app)


def assert_empty(app: HookedApp) -> None:
    assert isinstance(app.store, MemoryStore)
    assert app.store._uploads == {}
    assert app.events == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"length": -1},
        {"length": 2**63},
        {"length": 9.0},
        {"length": True},
        {"owner": ""},
        {"owner": "a" * 257},
        {"metadata": {"a b": "x"}},
        {"metadata": {"a,b": "x"}},
        {"metadata": {"": "x"}},
        {"metadata": {"a": "x" * 40_000}},
        {"metadata": {str(number): "" for number in range(201)}},
        {"plan": UploadPlan(max_size=-1)},
        {"plan": lambda _id: UploadPlan(lifetime=-1)},
        {"plan": lambda _id: "none"},
    ],
)
def test_what_cannot_be_stored_is_refused(
    hooked_app: NewHookedApp, arguments: dict[str, Any]
) -> None:
    app = hooked_app()
    with pytest.raises(ValueError, match="expected"):
        create(app, **arguments)
    assert_empty(app)


def test_an_owner_has_to_be_text(hooked_app: NewHookedApp) -> None:
    app = hooked_app()
    with pytest.raises(TypeError, match="int"):
        create(app, owner=7)
    assert_empty(app)


def test_the_limits_hold_for_the_application_too(hooked_app: NewHookedApp) -> None:
    app = hooked_app({"TUS_MAX_SIZE": "9"})
    with pytest.raises(UploadTooLarge):
        create(app)
    assert_empty(app)


def test_a_store_that_fails_has_created_nothing(protocol: Protocol) -> None:
    class FailingStore(MemoryStore):
        def create(self, info: UploadInfo, *, record_now: bool) -> Any:
            raise StoreUnavailable("PutObject")

    app = HookedApp(protocol, FailingStore())
    with pytest.raises(StoreUnavailable):
        create(app)
    assert_empty(app)


def test_an_upload_of_the_application_expires(hooked_app: NewHookedApp) -> None:
    created = create(hooked_app({"TUS_EXPIRES": "1h"}))
    assert created.expires is not None
    left = created.expires - datetime.now(UTC)
    assert timedelta(minutes=50) < left <= timedelta(hours=1, seconds=1)  # whole seconds


def test_uploads_that_never_expire_are_warned_about_once(
    hooked_app: NewHookedApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = hooked_app()
    with caplog.at_level(logging.WARNING, "tus_wsgi"):
        assert [create(app).expires for _ in range(3)] == [None] * 3
    assert caplog.text.count("TUS_EXPIRES") == 1


# -- termination -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [DATA[:4], DATA])
def test_the_application_terminates_an_upload(
    hooked_app_on_any_store: NewHookedApp, data: bytes
) -> None:
    user = User()
    app = hooked_app_on_any_store({"TUS_DISABLE_TERMINATION": "true"}, authorize=user)
    path = app.create("ada", data)
    id = path.rpartition("/")[2]
    user.accesses.clear()
    app.middleware.terminate_upload(id)
    assert user.accesses == []
    assert isinstance(app.events[-1], UploadTerminated)
    assert app.head(path, "ada").status_code == 404
    with pytest.raises(UploadNotFound):
        app.middleware.terminate_upload(id)


@pytest.mark.parametrize("id", ["AAAAAAAAAAAAAAAAAAAAAA", "../x", ""])
def test_an_id_that_no_upload_has_is_not_found(hooked_app: NewHookedApp, id: str) -> None:
    app = hooked_app()
    with pytest.raises(UploadNotFound):
        app.middleware.terminate_upload(id)
    with pytest.raises(UploadNotFound):
        app.middleware.download_url(id, lifetime=60)


def test_a_termination_ends_a_running_request(hooked_app: NewHookedApp) -> None:
    """The app's termination interrupts the request, as a DELETE does."""
    app = hooked_app()
    path = app.create(data=DATA[:4])
    is_reading, may_read = threading.Event(), threading.Event()

    class SlowInput:
        def read(self, _size: int = -1) -> bytes:
            is_reading.set()
            assert may_read.wait(20)
            return b"4"

    environ = create_environ(path, method="PATCH", headers=app.protocol.append(4, is_last=True))
    environ |= {"wsgi.input": SlowInput(), "CONTENT_LENGTH": "6"}
    statuses: list[str] = []

    def send() -> None:
        list(app.middleware(environ, lambda status, *_: statuses.append(status)))  # type: ignore[arg-type]

    request = threading.Thread(target=send)
    request.start()
    assert is_reading.wait(20)
    threading.Timer(0.1, may_read.set).start()
    app.middleware.terminate_upload(path.rpartition("/")[2])
    request.join(20)
    assert statuses[0][:3] == "423"
    assert app.head(path).status_code == 404


# -- links -----------------------------------------------------------------------------------------


def test_a_link_returns_the_file_from_the_store(sandbox: S3Sandbox, protocol: Protocol) -> None:
    app = HookedApp(protocol, sandbox.store(), {"authorize": User()})
    path = path_of(app.post("ada", DATA, Upload_Metadata="filename YS50eHQ="))
    url = app.middleware.download_url(path.rpartition("/")[2], lifetime=60)
    assert url is not None
    with urlopen(url) as response:
        assert response.read() == DATA
        assert response.headers["Content-Disposition"] == 'attachment; filename="a.txt"'


def test_an_unfinished_upload_has_no_link(hooked_app_on_any_store: NewHookedApp) -> None:
    app = hooked_app_on_any_store()
    path = app.create(data=DATA[:4])
    with pytest.raises(UploadIncomplete):
        app.middleware.download_url(path.rpartition("/")[2], lifetime=60)


def test_a_store_in_memory_has_no_links(hooked_app: NewHookedApp) -> None:
    app = hooked_app()
    path = app.create(data=DATA)
    assert app.middleware.download_url(path.rpartition("/")[2], lifetime=60) is None


@pytest.mark.parametrize("lifetime", [0, -1, 7 * 24 * 60 * 60 + 1, float("nan")])
def test_a_link_has_a_lifetime_that_s3_accepts(hooked_app: NewHookedApp, lifetime: float) -> None:
    app = hooked_app()
    path = app.create(data=DATA)
    with pytest.raises(ValueError, match="seconds"):
        app.middleware.download_url(path.rpartition("/")[2], lifetime=lifetime)
