"""Requests in all dialects to the complete application, with a store in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import NoCredentialsError
from werkzeug.exceptions import NotFound
from werkzeug.test import TestResponse, create_environ, run_wsgi_app

from tests.wsgi.linting import LintedClient
from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.app import create_app, make_store
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.hooks import FinishedUpload, OnFinish
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryContent, MemoryStore

DATA = b"0123456789"
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}
INTEROPS = [3, 5, 6, 8, 9]


def version_field(interop: int | None) -> dict[str, str]:
    return {} if interop is None else {"Upload-Draft-Interop-Version": str(interop)}


def complete_fields(interop: int | None) -> dict[str, str]:
    completeness = {"Upload-Incomplete": "?0"} if interop == 3 else {"Upload-Complete": "?1"}
    return {**version_field(interop), **completeness}


class App:
    """A middleware configured by environment variables, and a client."""

    def __init__(self, environ: dict[str, str], on_finish: OnFinish | None = None) -> None:
        self.middleware = TusMiddleware(
            NotFound(),
            settings=Settings.from_environ(environ),
            on_finish=on_finish,
            store=MemoryStore(),
            locker=MemoryLocker(timeout=1),
        )
        self._client = LintedClient(self.middleware)

    def request(
        self, method: str, path: str, fields: dict[str, str], data: bytes = b""
    ) -> TestResponse:
        return self._client.open(path, method=method, headers=fields, data=data)

    def create(self, data: bytes = b"") -> str:
        """Create an upload of ten bytes and return its path."""
        fields = {**TUS, **OCTETS, "Upload-Length": str(len(DATA))}
        return path_of(self.request("POST", "/files", fields, data))


def path_of(response: TestResponse) -> str:
    return urlsplit(response.headers["Location"]).path


@pytest.fixture
def new_app(tmp_path: Path) -> Callable[..., App]:
    def new_app(on_finish: OnFinish | None = None, **environ: str) -> App:
        needed = {"TUS_S3_BUCKET": "bucket", "TUS_LOCK_DIR": str(tmp_path / "locks")}
        return App({**needed, **environ}, on_finish)

    return new_app


NewApp = Callable[..., App]


# -- requests that name no protocol ----------------------------------------------------------------


def test_a_delete_without_a_version_removes_the_upload(new_app: NewApp) -> None:
    """C-03, R-50: the newest IETF draft, which needs no version, handles it."""
    app = new_app()
    path = app.create()
    response = app.request("DELETE", path, {})
    assert (response.status_code, response.data) == (204, b"")
    assert app.request("HEAD", path, TUS).status_code == 404


def test_a_head_without_a_version_reports_the_offset(new_app: NewApp) -> None:
    """C-03, R-30."""
    app = new_app()
    response = app.request("HEAD", app.create(DATA[:4]), {})
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == "4"
    assert response.headers["Upload-Complete"] == "?0"


def test_requests_without_a_version_create_and_append_nothing(new_app: NewApp) -> None:
    """C-03."""
    app = new_app()
    path = app.create(DATA[:4])
    assert app.request("POST", "/files", {"Upload-Length": "5"}).status_code == 412
    append = app.request("PATCH", path, {**OCTETS, "Upload-Offset": "4"}, DATA[4:])
    assert append.status_code == 412
    assert app.request("HEAD", path, TUS).headers["Upload-Offset"] == "4"


def test_options_without_a_version_describes_both_protocols(new_app: NewApp) -> None:
    """C-05, R-60."""
    app = new_app(TUS_MAX_SIZE="1000")
    response = app.request("OPTIONS", "/files", {})
    assert response.headers["Tus-Max-Size"] == "1000"
    assert response.headers["Upload-Limit"] == "max-size=1000, min-size=0"
    assert "Upload-Limit" not in app.request("OPTIONS", "/files", TUS).headers


def test_options_asterisk_returns_the_limits_if_the_base_path_is_the_root(new_app: NewApp) -> None:
    """R-61."""
    # wsgiref's validator requires a slash in PATH_INFO; gunicorn passes on the `*`.
    environ = {**create_environ(method="OPTIONS", headers=version_field(9)), "PATH_INFO": "*"}
    root = new_app(TUS_BASE_PATH="/", TUS_MAX_SIZE="1000")
    _, status, fields = run_wsgi_app(root.middleware, dict(environ))
    assert (status, fields["Upload-Limit"]) == ("204 No Content", "max-size=1000, min-size=0")
    _, status, _ = run_wsgi_app(new_app().middleware, dict(environ))
    assert status == "404 NOT FOUND", "the application handles it"


@pytest.mark.parametrize("version", ["0.2.2", "1.0.1"])
def test_an_unsupported_version_of_tus_is_rejected(new_app: NewApp, version: str) -> None:
    """C-02."""
    app = new_app()
    path = app.create()
    assert app.request("DELETE", path, {"Tus-Resumable": version}).status_code == 412
    assert app.request("HEAD", path, TUS).status_code == 200


# -- disabled methods ------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [TUS, {}, *map(version_field, INTEROPS)], ids=str)
def test_disable_termination_rejects_delete(new_app: NewApp, fields: dict[str, str]) -> None:
    app = new_app(TUS_DISABLE_TERMINATION="true")
    path = app.create()
    rejected = app.request("DELETE", path, fields)
    assert rejected.status_code == 405
    assert "DELETE" not in rejected.headers["Allow"]
    assert app.request("HEAD", path, TUS).status_code == 200


@pytest.mark.parametrize("interop", [8, 9])
@pytest.mark.parametrize("setting", ["true", "false"])
def test_disable_termination_keeps_an_upload_whose_length_is_exceeded(
    new_app: NewApp, interop: int, setting: str
) -> None:
    """R-40: an append beyond the length ends the upload, unless nothing may end it."""
    app = new_app(TUS_DISABLE_TERMINATION=setting)
    path = app.create(DATA[:4])
    append = {**version_field(interop), "Content-Type": "application/partial-upload"}
    append |= {"Upload-Offset": "4", "Upload-Complete": "?1"}
    assert app.request("PATCH", path, append, DATA).status_code == 400
    head = app.request("HEAD", path, TUS)
    if setting == "true":
        assert (head.status_code, head.headers["Upload-Offset"]) == (200, "4")
        assert app.request("PATCH", path, append, DATA[4:]).status_code < 300
        assert app.request("GET", path, TUS).data == DATA
    else:
        assert head.status_code in (404, 410)


# -- method overrides ------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [TUS, {}, *map(version_field, INTEROPS)], ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_no_safe_method_changes_an_upload(
    new_app: NewApp, fields: dict[str, str], method: str
) -> None:
    """Proxies that let only safe methods pass, and caches, rely on the method."""
    app = new_app()
    path = app.create(DATA[:4])
    rest = {**OCTETS, "Upload-Offset": "4", "Upload-Length": "10", "Upload-Complete": "?1"}
    for override, target in [("DELETE", path), ("PATCH", path), ("POST", "/files")]:
        sent = {**fields, **rest, "X-HTTP-Method-Override": override, "Origin": "https://a.example"}
        refused = app.request(method, target, sent)
        assert refused.status_code == 405
        assert override in refused.headers["Allow"]
        assert refused.headers["Cache-Control"] == "no-store"
        assert refused.headers["Access-Control-Allow-Origin"] == "*"
        assert "Location" not in refused.headers
        if method != "HEAD":
            assert b"X-HTTP-Method-Override" in refused.data
    assert app.request("HEAD", path, TUS).headers["Upload-Offset"] == "4"


@pytest.mark.parametrize(
    ("setting", "statuses"),
    [
        ("unsafe", {"GET": 405, "POST": 204, "PUT": 204}),
        ("post", {"GET": 405, "POST": 204, "PUT": 405}),
        ("any", {"GET": 204, "POST": 204, "PUT": 204}),
        ("off", {"GET": 405, "POST": 405, "PUT": 405}),
    ],
)
def test_a_setting_says_which_methods_can_be_overridden(
    new_app: NewApp, setting: str, statuses: dict[str, int]
) -> None:
    app = new_app(TUS_METHOD_OVERRIDE=setting)
    override = {**TUS, **OCTETS, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    found = {
        method: app.request(method, app.create(), override, DATA).status_code for method in statuses
    }
    assert found == statuses


@pytest.mark.parametrize("fields", [TUS, *map(version_field, INTEROPS)], ids=str)
def test_only_downloads_may_be_cached(new_app: NewApp, fields: dict[str, str]) -> None:
    """A cache must not serve the response to an overridden method for a GET."""
    app = new_app()
    path = app.create(DATA)
    creation = {**fields, "Upload-Length": "10", "Upload-Complete": "?1", "Upload-Incomplete": "?0"}
    responses = [
        app.request("OPTIONS", "/files", fields),
        app.request("GET", path, {**fields, "X-HTTP-Method-Override": "OPTIONS"}),
        app.request("POST", "/files", creation, DATA if fields != TUS else b""),
        app.request("HEAD", path, fields),
        app.request("GET", app.create(), fields),
        app.request("GET", "/files", fields),
        app.request("DELETE", app.create(), fields),
        app.request("GET", path + "x", fields),
    ]
    for response in responses:
        assert response.headers.get_all("Cache-Control") == ["no-store"], response.status
    download = app.request("GET", path, fields)
    assert download.headers.get_all("Cache-Control") == ["private, no-cache, no-transform"]


def test_the_server_without_an_app_says_that_nothing_else_is_cacheable(tmp_path: Path) -> None:
    environ = {"TUS_S3_BUCKET": "bucket", "TUS_LOCK_DIR": str(tmp_path / "locks")}
    _, status, fields = run_wsgi_app(create_app(environ), create_environ("/other"))
    assert (status, fields["Cache-Control"]) == ("404 Not Found", "no-store")


# -- disabled downloads ----------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [TUS, {}, *map(version_field, [3, 5, 6, 8])], ids=str)
def test_disable_download_rejects_get(new_app: NewApp, fields: dict[str, str]) -> None:
    app = new_app(TUS_DISABLE_DOWNLOAD="true")
    rejected = app.request("GET", app.create(DATA), fields)
    assert rejected.status_code == 405
    assert "GET" not in rejected.headers["Allow"]
    assert DATA not in rejected.data


def test_disable_download_keeps_the_newest_draft_s_progress_in_get(new_app: NewApp) -> None:
    """R-30."""
    app = new_app(TUS_DISABLE_DOWNLOAD="true")
    response = app.request("GET", app.create(DATA), version_field(9))
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Upload-Offset"] == "10"


# -- redirects to presigned URLs -------------------------------------------------------------------


@pytest.fixture
def presigned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str, str]]:
    """The arguments of each URL that the store presigned."""
    calls: list[tuple[float, str, str]] = []

    def presigned_url(self: MemoryContent, lifetime: float, *, type: str, disposition: str) -> str:
        calls.append((lifetime, type, disposition))
        return "https://s3.example/file?signature"

    monkeypatch.setattr(MemoryContent, "presigned_url", presigned_url)
    return calls


def test_download_redirect_sends_get_to_a_presigned_url(
    new_app: NewApp, presigned: list[tuple[float, str, str]]
) -> None:
    app = new_app(TUS_DOWNLOAD_REDIRECT="1m30s")
    pairs = "filename YS50eHQ=,filetype dGV4dC9wbGFpbg=="
    fields = {**TUS, **OCTETS, "Upload-Length": "10", "Upload-Metadata": pairs}
    path = path_of(app.request("POST", "/files", fields, DATA))
    response = app.request("GET", path, {"Range": "bytes=0-1"})
    assert (response.status_code, response.data) == (307, b"")
    assert response.headers["Location"] == "https://s3.example/file?signature"
    assert response.headers["Cache-Control"] == "no-store"
    assert presigned == [(90.0, "text/plain", 'inline; filename="a.txt"')]


def test_without_the_setting_no_url_is_presigned(
    new_app: NewApp, presigned: list[tuple[float, str, str]]
) -> None:
    app = new_app()
    assert app.request("GET", app.create(DATA), {}).data == DATA
    assert presigned == []


def test_a_get_with_progress_is_not_redirected(
    new_app: NewApp, presigned: list[tuple[float, str, str]]
) -> None:
    """R-30, R-32: the response of S3 would not contain the offset."""
    app = new_app(TUS_DOWNLOAD_REDIRECT="60s")
    response = app.request("GET", app.create(DATA), version_field(9))
    assert (response.status_code, response.data) == (200, DATA)
    assert response.headers["Upload-Offset"] == "10"
    assert presigned == []


def test_failure_to_presign_is_a_temporary_error(
    new_app: NewApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 fetches credentials when they are needed, which may fail for a while."""

    def presigned_url(self: MemoryContent, lifetime: float, *, type: str, disposition: str) -> str:
        raise StoreUnavailable("GetObject at /var/secret")

    monkeypatch.setattr(MemoryContent, "presigned_url", presigned_url)
    app = new_app(TUS_DOWNLOAD_REDIRECT="60s")
    response = app.request("GET", app.create(DATA), {})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert "secret" not in response.text


