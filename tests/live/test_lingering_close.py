"""Bodies that the server does not read: clients get the response, and others are not slowed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import STOP_SECONDS, Gunicorn
from tests.harness.servers.proxy_program import running_nginx
from tests.harness.timing import assert_takes_less
from tests.harness.tls import write_certificate
from tests.live.test_threads import GTHREAD_ARGUMENTS
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.wsgi.connection import LINGER_SECONDS

pytestmark = pytest.mark.live

UNKNOWN = "/files/aaaaaaaaaaaaaaaaaaaaaa"

SIZE = 48 * MIB
"""Much more than the server reads before it responds."""

MAX_CPU_SECONDS = 1.0
"""Receiving and discarding `SIZE` bytes takes 0.02 to 0.05 s. gunicorn 27 alone takes up to 17 s,
and serves no other request meanwhile."""

WORKER_ARGUMENTS: dict[str, list[str]] = {"gevent": [], "gthread": GTHREAD_ARGUMENTS}

FILE = some_bytes(2 * PART_SIZE)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=WORKER_ARGUMENTS)
def plain(request: pytest.FixtureRequest, deployment: Deployment) -> Gunicorn:
    return deployment.start(workers=1, arguments=WORKER_ARGUMENTS[request.param])


@pytest.fixture(scope="module", params=WORKER_ARGUMENTS)
def secure(request: pytest.FixtureRequest, deployment: Deployment, certificate: Path) -> Gunicorn:
    return deployment.start(
        workers=1, arguments=WORKER_ARGUMENTS[request.param], certificate=certificate
    )


def cpu_seconds(server: Gunicorn) -> float:
    """Return the CPU time of the workers so far."""
    return sum(sum(psutil.Process(worker).cpu_times()[:2]) for worker in server.workers())


def send_large_body(connection: Connection, *, chunked: bool, path: str = UNKNOWN) -> None:
    """Send a large body at once, without reading the response meanwhile."""
    framing = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(SIZE)}
    connection.send_head("PATCH", path, patch_fields(0, **framing))
    with suppress(OSError):
        send = connection.send_chunk if chunked else connection.send
    send(bytes(SIZE))


def assert_rejected_cheaply(server: Gunicorn, *, chunked: bool, path: str = UNKNOWN) -> Response:
    """Send a large body, and check that the 404 arrives and costs little CPU; return the 404."""
    cpu_before = cpu_seconds(server)
    with Connection(server.port, timeout=60, tls=server.tls) as connection:
        send_large_body(connection, chunked=chunked, path=path)
        response = connection.read_response()
        assert connection.read_to_end() == b""
    assert response.status == 404
    assert TusClient(server.port, tls=server.tls).head(UNKNOWN).status == 404
    assert cpu_seconds(server) - cpu_before < MAX_CPU_SECONDS
    return response


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_rejected_body_costs_little_cpu(plain: Gunicorn, *, chunked: bool) -> None:
    assert assert_rejected_cheaply(plain, chunked=chunked)["Connection"] == "close"


def test_a_body_for_an_unknown_path_costs_little_cpu(plain: Gunicorn) -> None:
    assert assert_rejected_cheaply(plain, chunked=False, path="/elsewhere")["Connection"] == "close"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_rejected_body_over_tls_costs_little_cpu(secure: Gunicorn, *, chunked: bool) -> None:
    assert assert_rejected_cheaply(secure, chunked=chunked)["Connection"] == "close"


@pytest.mark.parametrize("kind", WORKER_ARGUMENTS)
def test_a_rejected_body_behind_a_middleware_costs_little_cpu(
    kind: str, deployment: Deployment
) -> None:
    server = deployment.start(
        workers=1, app="tests.live.apps.wrapped:application", arguments=WORKER_ARGUMENTS[kind]
    )
    assert assert_rejected_cheaply(server, chunked=False)["X-Wrapped"] == "yes"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_client_behind_nginx_gets_the_response(
    plain: Gunicorn, tmp_path: Path, *, chunked: bool
) -> None:
    """nginx receives the response while it still sends the body. With HTTP/1.0, it would wait for
    the end of a chunked body, which does not come here."""
    changes = {"proxy_http_version 1.0;": "proxy_http_version 1.1;"} if chunked else {}
    with (
        running_nginx(tmp_path, [plain.port], changes=changes) as port,
        Connection(port, timeout=60) as connection,
    ):
        send_large_body(connection, chunked=chunked)
        response = connection.read_response()
    assert (response.status, response["Tus-Resumable"]) == (404, "1.0.0")


@pytest.mark.parametrize("kind", WORKER_ARGUMENTS)
def test_a_superseded_body_costs_little_cpu(kind: str, deployment: Deployment) -> None:
    """The superseded client keeps sending at full speed."""
    server = deployment.start(workers=1, arguments=WORKER_ARGUMENTS[kind])
    tus = TusClient(server.port)
    path = tus.create(2 * SIZE)
    with Connection(server.port, timeout=60) as connection, ThreadPoolExecutor(1) as threads:
        connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(2 * SIZE)))
        connection.send(bytes(KIB))
        connection.wait_until_consumed()
        cpu_before = cpu_seconds(server)
        head = threads.submit(tus.offset, path)
        began = time.monotonic()
        with suppress(OSError):
            connection.send(bytes(SIZE))
        assert time.monotonic() - began < LINGER_SECONDS
        assert connection.read_response().status == 423
        assert head.result() >= KIB
    assert cpu_seconds(server) - cpu_before < MAX_CPU_SECONDS


@pytest.mark.parametrize("kind", WORKER_ARGUMENTS)
def test_a_stopping_server_does_not_wait_for_a_rejected_body(
    kind: str, new_deployment: Callable[..., Deployment]
) -> None:
    server = new_deployment().start(workers=1, arguments=WORKER_ARGUMENTS[kind])
    with Connection(server.port, timeout=60) as connection, ThreadPoolExecutor(1) as threads:
        connection.send_head("PATCH", UNKNOWN, patch_fields(0, Content_Length=str(1 << 40)))

        def trickle() -> None:
            with suppress(OSError):
                while True:
                    connection.send(bytes(KIB))
                    time.sleep(0.02)

        sender = threads.submit(trickle)
        assert connection.read_response().status == 404
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit(STOP_SECONDS) == 0
        assert time.monotonic() - began < LINGER_SECONDS / 2
        sender.result()


@pytest.mark.parametrize("kind", WORKER_ARGUMENTS)
def test_stalled_downloads_are_closed_after_the_network_timeout(
    kind: str, new_deployment: Callable[..., Deployment]
) -> None:
    """Meanwhile, other requests are answered in time."""
    deployment = new_deployment(TUS_NETWORK_TIMEOUT="3s")
    deployment.expected_errors = (
        r"Traceback|Socket error processing request"  # gunicorn logs the timeouts
    )
    server = deployment.start(workers=1, arguments=WORKER_ARGUMENTS[kind])
    (worker,) = map(psutil.Process, server.workers())
    tus = TusClient(server.port)
    path = tus.upload(bytes(SIZE))

    def slowest_request() -> float:
        slowest = 0.0
        with ExitStack() as stack:
            stalled = [stack.enter_context(Connection(server.port)) for _ in range(4)]
            addresses = {connection.socket.getsockname() for connection in stalled}
            for connection in stalled:
                connection.request("GET", path)
            for connection in stalled:
                assert connection.socket.recv(1) == b"H"
            deadline = time.monotonic() + 30
            while addresses & {peer.raddr for peer in worker.net_connections("tcp")}:
                assert time.monotonic() < deadline
                began = time.monotonic()
                assert tus.request("OPTIONS", "/files").status == 204
                slowest = max(slowest, time.monotonic() - began)
        return slowest

    assert_takes_less(1.5, slowest_request)
    assert len(tus.request("GET", path).body) == SIZE


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_superseded_client_gets_the_response_over_tls(
    secure: Gunicorn, deployment: Deployment, *, chunked: bool
) -> None:
    tus = TusClient(secure.port, tls=secure.tls)
    path = tus.create(len(FILE))
    framing = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(len(FILE))}
    with Connection(secure.port, tls=secure.tls) as connection:
        connection.send_head("PATCH", path, patch_fields(0, **framing))
        send = connection.send_chunk if chunked else connection.send
        send(FILE[:70_000])
        connection.wait_until_consumed()
        offset = tus.offset(path)
        response = connection.read_response()
    assert (response.status, response["Upload-Offset"]) == (423, str(offset))
    tus.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE
