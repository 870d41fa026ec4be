"""Hooks outside of the process: a login that a browser uses, and a worker that is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, request, session
from werkzeug.serving import make_server

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import VERSION, patch_fields
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.timing import wait_until
from tests.hooks.handler import Handler, serving
from tests.hooks.remote_app import EVENTS
from tests.hooks.scenario import metadata
from tests.live.demo_fixtures.chromium import Chromium
from tus_wsgi.testing import uploads_in_memory

pytestmark = pytest.mark.live

GUIDE = Path(__file__).parents[2] / "docs" / "remote-hooks.md"
EXAMPLE = GUIDE.read_text(encoding="utf-8").split("```python\n")[1].partition("```")[0]

DATA = b"0123456789"


# -- a login in a browser --------------------------------------------------------------------------


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the app in docs/remote-hooks.md, with a login, and uploads in memory."""
    with uploads_in_memory():
        monkeypatch.setenv("TUS_HOOKS_WSGI", "/internal/tus")
        names: dict[str, Any] = {"__name__": __name__}
        exec(EXAMPLE, names)  # the example of the documentation
        app: Flask = names["app"]
    app.add_url_rule("/", view_func=lambda: "<!doctype html><title>uploads</title>")
    app.add_url_rule("/login", view_func=log_in, methods=["POST"])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def log_in() -> str:
    session["user"] = request.form["name"]
    return "hello"


UPLOAD = """(async () => {
  const version = {"Tus-Resumable": "1.0.0"};
  const length = {"Upload-Length": "4"};
  const created = await fetch("/files", {method: "POST", headers: {...version, ...length}});
  if (!created.ok) return `${created.status} ${await created.text()}`;
  const type = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"};
  const url = created.headers.get("Location");
  const sent = await fetch(url, {method: "PATCH", headers: {...version, ...type}, body: "data"});
  const file = await fetch(url);
  return `${sent.status} ${await file.text()}`;
})()"""

LOG_IN = """fetch("/login", {
  method: "POST", body: new URLSearchParams({name: "ada"})
}).then((response) => response.text())"""

OUTSIDE = """fetch("/internal/tus", {
  method: "POST", headers: {"Content-Type": "application/json"}, body: '{"Type": "post-finish"}'
}).then((response) => response.status)"""


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_the_login_of_a_page_decides_about_its_uploads(url: str, browser: Chromium) -> None:
    assert len(EXAMPLE.splitlines()) <= 20
    page = browser.open_page(url)
    assert page.evaluate(UPLOAD) == "401 Log in first."
    assert page.evaluate(LOG_IN) == "hello"
    assert page.evaluate(UPLOAD) == "204 data"
    assert page.evaluate(OUTSIDE) == 404


# -- a worker that is killed -----------------------------------------------------------------------


def send(
    server: Gunicorn, method: str, path: str, fields: dict[str, str], body: bytes | None = None
) -> Response:
    with Connection(server.port) as connection:
        connection.request(method, path, {**VERSION, **fields}, body)
        return connection.read_response()


@pytest.mark.long
@pytest.mark.parametrize("event", ["pre-finish", "post-finish", "post-terminate"])
def test_a_killed_worker_tells_the_endpoint_again_with_the_same_id(
    new_deployment: Callable[..., Deployment], event: str
) -> None:
    """D-06"""
    handler = Handler()
    with serving(handler) as hooks:
        environ = {"TUS_HOOKS_HTTP": hooks, "TUS_HOOKS_ENABLED_EVENTS": EVENTS}
        deployment = new_deployment(**environ)
        deployment.expected_errors = r"was sent SIGKILL"
        server = deployment.start(workers=1)
        fields = {"Upload-Length": str(len(DATA)), "Upload-Metadata": metadata("a.txt")}
        path = urlsplit(send(server, "POST", "/files", fields)["Location"]).path
        # A thread delivers this event. Wait for it, so that the kill does not lose it.
        wait_until(lambda: handler.of("post-create"))
        killed: list[int] = []

        def kill_once(document: dict[str, Any], _start_response: object) -> None:
            if document["Type"] == event and not killed:
                killed.extend(server.workers())
                os.kill(killed[0], signal.SIGKILL)

        handler.respond = kill_once
        if event == "post-terminate":
            with pytest.raises((EOFError, OSError)):
                send(server, "DELETE", path, {})
            again = ("DELETE", 204)
        else:
            with pytest.raises((EOFError, OSError)):
                send(server, "PATCH", path, patch_fields(0), DATA)
            again = ("HEAD", 200)
        wait_until(lambda: answers(server, again[0], path) == again[1])
        assert len(killed) == 1
        assert len(handler.ids(event)) >= 2
        assert len(set(handler.ids(event))) == 1


def answers(server: Gunicorn, method: str, path: str) -> int:
    try:
        return send(server, method, path, {}).status
    except (EOFError, OSError):
        return 0
