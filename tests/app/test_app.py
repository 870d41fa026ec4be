"""Build the WSGI application from environment variables, without an S3 server."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.wsgi.linting import LintedClient
from tus_wsgi import Settings, SettingsError, TusMiddleware, create_app
from tus_wsgi.app import default_lock_dir, make_locker, make_store
from tus_wsgi.domain.model import GIB, MIB, TIB, UploadId
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.stores.s3 import S3Store

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The required settings, with an endpoint that does not listen."""
    return {
        "TUS_S3_BUCKET": "bucket",
        "TUS_S3_ENDPOINT": "http://127.0.0.1:9",
        "TUS_LOCK_DIR": str(tmp_path / "locks"),
    }


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the application"]


def test_from_env_creates_a_middleware(environ: dict[str, str]) -> None:
    client = LintedClient(TusMiddleware.from_env(app, environ=environ))
    assert client.get("/").data == b"the application"
    options = client.options("/files")
    assert options.status_code == 204
    assert options.headers["Tus-Max-Size"] == str(5 * TIB)
    assert options.headers["Access-Control-Allow-Origin"] == "*"


def test_settings_take_effect(environ: dict[str, str]) -> None:
    environ |= {
        "TUS_BASE_PATH": "/up/",
        "TUS_MAX_SIZE": "1GiB",
        "TUS_DISABLE_CORS": "true",
        "TUS_DISABLE_TERMINATION": "true",
        "TUS_DISABLE_DOWNLOAD": "true",
    }
    client = LintedClient(TusMiddleware.from_env(app, environ=environ))
    assert client.get("/files").data == b"the application"
    options = client.options("/up")
    assert options.headers["Tus-Max-Size"] == str(GIB)
    assert "termination" not in options.headers["Tus-Extension"].split(",")
    assert "Access-Control-Allow-Origin" not in options.headers
    for method in ("GET", "DELETE"):
        rejected = client.open("/up/a", method=method, headers=TUS)
        assert rejected.status_code == 405
        assert method not in rejected.headers["Allow"]


def test_the_base_path_may_be_the_root(environ: dict[str, str]) -> None:
    client = LintedClient(TusMiddleware.from_env(app, environ={**environ, "TUS_BASE_PATH": "/"}))
    assert client.options("/").status_code == 204
    assert client.options("/anything").status_code == 204


def test_only_named_origins_are_allowed(environ: dict[str, str]) -> None:
    environ |= {"TUS_CORS_ALLOW_ORIGIN": "https://a.example", "TUS_CORS_MAX_AGE": "1m"}
    client = LintedClient(TusMiddleware.from_env(app, environ=environ))
    preflight = {"Access-Control-Request-Method": "PATCH"}
    allowed = client.options("/files", headers={"Origin": "https://a.example", **preflight})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert allowed.headers["Access-Control-Max-Age"] == "60"
    other = client.options("/files", headers={"Origin": "https://b.example", **preflight})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_without_a_mapping_the_environment_of_the_process_is_read(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert LintedClient(TusMiddleware.from_env(app)).options("/files").status_code == 204
    assert LintedClient(create_app()).get("/").status_code == 404


def test_the_error_lists_every_mistake(environ: dict[str, str]) -> None:
    environ |= {"TUS_S3_PART_SIZE": "16,5MiB", "TUS_BASE_PAHT": "/x"}
    del environ["TUS_S3_BUCKET"]
    with pytest.raises(SettingsError) as caught:
        TusMiddleware.from_env(app, environ=environ)
    assert len(caught.value.mistakes) == 3
    for name in ("TUS_S3_PART_SIZE", "TUS_BASE_PAHT", "TUS_S3_BUCKET"):
        assert name in str(caught.value)
    with pytest.raises(SettingsError):
        create_app(environ)


def test_create_app_serves_only_uploads(environ: dict[str, str]) -> None:
    client = LintedClient(create_app(environ))
    assert client.options("/files").status_code == 204
    response = client.get("/")
    assert response.status_code == 404
    assert response.data
    assert response.headers["Content-Length"] == str(len(response.data))


def test_start_sends_no_request_to_s3(environ: dict[str, str]) -> None:
    """A server starts while S3 is unavailable, and no import or fork shares a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environ["TUS_S3_ENDPOINT"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert LintedClient(create_app(environ)).options("/files").status_code == 204
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_arguments_replace_the_store_and_the_locker(environ: dict[str, str]) -> None:
    settings = Settings.from_environ({**environ, "TUS_LOCK_DIR": "/nowhere/at/all"})
    middleware = TusMiddleware(
        app, settings=settings, store=MemoryStore(), locker=MemoryLocker(timeout=1)
    )
    client = LintedClient(middleware)
    created = client.post("/files", headers={**TUS, "Upload-Length": "0"})
    assert created.status_code == 201
    assert client.head(created.headers["Location"], headers=TUS).headers["Upload-Length"] == "0"


def test_ids_are_random(environ: dict[str, str]) -> None:
    settings = Settings.from_environ(environ)
    middleware = TusMiddleware(
        app, settings=settings, store=MemoryStore(), locker=MemoryLocker(timeout=1)
    )
    client = LintedClient(middleware)
    urls = {
        client.post("/files", headers={**TUS, "Upload-Length": "0"}).headers["Location"]
        for _ in range(50)
    }
    assert len(urls) == 50
    assert all(len(url.rpartition("/")[2]) == 22 for url in urls)


def test_the_store_has_the_settings(environ: dict[str, str], tmp_path: Path) -> None:
    environ |= {
        "TUS_S3_MAX_OBJECT_SIZE": "10GiB",
        "TUS_S3_OBJECT_PREFIX": "data",
        "TUS_S3_METADATA_OBJECT_PREFIX": "meta",
        "TUS_MEMORY_BUDGET": "64MiB",
        "TUS_SPOOL_DIR": str(tmp_path),
        "TUS_S3_CONCURRENT_PART_UPLOADS": "3",
    }
    store = make_store(Settings.from_environ(environ))
    assert isinstance(store, S3Store)
    assert store.max_size == 10 * GIB
    context = store._context
    assert (context.keys.object_prefix, context.keys.metadata_prefix) == ("data", "meta")
    assert context.spool.memory.available + context.tails._budget == 64 * MIB
    assert context.spool._directory == str(tmp_path)
    assert context.part_executor._max_workers == 3  # type: ignore[attr-defined]


def test_locker_setting_selects_memory_or_file(environ: dict[str, str], tmp_path: Path) -> None:
    for kind in ("memory", "file"):
        locker = make_locker(Settings.from_environ({**environ, "TUS_LOCKER": kind}))
        with locker.lock(UploadId("a"), on_release_request=lambda: None) as lock:
            lock.assert_held()
    assert (tmp_path / "locks").is_dir()


def test_default_lock_directory_is_private_to_the_user(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    directory = default_lock_dir()
    assert directory == tmp_path / f"tus-wsgi-{os.getuid()}"
    assert default_lock_dir() == directory
    del environ["TUS_LOCK_DIR"]
    make_locker(Settings.from_environ(environ))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
