"""The `authorize` hook under gunicorn, with gevent and gthread workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.proxies.tcp import TcpProxy
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.timing import wait_until
from tests.live.clients.drivers import Job, run_tus_js_client
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

FILE = some_bytes(PART_SIZE + 70_000)
HALF = len(FILE) // 2

APP = "tests.live.apps.authorizing:application"
GTHREAD = ["--worker-class", "gthread", "--threads", "8"]

ADA, EVE = {"X-User": "ada"}, {"X-User": "eve"}
IETF = {"Upload-Draft-Interop-Version": "8"}

every_worker = pytest.mark.parametrize("arguments", [[], GTHREAD], ids=["gevent", "gthread"])


def send(
    server: Gunicorn, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
) -> Response:
    with Connection(server.port) as connection:
        connection.request(method, path, fields, body)
        return connection.read_response()


def create(server: Gunicorn) -> str:
    return TusClient(server.port).create(len(FILE), ADA)


def offset(server: Gunicorn, path: str) -> int | None:
    return send(server, "HEAD", path, {"Tus-Resumable": "1.0.0", **ADA}).offset


@every_worker
def test_a_stranger_with_the_url_does_not_disturb_the_owner(
    new_deployment: Callable[..., Deployment], arguments: list[str]
) -> None:
    """Both protocols. The worker that answers the stranger may not have cached the owner."""
    deployment = new_deployment()
    server = deployment.start(workers=2, app=APP, arguments=arguments)
    path = create(server)
    with Connection(server.port) as owner:
        fields = {**patch_fields(0, Content_Length=str(len(FILE))), **ADA}
        owner.send_head("PATCH", path, fields)
        owner.send(FILE[:HALF])
        owner.wait_until_delivered()
        deployment.wait_for_lock(path)
        for version in ({"Tus-Resumable": "1.0.0"}, IETF):
            for method in ("HEAD", "DELETE", "GET"):
                assert send(server, method, path, {**version, **EVE}).status == 404
        append = {**patch_fields(0), **EVE}
        assert send(server, "PATCH", path, append, FILE).status == 404
        owner.send(FILE[HALF:])
        assert owner.read_response().status == 204
    assert deployment.read_object(path) == FILE


@every_worker
def test_a_hook_that_hangs_blocks_no_other_request(
    new_deployment: Callable[..., Deployment], arguments: list[str]
) -> None:
    deployment = new_deployment()
    server = deployment.start(workers=1, app=APP, arguments=arguments)
    path = create(server)
    with Connection(server.port, timeout=40) as hanging:
        fields = {**patch_fields(0, Content_Length=str(len(FILE))), **ADA, "X-Hook": "hang"}
        hanging.send_head("PATCH", path, fields)
        hanging.send(FILE[:1000])
        hanging.wait_until_delivered()
        assert offset(server, path) == 0
        assert send(server, "PATCH", path, {**patch_fields(0), **ADA}, FILE[:HALF]).status == 204
        (Path(deployment.environ["TUS_LOCK_DIR"]).parent / "continue").touch()
        refused = hanging.read_response()
        assert (refused.status, refused.offset) == (409, HALF)
    assert offset(server, path) == HALF


@every_worker
def test_a_hook_that_raises_or_dies_changes_nothing(
    new_deployment: Callable[..., Deployment], arguments: list[str]
) -> None:
    deployment = new_deployment()
    deployment.expected_errors = r"Traceback|\bERROR\b|ValueError|HookFailed|was sent SIGKILL"
    server = deployment.start(workers=1, app=APP, arguments=arguments)
    path = create(server)
    before = deployment.list_contents()
    append = {**patch_fields(0), **ADA}
    raised = send(server, "PATCH", path, {**append, "X-Hook": "raise"}, FILE)
    assert (raised.status, raised["Retry-After"]) == (503, "1")
    assert b"test" not in raised.body
    assert send(server, "HEAD", path, {**IETF, **ADA, "X-Hook": "raise"}).status == 423
    refused = send(server, "PATCH", path, {**append, "X-Hook": "refuse"}, FILE)
    assert (refused.status, refused["WWW-Authenticate"]) == (401, "Bearer")
    assert refused.body == b"log in\n"
    with pytest.raises((EOFError, OSError)):
        send(server, "PATCH", path, {**append, "X-Hook": "die"}, FILE)
    wait_until(lambda: is_serving(server))
    assert deployment.list_contents() == before
    assert offset(server, path) == 0
    assert send(server, "PATCH", path, append, FILE).status == 204
    assert deployment.read_object(path) == FILE


def test_a_route_of_the_application_is_the_endpoint_of_tus_js_client(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    """The client of the owner resumes, and other clients can neither create nor read."""
    deployment = new_deployment(TUS_DISABLE_CREATION="true")
    server = deployment.start(workers=2, app=APP)
    file = tmp_path / "file"
    file.write_bytes(FILE)
    job = Job(file, len(FILE), chunk=MIB, options={"headers": dict(ADA)})
    with TcpProxy(server.port, cuts=[300_000, 3 * MIB]) as proxy:
        printed = run_tus_js_client(f"http://127.0.0.1:{proxy.port}/make", job)
        assert proxy.cut_count == 2
    path = urlsplit(str(printed["url"])).path
    assert deployment.read_object(path) == FILE
    tus = {"Tus-Resumable": "1.0.0"}
    assert send(server, "GET", path, {**tus, **EVE}).status == 404
    assert send(server, "POST", "/files", {**tus, **EVE, "Upload-Length": "1"}).status == 403


def is_serving(server: Gunicorn) -> bool:
    try:
        return send(server, "OPTIONS", "/files", {}).status == 204
    except (EOFError, OSError):
        return False
