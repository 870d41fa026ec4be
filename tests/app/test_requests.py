"""All dialects together, as the environment assembles them, over a store in memory."""

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
from tus_wsgi.app import make_store
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.hooks import FinishedUpload, OnFinish
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryContent, MemoryStore

DATA = b"0123456789"
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}
INTEROPS = [3, 5, 6, 8, 9]


def named(interop: int | None) -> dict[str, str]:
    return {} if interop is None else {"Upload-Draft-Interop-Version": str(interop)}


def complete(interop: int | None) -> dict[str, str]:
    said = {"Upload-Incomplete": "?0"} if interop == 3 else {"Upload-Complete": "?1"}
    return {**named(interop), **said}


class Site:
    """The middleware that some variables describe, and a client of it."""

    def __init__(self, environ: dict[str, str], on_finish: OnFinish | None = None) -> None:
        self.middleware = TusMiddleware(
            NotFound(),
            settings=Settings.from_environ(environ),
            on_finish=on_finish,
            store=MemoryStore(),
            locker=MemoryLocker(timeout=1),
        )
        self._client = LintedClient(self.middleware)

    def ask(
        self, method: str, path: str, fields: dict[str, str], data: bytes = b""
    ) -> TestResponse:
        return self._client.open(path, method=method, headers=fields, data=data)

    def create(self, data: bytes = b"") -> str:
        """The path of a new upload of ten bytes."""
        fields = {**TUS, **OCTETS, "Upload-Length": str(len(DATA))}
        return path_of(self.ask("POST", "/files", fields, data))


def path_of(response: TestResponse) -> str:
    return urlsplit(response.headers["Location"]).path


@pytest.fixture
def new_site(tmp_path: Path) -> Callable[..., Site]:
    def new_site(on_finish: OnFinish | None = None, **environ: str) -> Site:
        needed = {"TUS_S3_BUCKET": "bucket", "TUS_LOCK_DIR": str(tmp_path / "locks")}
        return Site({**needed, **environ}, on_finish)

    return new_site


NewSite = Callable[..., Site]


# -- requests that name no protocol ----------------------------------------------------------------


def test_a_bare_delete_removes_the_upload_that_it_names(new_site: NewSite) -> None:
    """C-03, R-50: whoever knows an upload's URL may use it; that of the IETF needs no version."""
    site = new_site()
    path = site.create()
    response = site.ask("DELETE", path, {})
    assert (response.status_code, response.data) == (204, b"")
    assert site.ask("HEAD", path, TUS).status_code == 404


def test_a_bare_head_says_how_far_it_is(new_site: NewSite) -> None:
    """C-03, R-30."""
    site = new_site()
    response = site.ask("HEAD", site.create(DATA[:4]), {})
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == "4"
    assert response.headers["Upload-Complete"] == "?0"


def test_no_bare_request_begins_an_upload_or_writes_to_one(new_site: NewSite) -> None:
    """C-03."""
    site = new_site()
    path = site.create(DATA[:4])
    assert site.ask("POST", "/files", {"Upload-Length": "5"}).status_code == 412
    append = site.ask("PATCH", path, {**OCTETS, "Upload-Offset": "4"}, DATA[4:])
    assert append.status_code == 412
    assert site.ask("HEAD", path, TUS).headers["Upload-Offset"] == "4"


def test_a_bare_options_is_answered_in_both_protocols(new_site: NewSite) -> None:
    """C-05, R-60."""
    site = new_site(TUS_MAX_SIZE="1000")
    response = site.ask("OPTIONS", "/files", {})
    assert response.headers["Tus-Max-Size"] == "1000"
    assert response.headers["Upload-Limit"] == "max-size=1000, min-size=0"
    assert "Upload-Limit" not in site.ask("OPTIONS", "/files", TUS).headers


def test_the_limits_are_the_whole_server_s_where_uploads_are_everywhere(new_site: NewSite) -> None:
    """R-61."""
    # Python's linter wants a slash there; gunicorn hands on what came.
    asked = {**create_environ(method="OPTIONS", headers=named(9)), "PATH_INFO": "*"}
    everywhere = new_site(TUS_BASE_PATH="/", TUS_MAX_SIZE="1000")
    _, status, fields = run_wsgi_app(everywhere.middleware, dict(asked))
    assert (status, fields["Upload-Limit"]) == ("204 No Content", "max-size=1000, min-size=0")
    _, status, _ = run_wsgi_app(new_site().middleware, dict(asked))
    assert status == "404 NOT FOUND", "it is the application's"


