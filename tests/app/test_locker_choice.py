"""Select the locker from the settings, and reject unsafe combinations."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from demo.seaweedfs import SeaweedFS
from tests.harness.servers.dynamodb import DynamoDB
from tests.harness.servers.gunicorn import Gunicorn
from tests.lockers.locking import Holder, ignore_request
from tus_wsgi import Settings, SettingsError, TusMiddleware
from tus_wsgi.app import make_locker
from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.domain.events import Event, LockAcquired, LockReleased, LockTimedOut
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.records import LockerUnsupported

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

ID = UploadId("a")


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def memory_middleware(**more: Any) -> TusMiddleware:
    environ = {"TUS_S3_BUCKET": "uploads", "TUS_LOCKER": "memory", **more}
    return TusMiddleware.from_env(app, environ=environ)


def options(middleware: TusMiddleware, *, multiprocess: bool) -> str:
    environ = create_environ(
        "/files", method="OPTIONS", multiprocess=multiprocess, input_stream=io.BytesIO()
    )
    return run_wsgi_app(middleware, environ)[1]


def test_memory_rejects_requests_in_a_server_with_several_processes(region: None) -> None:
    """Not every server announces its number of workers in the environment."""
    middleware = memory_middleware()
    assert options(middleware, multiprocess=False).startswith("204")
    with pytest.raises(SettingsError, match="TUS_LOCKER: memory is for one process"):
        options(middleware, multiprocess=True)


@pytest.mark.live
@pytest.mark.parametrize("arguments", [(), ("--preload",)])
def test_gunicorn_does_not_start_two_workers_with_memory(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """The configuration file also checks `--workers`, which is not in the environment."""
    environ = {"TUS_S3_BUCKET": "uploads", "TUS_LOCKER": "memory", "AWS_DEFAULT_REGION": "nowhere"}
    with Gunicorn(environ, directory=tmp_path / "one", workers=1, arguments=arguments) as server:
        assert len(server.workers()) == 1
    with pytest.raises(AssertionError, match="TUS_LOCKER: memory is for one process") as caught:
        Gunicorn(environ, directory=tmp_path / "two", workers=2, arguments=arguments)
    assert "Booting worker" not in str(caught.value)


def test_file_locks_with_many_hosts_log_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"TUS_S3_BUCKET": "uploads", "TUS_LOCK_DIR": str(tmp_path / "locks")}
    make_locker(Settings.from_environ(environ))
    assert not caplog.records
    make_locker(Settings.from_environ({**environ, "TUS_HOSTS": "many"}))
    assert "TUS_LOCKER=file works on a single host only" in caplog.text


def test_file_locks_in_kubernetes_log_a_warning_unless_the_hosts_are_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pod is a host of its own."""
    environ = {"TUS_S3_BUCKET": "uploads", "TUS_LOCK_DIR": str(tmp_path / "locks")}
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("TUS_HOSTS", "one")
    make_locker(Settings.from_environ(environ))
    assert not caplog.records
    monkeypatch.delenv("TUS_HOSTS")
    make_locker(Settings.from_environ(environ))
    assert "each pod of Kubernetes is a host of its own" in caplog.text


def test_locker_setting_selects_dynamodb(
    dynamodb: DynamoDB, lock_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in dynamodb.environ().items():
        monkeypatch.setenv(name, value)
    environ = {"TUS_S3_BUCKET": "b", "TUS_LOCKER": "dynamodb", "TUS_LOCK_TABLE": lock_table}
    with make_locker(Settings.from_environ(environ)).lock(ID, on_release_request=ignore_request):
        assert [item for item in dynamodb.items(lock_table) if "holder" in item]
    with pytest.raises(LockerUnsupported, match="TUS_LOCK_TABLE"):
        make_locker(Settings.from_environ({**environ, "TUS_LOCK_TABLE": "nowhere"}))


@pytest.mark.parametrize(
    ("settings", "prefix"),
    [
        ({}, "locks/"),
        ({"TUS_S3_OBJECT_PREFIX": "up"}, "up/locks/"),
        ({"TUS_S3_OBJECT_PREFIX": "up/", "TUS_S3_METADATA_OBJECT_PREFIX": "m"}, "m/locks/"),
        ({"TUS_S3_LOCK_OBJECT_PREFIX": "elsewhere-"}, "elsewhere-"),
    ],
)
def test_locks_in_the_bucket_have_their_own_prefix(
    s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], prefix: str
) -> None:
    for name, value in s3.environ().items():
        monkeypatch.setenv(name, value)
    environ = {
        "TUS_S3_BUCKET": s3.bucket,
        "TUS_S3_ENDPOINT": s3.endpoint,
        "TUS_LOCKER": "s3",
        **settings,
    }

    def keys() -> list[str]:
        listed = s3.client().list_objects_v2(Bucket=s3.bucket, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    with make_locker(Settings.from_environ(environ)).lock(ID, on_release_request=ignore_request):
        assert len(keys()) == 1
    assert keys() == []


def test_observers_receive_the_events_of_locks(region: None) -> None:
    events: list[Event] = []
    environ = {
        "TUS_S3_BUCKET": "uploads",
        "TUS_LOCKER": "memory",
        "TUS_ACQUIRE_LOCK_TIMEOUT": "0",
    }
    locker = make_locker(Settings.from_environ(environ), [events.append])
    with Holder(locker):
        with pytest.raises(UploadLocked):
            locker.lock(ID, on_release_request=ignore_request).__enter__()
        assert [type(event) for event in events] == [LockAcquired, LockTimedOut]
    assert isinstance(events[-1], LockReleased)
    with pytest.raises(KeyError), locker.lock(ID, on_release_request=ignore_request):
        raise KeyError
    assert [type(event) for event in events[3:]] == [LockAcquired, LockReleased]
