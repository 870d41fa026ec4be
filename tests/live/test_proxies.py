"""Uploads through nginx, Caddy and HAProxy, with the configurations of `deploy/proxies` and TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.proxy_program import PROXIES, running_nginx
from tests.harness.sockets import HOST
from tests.harness.tls import write_certificate
from tests.live.clients.curl import curl
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

FILE = some_bytes(PART_SIZE + 70_001)

CUT = PART_SIZE + 30_000

INTEROP = {"Upload-Draft-Interop-Version": "8"}

PASSES_INTERIM = {"nginx": False, "nginx-1.31": False, "caddy": True, "haproxy": True}
"""Whether clients get the server's interim responses."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy, and a file with its certificate."""

    kind: str
    port: int
    certificate: Path
    directory: Path

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)

    @property
    def tus(self) -> TusClient:
        return TusClient(self.port, tls=self.tls)

    def connect(self) -> Connection:
        return Connection(self.port, timeout=30, tls=self.tls)

    def request(
        self, method: str, path: str, fields: dict[str, str], body: bytes | None = None
    ) -> Response:
        with self.connect() as connection:
            connection.request(method, path, fields, body)
            return connection.read_response()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=[pytest.mark.long] if kind == "nginx-1.31" else [])
        for kind in PROXIES
    ],
)
def proxy(
    request: pytest.FixtureRequest,
    deployment: Deployment,
    certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp(request.param)
    servers = [deployment.servers[0].port]
    with PROXIES[request.param](directory, servers, certificate=certificate) as port:
        yield Proxy(request.param, port, certificate, directory)


def send_and_cut(proxy: Proxy, path: str, fields: dict[str, str]) -> None:
    """Begin a request with the whole file, and lose the connection after `CUT` bytes."""
    with proxy.connect() as connection:
        connection.send_head("PATCH", path, {**fields, "Content-Length": str(len(FILE))})
        connection.send(FILE[:CUT])
        # What the proxy has not received when the connection breaks is lost, as in any network.
        connection.wait_until_delivered()
        time.sleep(0.3)


def test_a_cut_upload_resumes_where_it_was_cut(proxy: Proxy, deployment: Deployment) -> None:
    """The proxy neither buffers the body nor limits its size."""
    path = proxy.tus.create(len(FILE))
    send_and_cut(proxy, path, patch_fields(0))
    offset = proxy.tus.offset(path)
    assert 0 < offset <= CUT
    proxy.tus.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE


def test_a_cut_upload_of_the_ietf_protocol_resumes(proxy: Proxy, deployment: Deployment) -> None:
    created = proxy.request("POST", "/files", {**INTEROP, "Upload-Complete": "?0"}, b"")
    path = urlsplit(created["Location"]).path
    append = {**INTEROP, "Content-Type": "application/partial-upload", "Upload-Complete": "?1"}
    send_and_cut(proxy, path, {**append, "Upload-Offset": "0"})
    offset = proxy.request("HEAD", path, INTEROP).offset
    assert offset is not None
    assert 0 < offset <= CUT
    ended = proxy.request("PATCH", path, {**append, "Upload-Offset": str(offset)}, FILE[offset:])
    assert ended.is_success
    assert deployment.read_object(path) == FILE


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/health", "/health/ready", "/metrics?x"),
        *("/%6Detrics", "/health%2Fready", "/%68ealth/live"),  # gunicorn decodes paths
    ],
)
def test_the_pages_of_operators_are_not_for_other_networks(proxy: Proxy, path: str) -> None:
    assert proxy.request("GET", path, {}).status == 403


def test_http_1_clients_get_a_final_response_and_keep_their_connection(proxy: Proxy) -> None:
    """nginx would treat a 104 as the final response, and the next request would get none."""
    interim: list[Response] = []
    fields = {**INTEROP, "Upload-Complete": "?1"}
    with proxy.connect() as connection:
        for _ in range(2):
            connection.request("POST", "/files", fields, FILE[: 64 * KIB])
            response = connection.read_response(on_interim=interim.append)
            assert (response.status, response["Upload-Complete"]) == (201, "?1")
    expected = 2 if PASSES_INTERIM[proxy.kind] else 0
    assert [found.status for found in interim] == [104] * expected
    assert all(found["Location"].startswith("https://") for found in interim)


