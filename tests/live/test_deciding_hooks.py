"""The other hooks under gunicorn, with gevent and gthread workers: they raise, die and reject."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import VERSION, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.timing import wait_until

pytestmark = pytest.mark.live

FILE = some_bytes(PART_SIZE + 70_000)
CRC32 = f"{zlib.crc32(FILE):08x}"

APP = "tests.live.apps.deciding:application"
GTHREAD = ["--worker-class", "gthread", "--threads", "8"]
ERRORS = r"Traceback|\bERROR\b|ValueError|HookFailed|OnFinishFailed|was sent SIGKILL"

every_worker = pytest.mark.parametrize("arguments", [[], GTHREAD], ids=["gevent", "gthread"])


def send(
    server: Gunicorn, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
) -> Response:
    with Connection(server.port) as connection:
        connection.request(method, path, {**VERSION, **fields}, body)
        return connection.read_response()


def post(server: Gunicorn, **more: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return send(server, "POST", "/files", {"Upload-Length": str(len(FILE)), **named})


def create(server: Gunicorn, **more: str) -> str:
    response = post(server, **more)
    assert response.status == 201
    return urlsplit(response["Location"]).path


def send_and_kill_worker(
    server: Gunicorn, method: str, path: str, fields: Mapping[str, str], body: bytes
) -> None:
    """Send a request whose hook kills the worker, and wait for the next worker."""
    with pytest.raises((EOFError, OSError)):
        send(server, method, path, fields, body)
    wait_until(lambda: is_serving(server))


def is_serving(server: Gunicorn) -> bool:
    try:
        return send(server, "OPTIONS", "/files", {}).status == 204
    except (EOFError, OSError):
        return False


@every_worker
def test_a_creation_whose_hook_raises_or_dies_leaves_nothing(
    new_deployment: Callable[..., Deployment], arguments: list[str]
) -> None:
    deployment = new_deployment()
    deployment.expected_errors = ERRORS
    server = deployment.start(workers=1, app=APP, arguments=arguments)
    before = deployment.list_contents()
    assert post(server, X_Create="raise").status == 503
    send_and_kill_worker(server, "POST", "/files", {"Upload-Length": "5", "X-Create": "die"}, b"")
    assert deployment.list_contents() == before


@every_worker
def test_an_upload_whose_hook_raises_dies_or_rejects_ends_as_decided(
    new_deployment: Callable[..., Deployment], arguments: list[str]
) -> None:
    """D-06: in the end the hook has returned, and the client gets its answer."""
    deployment = new_deployment()
    deployment.expected_errors = ERRORS
    server = deployment.start(workers=1, app=APP, arguments=arguments)
    for action in ("raise", "die"):
        path = create(server)
        fields = {**patch_fields(0), "X-Finish": action}
        if action == "die":
            send_and_kill_worker(server, "PATCH", path, fields, FILE)
        else:
            assert send(server, "PATCH", path, fields, FILE).status == 503
        assert send(server, "HEAD", path, {})["X-Crc32"] == CRC32
        again = send(server, "PATCH", path, patch_fields(len(FILE)), b"")
        assert (again.status, again.body) == (200, b'{"done": true}')
    path = create(server)
    rejected = send(server, "PATCH", path, {**patch_fields(0), "X-Finish": "reject"}, FILE)
    assert (rejected.status, rejected.body) == (422, b"a virus\n")
    assert send(server, "HEAD", path, {}).status == 410


@every_worker
def test_on_terminate_is_called_again_after_it_has_died(
    new_deployment: Callable[..., Deployment], arguments: list[str]
) -> None:
    """D-13: the record stays until the hook has returned."""
    deployment = new_deployment()
    deployment.expected_errors = ERRORS
    server = deployment.start(workers=1, app=APP, arguments=arguments)
    path = create(server, X_Terminate="die")
    send_and_kill_worker(server, "DELETE", path, {}, b"")
    assert send(server, "HEAD", path, {}).status == 410
    assert send(server, "DELETE", path, {}).status == 204
    assert send(server, "HEAD", path, {}).status in (404, 410)
    directory = Path(deployment.environ["TUS_LOCK_DIR"]).parent
    note = directory / f"terminated-{path.rpartition('/')[2]}"
    assert note.read_text(encoding="ascii") == "client"
