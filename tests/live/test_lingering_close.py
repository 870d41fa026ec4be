"""Bodies that nobody reads to their end: the client learns why, and nobody else notices."""

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
from tests.harness.servers.nginx import running_nginx
from tests.harness.timing import assert_takes_less
from tests.harness.tls import write_certificate
from tests.live.test_threads import THREADS
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.wsgi.connection import LINGER_SECONDS

pytestmark = pytest.mark.live

UNKNOWN = "/files/aaaaaaaaaaaaaaaaaaaaaa"

SIZE = 48 * MIB
"""Far more than is read before the response."""

CPU_SECONDS = 1.0
"""To receive and forget that much takes 0.02 to 0.05 s. gunicorn 27 left to itself takes up to 17,
and does nothing else meanwhile."""

KINDS: dict[str, list[str]] = {"gevent": [], "gthread": THREADS}

FILE = some_bytes(2 * PART_SIZE)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=KINDS)
def plain(request: pytest.FixtureRequest, deployment: Deployment) -> Gunicorn:
    return deployment.start(workers=1, arguments=KINDS[request.param])


@pytest.fixture(scope="module", params=KINDS)
def secure(request: pytest.FixtureRequest, deployment: Deployment, certificate: Path) -> Gunicorn:
    return deployment.start(workers=1, arguments=KINDS[request.param], certificate=certificate)


def cpu(server: Gunicorn) -> float:
    """Seconds that its workers have computed so far."""
    return sum(sum(psutil.Process(worker).cpu_times()[:2]) for worker in server.workers())


def send_all_the_same(connection: Connection, *, chunked: bool, path: str = UNKNOWN) -> None:
    """A body that nobody wants, all at once, from a client that does not listen meanwhile."""
    framing = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(SIZE)}
    connection.send_head("PATCH", path, patch_fields(0, **framing))
    with suppress(OSError):
        (connection.send_chunk if chunked else connection.send)(bytes(SIZE))


def cheaply_refused(server: Gunicorn, *, chunked: bool, path: str = UNKNOWN) -> Response:
    before = cpu(server)
    with Connection(server.port, timeout=60, tls=server.tls) as connection:
        send_all_the_same(connection, chunked=chunked, path=path)
        response = connection.read_response()
        assert connection.read_to_end() == b""
    assert response.status == 404
    assert TusClient(server.port, tls=server.tls).head(UNKNOWN).status == 404
    assert cpu(server) - before < CPU_SECONDS
    return response


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_refused_body_costs_no_more_than_to_receive_it(plain: Gunicorn, *, chunked: bool) -> None:
    assert cheaply_refused(plain, chunked=chunked)["Connection"] == "close"


def test_nor_does_one_that_is_for_nobody(plain: Gunicorn) -> None:
    assert cheaply_refused(plain, chunked=False, path="/elsewhere")["Connection"] == "close"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_it_costs_no_more_over_tls(secure: Gunicorn, *, chunked: bool) -> None:
    assert cheaply_refused(secure, chunked=chunked)["Connection"] == "close"


@pytest.mark.parametrize("kind", KINDS)
def test_it_costs_no_more_where_gunicorn_cannot_be_told_to_close(
    kind: str, deployment: Deployment
) -> None:
    server = deployment.start(
        workers=1, app="tests.live.apps.wrapped:application", arguments=KINDS[kind]
    )
    assert cheaply_refused(server, chunked=False)["X-Wrapped"] == "yes"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_client_behind_nginx_reads_why(plain: Gunicorn, tmp_path: Path, *, chunked: bool) -> None:
    """nginx has the response while it still sends the body."""
    with (
        running_nginx(tmp_path, [plain.port]) as port,
        Connection(port, timeout=60) as connection,
    ):
        send_all_the_same(connection, chunked=chunked)
        response = connection.read_response()
    assert (response.status, response["Tus-Resumable"]) == (404, "1.0.0")


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_superseded_costs_no_more(kind: str, deployment: Deployment) -> None:
    """Its client goes on sending, faster than anything."""
    server = deployment.start(workers=1, arguments=KINDS[kind])
    tus = TusClient(server.port)
    path = tus.create(2 * SIZE)
    with Connection(server.port, timeout=60) as connection, ThreadPoolExecutor(1) as threads:
        connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(2 * SIZE)))
        connection.send(bytes(KIB))
        connection.wait_until_consumed()
        before = cpu(server)
        head = threads.submit(tus.offset, path)
        began = time.monotonic()
        with suppress(OSError):
            connection.send(bytes(SIZE))
        assert time.monotonic() - began < LINGER_SECONDS
        assert connection.read_response().status == 423
        assert head.result() >= KIB
    assert cpu(server) - before < CPU_SECONDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_stops_waits_for_no_rest(
    kind: str, new_deployment: Callable[..., Deployment]
) -> None:
    server = new_deployment().start(workers=1, arguments=KINDS[kind])
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


@pytest.mark.parametrize("kind", KINDS)
def test_downloads_that_nobody_takes_are_given_up(
    kind: str, new_deployment: Callable[..., Deployment]
) -> None:
    """And while that happens nobody else waits."""
    deployment = new_deployment(TUS_NETWORK_TIMEOUT="3s")
    deployment.expected_errors = (
        r"Traceback|Socket error processing request"  # gunicorn's words for it
    )
    server = deployment.start(workers=1, arguments=KINDS[kind])
    (worker,) = map(psutil.Process, server.workers())
    tus = TusClient(server.port)
    path = tus.upload(bytes(SIZE))

    def slowest() -> float:
        took = 0.0
        with ExitStack() as stack:
            stuck = [stack.enter_context(Connection(server.port)) for _ in range(4)]
            ours = {one.socket.getsockname() for one in stuck}
            for one in stuck:
                one.request("GET", path)
            for one in stuck:
                assert one.socket.recv(1) == b"H"
            deadline = time.monotonic() + 30
            while ours & {one.raddr for one in worker.net_connections("tcp")}:
                assert time.monotonic() < deadline
                began = time.monotonic()
                assert tus.request("OPTIONS", "/files").status == 204
                took = max(took, time.monotonic() - began)
        return took

    assert_takes_less(1.5, slowest)
    assert len(tus.request("GET", path).body) == SIZE


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_superseded_body_has_its_response_over_tls(
    secure: Gunicorn, deployment: Deployment, *, chunked: bool
) -> None:
    tus = TusClient(secure.port, tls=secure.tls)
    path = tus.create(len(FILE))
    framing = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(len(FILE))}
    with Connection(secure.port, tls=secure.tls) as connection:
        connection.send_head("PATCH", path, patch_fields(0, **framing))
        (connection.send_chunk if chunked else connection.send)(FILE[:70_000])
        connection.wait_until_consumed()
        offset = tus.offset(path)
        told = connection.read_response()
    assert (told.status, told["Upload-Offset"]) == (423, str(offset))
    tus.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE
