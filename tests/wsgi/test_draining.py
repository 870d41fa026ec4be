"""A process that is about to stop."""

from __future__ import annotations

import time

import pytest
from werkzeug.exceptions import NotFound

from tests.wsgi.linting import LintedClient
from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.wsgi import middleware
from tus_wsgi.wsgi.draining import ACCEPT_SECONDS, LiveBodies

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each sleep; nothing sleeps."""
    sleeps: list[float] = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    return sleeps


def test_an_interrupted_client_is_answered_when_a_retry_reaches_another_process(
    sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveBodies()
    monkeypatch.setattr(middleware, "LIVE_BODIES", live)
    app = TusMiddleware(
        NotFound(),
        settings=Settings.from_environ({"TUS_S3_BUCKET": "bucket"}),
        store=MemoryStore(),
        locker=MemoryLocker(timeout=0.5),
    )
    client = LintedClient(app)
    created = client.post("/files", headers=TUS | {"Upload-Length": "10"})
    live.drain()
    fields = TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    response = client.patch(created.headers["Location"], headers=fields, data=b"0123456789")
    assert response.status_code == 503
    assert sum(sleeps) == pytest.approx(ACCEPT_SECONDS, abs=0.5)
    assert client.head(created.headers["Location"], headers=TUS).status_code == 200
    assert len([seconds for seconds in sleeps if seconds]) == 1, "only an interrupted body waits"


def test_the_wait_counts_from_the_beginning_of_the_drain(
    sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveBodies()
    live.wait_until_unreachable()
    live.drain()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + ACCEPT_SECONDS + 1)
    live.drain()
    live.wait_until_unreachable()
    assert sleeps == []
