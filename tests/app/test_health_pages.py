"""The pages of the health beside the uploads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.exceptions import NotFound

from demo.seaweedfs import SeaweedFS
from tests.wsgi.linting import LintedClient
from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.domain.errors import LockerUnavailable
from tus_wsgi.domain.events import Event
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.wsgi.health import PeriodicCheck


def client_of(environ: dict[str, str], **more: Any) -> LintedClient:
    settings = Settings.from_environ({"TUS_HEALTH_PATH": "/health", **environ})
    return LintedClient(TusMiddleware(NotFound(), settings=settings, **more))


def in_memory(locker: Locker | None = None, **environ: str) -> LintedClient:
    settings = {"TUS_S3_BUCKET": "bucket"} | environ
    locker = locker or MemoryLocker(timeout=0.1)
    return client_of(settings, store=MemoryStore(), locker=locker)


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_the_application_does_not_answer_for_the_server(path: str) -> None:
    response = in_memory().get(path)
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def test_without_a_path_the_application_answers() -> None:
    assert in_memory(TUS_HEALTH_PATH="").get("/health").status_code == 404


def patient_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checks take long, so that the test does not depend on the machine."""
    monkeypatch.setattr("tus_wsgi.app.CHECK_TIMEOUT", 30)
    defaults = PeriodicCheck.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout", 30)


class BrokenLocker(MemoryLocker):
    @contextmanager
    def lock(self, *_: object, **__: object) -> Iterator[Lock]:
        raise LockerUnavailable("a call")
        yield


def test_a_server_without_locks_lives_but_is_not_ready() -> None:
    client = in_memory(BrokenLocker(timeout=0.1))
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json == {"ready": False, "because": ["locks"]}
    assert client.get("/health/live").json == {"live": True}


def test_s3_and_the_locks_are_asked_without_events_of_uploads(
    s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in s3.environ().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, text)
    patient_check(monkeypatch)
    events: list[Event] = []
    environ = {name: text for name, text in s3.environ().items() if name.startswith("TUS_")}
    client = client_of(
        environ | {"TUS_LOCK_DIR": str(tmp_path / "locks")}, observers=[events.append]
    )
    assert client.get("/health/ready").json == {"ready": True}
    assert events == []


def test_an_s3_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    environ = {"TUS_S3_BUCKET": "bucket", "TUS_S3_ENDPOINT": "http://127.0.0.1:9"}
    client = client_of(environ | {"TUS_LOCK_DIR": str(tmp_path / "locks")})
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json == {"ready": False, "because": ["s3"]}
