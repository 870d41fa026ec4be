"""The middleware that the first request creates."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from flask import Flask

from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.frameworks.flask import Tus
from tus_wsgi.wsgi.worker import ServerUnsupported


@pytest.fixture
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn's master, which imports the app before gevent patches (`-k gevent --preload`)."""
    monkeypatch.setitem(sys.modules, "gunicorn.workers.ggevent", ModuleType("ggevent"))
    monkeypatch.setattr("tus_wsgi.wsgi.worker.is_patched", lambda: False)


@pytest.mark.usefixtures("unpatched", "tus_store")
def test_an_app_that_is_preloaded_for_unpatched_gevent_workers_does_not_start() -> None:
    """Otherwise each request of the app is a 500, and not only those for uploads."""
    with pytest.raises(ServerUnsupported, match="gevent must patch"):
        Tus(Flask(__name__))


@pytest.mark.usefixtures("unpatched")
def test_the_server_is_checked_before_a_client_of_s3_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client would raise RecursionError, which does not say what to do."""
    monkeypatch.setattr("tus_wsgi.app.new_session", pytest.fail)
    settings = Settings.from_environ({"TUS_S3_BUCKET": "uploads"})
    with pytest.raises(ServerUnsupported, match="gevent must patch"):
        TusMiddleware(Flask(__name__), settings=settings)
