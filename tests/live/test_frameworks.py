"""Around a Flask app, a Pyramid app, a Django app and a bare callable, mounted anywhere."""

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

OTHERS = [
    "pkg_resources is deprecated",
    "Deprecated call to `pkg_resources",
    "'cgi' is deprecated",
    "unclosed file",
]
"""What Pyramid 2 and WebOb make Python and setuptools say."""


def ask(server: Gunicorn, method: str, path: str, body: bytes | None = None) -> Response:
    """A request that knows nothing of tus."""
    with Connection(server.port) as connection:
        connection.request(method, path, body=body)
        return connection.read_response()


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_uploads_work_beside_the_application(
    app: str, new_deployment: Callable[..., Deployment]
) -> None:
    """The application's own routes are untouched, at the root and below /app."""
    deployment = new_deployment()
    server = deployment.start(workers=1, app=app, ignored=OTHERS)
    for mount in ("", "/app"):
        assert ask(server, "GET", f"{mount}/hello").body.decode() == f"hello from {mount}"
        assert ask(server, "POST", f"{mount}/echo", FILE[:MIB]).body == FILE[:MIB]
        assert ask(server, "GET", f"{mount}/files-x").body == b"the app's own"
        missing = ask(server, "GET", f"{mount}/nothing")
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


def test_a_base_path_and_a_public_url_of_ones_own(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment(TUS_BASE_PATH="/api/v1/up", TUS_PUBLIC_URL="https://example.com/x")
    server = deployment.start(workers=1, app=APPS["bare"])
    created = TusClient(server.port).request(
        "POST", "/api/v1/up", {"Upload-Length": "0", **VERSION}
    )
    assert created["Location"].startswith("https://example.com/x/")
    assert ask(server, "GET", "/files/x").status == 404
    assert ask(server, "GET", "/hello").body == b"hello from "


def test_a_forwarded_host_is_not_believed(tus: TusClient) -> None:
    fields = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    created = tus.request("POST", "/files", {**fields, "Upload-Length": "0"})
    assert created["Location"].startswith(f"http://127.0.0.1:{tus.port}/files/")
