"""The middleware around Flask, Pyramid, Django and plain WSGI apps, mounted at two paths."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import VERSION, TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

FILE = some_bytes(PART_SIZE + 10)

APPS = {
    "flask": "tests.live.apps.with_flask:application",
    "pyramid": "tests.live.apps.with_pyramid:application",
    "django": "tests.live.apps.with_django:application",
    "bare": "tests.live.apps.bare:application",
}

IGNORED_WARNINGS = [
    "pkg_resources is deprecated",
    "Deprecated call to `pkg_resources",
    "'cgi' is deprecated",
    "unclosed file",
]
"""Warnings that Pyramid 2 and WebOb cause."""


def request(server: Gunicorn, method: str, path: str, body: bytes | None = None) -> Response:
    """Send a request without tus fields."""
    with Connection(server.port) as connection:
        connection.request(method, path, body=body)
        return connection.read_response()


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_uploads_and_the_app_s_own_routes_work(
    app: str, new_deployment: Callable[..., Deployment]
) -> None:
    """The middleware handles only the upload routes, at the root and at /app."""
    deployment = new_deployment()
    server = deployment.start(workers=1, app=app, ignored=IGNORED_WARNINGS)
    for mount in ("", "/app"):
        assert request(server, "GET", f"{mount}/hello").body.decode() == f"hello from {mount}"
        assert request(server, "POST", f"{mount}/echo", FILE[:MIB]).body == FILE[:MIB]
        assert request(server, "GET", f"{mount}/files-x").body == b"the app's own"
        missing = request(server, "GET", f"{mount}/nothing")
        assert (missing.status, missing.get("Tus-Resumable")) == (404, None)

        tus = TusClient(server.port, base=f"{mount}/files")
        created = tus.request("POST", tus.base, {"Upload-Length": str(len(FILE))})
        assert created.status == 201
        root = f"http://127.0.0.1:{server.port}"
        assert created["Location"].startswith(f"{root}{mount}/files/")
        path = created["Location"].removeprefix(root)
        tus.append(path, 0, FILE[:1000])
        assert tus.offset(path) == 1000
        tus.append(path, 1000, FILE[1000:])
        assert tus.request("GET", path).body == FILE
        assert deployment.read_object(path) == FILE


def test_base_path_and_public_url_can_be_set(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment(TUS_BASE_PATH="/api/v1/up", TUS_PUBLIC_URL="https://example.com/x")
    server = deployment.start(workers=1, app=APPS["bare"])
    created = TusClient(server.port).request(
        "POST", "/api/v1/up", {"Upload-Length": "0", **VERSION}
    )
    assert created["Location"].startswith("https://example.com/x/")
    assert request(server, "GET", "/files/x").status == 404
    assert request(server, "GET", "/hello").body == b"hello from "


def test_a_forwarded_host_is_ignored_by_default(tus: TusClient) -> None:
    fields = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    created = tus.request("POST", "/files", {**fields, "Upload-Length": "0"})
    assert created["Location"].startswith(f"http://127.0.0.1:{tus.port}/files/")