@pytest.mark.parametrize("version", ["0.2.2", "1.0.1"])
def test_a_wrong_version_is_none_of_the_others(new_site: NewSite, version: str) -> None:
    """C-02."""
    site = new_site()
    path = site.create()
    assert site.ask("DELETE", path, {"Tus-Resumable": version}).status_code == 412
    assert site.ask("HEAD", path, TUS).status_code == 200


# -- what is switched off --------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [TUS, {}, *map(named, INTEROPS)], ids=str)
def test_without_terminations_no_delete_removes_anything(
    new_site: NewSite, fields: dict[str, str]
) -> None:
    site = new_site(TUS_DISABLE_TERMINATION="true")
    path = site.create()
    refused = site.ask("DELETE", path, fields)
    assert refused.status_code == 405
    assert "DELETE" not in refused.headers["Allow"]
    assert site.ask("HEAD", path, TUS).status_code == 200


@pytest.mark.parametrize("fields", [TUS, {}, *map(named, [3, 5, 6, 8])], ids=str)
def test_without_downloads_no_get_gives_content(new_site: NewSite, fields: dict[str, str]) -> None:
    site = new_site(TUS_DISABLE_DOWNLOAD="true")
    refused = site.ask("GET", site.create(DATA), fields)
    assert refused.status_code == 405
    assert "GET" not in refused.headers["Allow"]
    assert DATA not in refused.data


def test_without_downloads_the_newest_draft_s_get_is_a_head(new_site: NewSite) -> None:
    """R-30."""
    site = new_site(TUS_DISABLE_DOWNLOAD="true")
    response = site.ask("GET", site.create(DATA), named(9))
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Upload-Offset"] == "10"


# -- files that are read elsewhere -----------------------------------------------------------------


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str, str]]:
    """The links that were asked for, of a store that has some."""
    asked: list[tuple[float, str, str]] = []

    def presigned_url(self: MemoryContent, lifetime: float, *, type: str, disposition: str) -> str:
        asked.append((lifetime, type, disposition))
        return "https://s3.example/file?signature"

    monkeypatch.setattr(MemoryContent, "presigned_url", presigned_url)
    return asked


def test_a_get_may_lead_to_the_store(
    new_site: NewSite, links: list[tuple[float, str, str]]
) -> None:
    site = new_site(TUS_DOWNLOAD_REDIRECT="1m30s")
    pairs = "filename YS50eHQ=,filetype dGV4dC9wbGFpbg=="
    fields = {**TUS, **OCTETS, "Upload-Length": "10", "Upload-Metadata": pairs}
    path = path_of(site.ask("POST", "/files", fields, DATA))
    response = site.ask("GET", path, {"Range": "bytes=0-1"})
    assert (response.status_code, response.data) == (307, b"")
    assert response.headers["Location"] == "https://s3.example/file?signature"
    assert response.headers["Cache-Control"] == "no-store"
    assert links == [(90.0, "text/plain", 'inline; filename="a.txt"')]


def test_without_the_setting_no_link_is_made(
    new_site: NewSite, links: list[tuple[float, str, str]]
) -> None:
    site = new_site()
    assert site.ask("GET", site.create(DATA), {}).data == DATA
    assert links == []


def test_a_client_that_may_be_asking_for_the_offset_is_answered_here(
    new_site: NewSite, links: list[tuple[float, str, str]]
) -> None:
    """R-30, R-32: an answer of the store's would not have it."""
    site = new_site(TUS_DOWNLOAD_REDIRECT="60s")
    response = site.ask("GET", site.create(DATA), named(9))
    assert (response.status_code, response.data) == (200, DATA)
    assert response.headers["Upload-Offset"] == "10"
    assert links == []