def test_presigning_without_credentials_fails() -> None:
    store = make_store(Settings.from_environ({"TUS_S3_BUCKET": "bucket"}))
    with pytest.raises(StoreUnavailable) as caught:
        store._context.bucket.presigned_url("key", 60, type="a/b", disposition="inline")
    assert isinstance(caught.value.__cause__, NoCredentialsError)


# -- an on_finish hook that raises -----------------------------------------------------------------


class FailingOnce:
    """A hook that raises at its first call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, upload: FinishedUpload) -> None:
        self.calls.append(upload.id)
        if len(self.calls) == 1:
            raise ValueError("no disk")


@pytest.mark.parametrize(
    "fields",
    [{**TUS, **OCTETS, "Upload-Length": "10"}, *map(complete_fields, [None, *INTEROPS])],
    ids=["tus", "none", *map(str, INTEROPS)],
)
def test_if_on_finish_raises_the_reply_to_a_creation_has_the_location(
    new_app: NewApp, fields: dict[str, str]
) -> None:
    """The client need not send the file again: a HEAD retries the hook."""
    app = new_app(FailingOnce())
    rejected = app.request("POST", "/files", fields, DATA)
    assert rejected.status_code == 503
    assert rejected.headers["Upload-Offset"] == "10"
    path = path_of(rejected)
    assert rejected.headers["Location"] == f"http://localhost{path}"
    assert app.request("GET", path, version_field(8)).status_code == 409
    assert app.request("HEAD", path, TUS).headers["Upload-Offset"] == "10"
    assert app.request("GET", path, {}).data == DATA


def test_if_on_finish_raises_the_reply_to_a_concatenation_has_the_location(new_app: NewApp) -> None:
    app = new_app(FailingOnce())
    fields = {**TUS, **OCTETS, "Upload-Length": "10", "Upload-Concat": "partial"}
    part = path_of(app.request("POST", "/files", fields, DATA))
    rejected = app.request("POST", "/files", {**TUS, "Upload-Concat": f"final;{part} {part}"})
    assert (rejected.status_code, rejected.headers["Upload-Offset"]) == (503, "20")
    assert app.request("HEAD", path_of(rejected), TUS).headers["Upload-Length"] == "20"
    assert app.request("GET", path_of(rejected), {}).data == 2 * DATA


@pytest.mark.parametrize("interop", [None, *INTEROPS])
def test_if_on_finish_raises_the_reply_to_an_append_has_no_location(
    new_app: NewApp, interop: int | None
) -> None:
    app = new_app(FailingOnce())
    path = app.create(DATA[:4])
    fields = {"Upload-Offset": "4", "Content-Type": "application/partial-upload"}
    dialect = {**TUS, **OCTETS} if interop is None else complete_fields(interop)
    rejected = app.request("PATCH", path, {**fields, **dialect}, DATA[4:])
    assert rejected.status_code == 503
    assert "Location" not in rejected.headers
    assert app.request("HEAD", path, TUS).headers["Upload-Offset"] == "10"


def test_a_get_of_the_newest_draft_retries_the_hook_and_returns_the_content(
    new_app: NewApp,
) -> None:
    """R-30."""
    app = new_app(FailingOnce())
    path = path_of(app.request("POST", "/files", complete_fields(9), DATA))
    response = app.request("GET", path, version_field(9))
    assert (response.status_code, response.data) == (200, DATA)
    assert response.headers["Upload-Complete"] == "?1"


def test_a_get_of_the_newest_draft_reports_the_progress_of_an_unfinished_upload(
    new_app: NewApp,
) -> None:
    """R-30."""
    app = new_app()
    path = app.create(DATA[:4])
    response = app.request("GET", path, version_field(9))
    assert (response.status_code, response.data) == (204, b"")
    assert (response.headers["Upload-Offset"], response.headers["Upload-Complete"]) == ("4", "?0")
    assert "Upload-Limit" in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    assert app.request("GET", path, version_field(8)).status_code == 409


REQUESTS: list[dict[str, Any]] = [
    {"method": "POST", "path": "/files", "headers": {**TUS, "Upload-Length": "5"}},
    {
        "method": "POST",
        "path": "/files",
        "headers": {**TUS, **OCTETS, "Upload-Length": "5"},
        "data": DATA[:5],
    },
    {"method": "HEAD", "path": "/files/aVerySecretIdOf22Bytes", "headers": TUS},
    {
        "method": "PATCH",
        "path": "/files/aVerySecretIdOf22Bytes",
        "headers": {**TUS, **OCTETS, "Upload-Offset": "0"},
        "data": DATA,
    },
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_the_log_contains_no_id_if_s3_is_unreachable(
    request_: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Errors of boto3 contain the URL of the object, and so the id of the upload."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    settings = Settings.from_environ(
        {
            "TUS_S3_BUCKET": "uploads",
            "TUS_S3_ENDPOINT": "http://127.0.0.1:9",
            "TUS_LOCK_DIR": str(tmp_path),
        }
    )
    client = LintedClient(TusMiddleware(NotFound(), settings=settings))
    response = client.open(**request_)
    assert response.status_code == (423 if request_["method"] == "HEAD" else 503)
    assert "Could not connect" in caplog.text
    assert "http://127.0.0.1:9 cannot be reached: check TUS_S3_ENDPOINT" in caplog.text
    assert "Traceback" not in caplog.text
    assert not re.search(r"aVerySecretId|9/uploads/[A-Za-z0-9_-]", caplog.text)