def test_http_2_clients_get_a_final_response(proxy: Proxy, tmp_path: Path) -> None:
    """nginx 1.22 to 1.31 would end the stream with PROTOCOL_ERROR if the server sent a 104."""
    file = tmp_path / "file"
    file.write_bytes(FILE[: 64 * KIB])
    result = curl(
        "POST",
        f"https://{HOST}:{proxy.port}/files",
        {"Upload-Complete": "?1"},
        file,
        arguments=("--http2", "--cacert", str(proxy.certificate)),
    )
    assert result.final.status == 201
    expected = 1 if PASSES_INTERIM[proxy.kind] else 0
    assert len(result.interim()) == expected


def test_urls_name_the_host_and_the_scheme_of_the_client(proxy: Proxy) -> None:
    """A client cannot choose them with fields that proxies set."""
    forged = {
        "Forwarded": "host=evil.example;proto=http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Proto": "http",
    }
    version = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Host": "up_loads.example"}
    created = proxy.request("POST", "/files", {**version, **forged})
    assert created["Location"].startswith("https://up_loads.example/files/")


def test_finished_files_are_downloaded_in_ranges(proxy: Proxy) -> None:
    path = proxy.tus.upload(FILE)
    assert proxy.request("GET", path, {}).body == FILE
    part = proxy.request("GET", path, {"Range": "bytes=5242870-5242889"})
    assert (part.status, part.body) == (206, FILE[5242870:5242890])


def test_the_response_to_a_refused_body_arrives(proxy: Proxy) -> None:
    """The server responds while the client still sends."""
    body = bytes(8 * MIB)
    response = proxy.tus.patch("/files/aaaaaaaaaaaaaaaaaaaaaa", 0, body)
    assert (response.status, response["Tus-Resumable"]) == (404, "1.0.0")


def test_the_log_contains_no_id(proxy: Proxy) -> None:
    path = proxy.tus.create(5)
    id = path.rpartition("/")[2]
    assert proxy.tus.offset(path) == 0
    logs = [proxy.directory / name for name in ("access.log", "proxy.log", "error.log")]
    text = ""
    deadline = time.monotonic() + 10
    while "HEAD" not in text and time.monotonic() < deadline:
        text = "".join(log.read_text() for log in logs if log.exists())
        time.sleep(0.05)
    assert "/files/..." in text
    assert id not in text


PREFIXES: dict[str, dict[str, str]] = {
    "nginx": {
        "location /files {": "location /media/files {",
        "300s;\n        proxy_pass http://tus_app;": (
            "300s;\n        proxy_pass http://tus_app/files;"
        ),
    },
    "caddy": {"\treverse_proxy": "\turi strip_prefix /media\n\treverse_proxy"},
    "haproxy": {
        "    default_backend tus_app": (
            "    http-request replace-path ^/media(/.*) \\1\n    default_backend tus_app"
        )
    },
}


@pytest.fixture(scope="module")
def renamed(deployment: Deployment) -> int:
    """The port of a server whose uploads have another URL for clients."""
    url = "https://uploads.example.com/media/files"
    return deployment.start(workers=1, settings={"TUS_PUBLIC_URL": url}).port


@pytest.mark.parametrize("kind", PREFIXES)
def test_a_proxy_may_change_the_path(
    kind: str, renamed: int, certificate: Path, tmp_path: Path
) -> None:
    changes = PREFIXES[kind]
    with PROXIES[kind](tmp_path, [renamed], certificate=certificate, changes=changes) as port:
        client = TusClient(
            port, base="/media/files", tls=ssl.create_default_context(cafile=certificate)
        )
        path = client.upload(FILE[:1000])
        assert path.startswith("/media/files/")
        assert client.offset(path) == 1000


def test_nginx_may_pass_the_name_of_its_upstream_as_host(
    deployment: Deployment, tmp_path: Path
) -> None:
    """`Host: tus_app`, without the line that sets the field. nginx corrects the Location."""
    changes = {"    proxy_set_header Host $http_host;\n": ""}
    with running_nginx(tmp_path, [deployment.servers[0].port], changes=changes) as port:
        client = TusClient(port)
        created = client.request("POST", "/files", {"Upload-Length": "5"})
        path = urlsplit(created["Location"]).path
        client.append(path, 0, b"hello")
    assert created["Location"].startswith(f"http://{HOST}:{port}/files/")
    assert deployment.read_object(path) == b"hello"