def test_a_link_that_cannot_be_signed_is_a_fault_that_passes(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials are fetched when they are needed, and may be late."""

    def presigned_url(self: MemoryContent, lifetime: float, *, type: str, disposition: str) -> str:
        raise StoreUnavailable("GetObject at /var/secret")

    monkeypatch.setattr(MemoryContent, "presigned_url", presigned_url)
    site = new_site(TUS_DOWNLOAD_REDIRECT="60s")
    response = site.ask("GET", site.create(DATA), {})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert "secret" not in response.text


def test_without_credentials_there_is_nothing_to_sign_a_link_with() -> None:
    store = make_store(Settings.from_environ({"TUS_S3_BUCKET": "bucket"}))
    with pytest.raises(StoreUnavailable) as caught:
        store._context.bucket.presigned_url("key", 60, type="a/b", disposition="inline")
    assert isinstance(caught.value.__cause__, NoCredentialsError)


# -- an application that refuses -------------------------------------------------------------------


class Doubtful:
    """An application that refuses the first upload that it is told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, upload: FinishedUpload) -> None:
        self.told.append(upload.id)
        if len(self.told) == 1:
            raise ValueError("no disk")


@pytest.mark.parametrize(
    "fields",
    [{**TUS, **OCTETS, "Upload-Length": "10"}, *map(complete, [None, *INTEROPS])],
    ids=["tus", "none", *map(str, INTEROPS)],
)
def test_who_creates_an_upload_that_is_refused_learns_where_it_is(
    new_site: NewSite, fields: dict[str, str]
) -> None:
    """It need not send the file once more: to look at it is to try again."""
    site = new_site(Doubtful())
    refused = site.ask("POST", "/files", fields, DATA)
    assert refused.status_code == 503
    assert refused.headers["Upload-Offset"] == "10"
    path = path_of(refused)
    assert refused.headers["Location"] == f"http://localhost{path}"
    assert site.ask("GET", path, {}).status_code == 409
    assert site.ask("HEAD", path, TUS).headers["Upload-Offset"] == "10"
    assert site.ask("GET", path, {}).data == DATA


def test_so_does_who_joins_uploads(new_site: NewSite) -> None:
    site = new_site(Doubtful())
    fields = {**TUS, **OCTETS, "Upload-Length": "10", "Upload-Concat": "partial"}
    part = path_of(site.ask("POST", "/files", fields, DATA))
    refused = site.ask("POST", "/files", {**TUS, "Upload-Concat": f"final;{part} {part}"})
    assert (refused.status_code, refused.headers["Upload-Offset"]) == (503, "20")
    assert site.ask("HEAD", path_of(refused), TUS).headers["Upload-Length"] == "20"
    assert site.ask("GET", path_of(refused), {}).data == 2 * DATA


@pytest.mark.parametrize("interop", [None, *INTEROPS])
def test_who_appends_to_one_knows_where_it_is(new_site: NewSite, interop: int | None) -> None:
    site = new_site(Doubtful())
    path = site.create(DATA[:4])
    fields = {"Upload-Offset": "4", "Content-Type": "application/partial-upload"}
    said = {**TUS, **OCTETS} if interop is None else complete(interop)
    refused = site.ask("PATCH", path, {**fields, **said}, DATA[4:])
    assert refused.status_code == 503
    assert "Location" not in refused.headers
    assert site.ask("HEAD", path, TUS).headers["Upload-Offset"] == "10"


def test_a_get_of_the_newest_draft_finishes_it_and_has_the_content(new_site: NewSite) -> None:
    """R-30."""
    site = new_site(Doubtful())
    path = path_of(site.ask("POST", "/files", complete(9), DATA))
    response = site.ask("GET", path, named(9))
    assert (response.status_code, response.data) == (200, DATA)
    assert response.headers["Upload-Complete"] == "?1"


def test_a_get_of_the_newest_draft_says_how_far_an_unfinished_one_is(new_site: NewSite) -> None:
    """R-30."""
    site = new_site()
    path = site.create(DATA[:4])
    response = site.ask("GET", path, named(9))
    assert (response.status_code, response.data) == (204, b"")
    assert (response.headers["Upload-Offset"], response.headers["Upload-Complete"]) == ("4", "?0")
    assert "Upload-Limit" in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    assert site.ask("GET", path, named(8)).status_code == 409


ASKED: list[dict[str, Any]] = [
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


@pytest.mark.parametrize("asked", ASKED)
def test_no_line_of_the_log_names_an_upload_when_s3_is_out_of_reach(
    asked: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """boto3's errors hold the URL of the object, and so the upload's id."""
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
    response = client.open(**asked)
    assert response.status_code == (423 if asked["method"] == "HEAD" else 503)
    assert "Could not connect" in caplog.text
    assert not re.search(r"aVerySecretId|9/uploads/[A-Za-z0-9_-]", caplog.text)
