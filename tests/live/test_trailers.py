"""Checksums with gunicorn: the status line of 460, and trailers, which WSGI does not define."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn

pytestmark = pytest.mark.live

DATA = b"0123456789" * 10_000


def sha1(data: bytes) -> str:
    return f"sha1 {base64.b64encode(hashlib.sha1(data).digest()).decode()}"


@pytest.fixture
def server(request: pytest.FixtureRequest, new_deployment: Callable[..., Deployment]) -> Gunicorn:
    """A server with the worker class of the test's parameter, gevent by default."""
    arguments = ("--worker-class", getattr(request, "param", "gevent"), "--threads", "4")
    return new_deployment().start(workers=1, arguments=arguments)


def send(
    connection: Connection, path: str, offset: int, data: bytes, *trailers: bytes, announce: bool
) -> Response:
    """Send a chunked PATCH with trailers."""
    announced = {"Trailer": "Upload-Checksum"} if announce else {}
    fields = {**patch_fields(offset), "Transfer-Encoding": "chunked", **announced}
    connection.send_head("PATCH", path, fields)
    boundary = len(data) // 3
    connection.send_chunk(data[:boundary])
    connection.send_chunk(data[boundary:])
    connection.send(b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n")
    return connection.read_response()


def trailer(data: bytes) -> bytes:
    return b"Upload-Checksum: " + sha1(data).encode()


@pytest.mark.parametrize("server", ["gevent", "gthread"], indirect=True)
def test_trailers_are_offered_and_verified(server: Gunicorn) -> None:
    """CT-01, CT-03, CT-05, CK-03, C-05: on one connection, which stays open after each request."""
    tus = TusClient(server.port)
    options = tus.request("OPTIONS", tus.base)
    assert {"checksum", "checksum-trailer"} <= set(options["Tus-Extension"].split(","))
    path = tus.create(2 * len(DATA))
    with Connection(server.port) as connection:
        wrong = send(connection, path, 0, DATA, trailer(b"other"), announce=True)
        assert wrong.status == 460
        missing = send(connection, path, 0, DATA, b"Expires: 0", announce=True)
        assert missing.status == 400
        malformed = send(connection, path, 0, DATA, b"Upload-Checksum: ?", announce=True)
        assert malformed.status == 400
        assert tus.offset(path) == 0
        trailers = (b"Upload-Offset: 7", trailer(DATA), b"Upload-Length: 1")
        correct = send(connection, path, 0, DATA, *trailers, announce=True)
        assert correct.status == 204
        assert correct["Upload-Offset"] == str(len(DATA))
        # CT-04: a trailer that the request did not announce is ignored.
        unannounced = send(connection, path, len(DATA), DATA, trailer(b"other"), announce=False)
        assert unannounced.status == 204
    assert tus.request("GET", path).body == 2 * DATA


def test_a_trailer_that_gunicorn_rejects_discards_the_body(server: Gunicorn) -> None:
    """CT-05: some fields are not allowed as trailers."""
    tus = TusClient(server.port)
    path = tus.create(len(DATA))
    with Connection(server.port) as connection:
        lines = (trailer(DATA), b"Authorization: me")
        assert send(connection, path, 0, DATA, *lines, announce=True).status == 400
    assert tus.offset(path) == 0


def test_a_mismatch_has_a_reason_phrase(server: Gunicorn) -> None:
    """CK-03: the status line is `460 Checksum Mismatch`."""
    tus = TusClient(server.port)
    path = tus.create(len(DATA))
    with Connection(server.port) as connection:
        fields = {**patch_fields(0), "Upload-Checksum": sha1(b"other"), "Connection": "close"}
        connection.send_head("PATCH", path, {**fields, "Content-Length": str(len(DATA))})
        connection.send(DATA)
        assert connection.read_to_end().startswith(b"HTTP/1.1 460 Checksum Mismatch\r\n")
    response = tus.request("PATCH", path, {**patch_fields(0), "Upload-Checksum": sha1(DATA)}, DATA)
    assert response.status == 204
    assert tus.request("GET", path).body == DATA


def test_a_cut_body_with_a_checksum_is_discarded(server: Gunicorn) -> None:
    """CK-08: with the checksum in a header field and in a trailer."""
    tus = TusClient(server.port)
    path = tus.create(len(DATA))
    in_head = {"Upload-Checksum": sha1(DATA), "Content-Length": str(len(DATA))}
    in_trailer = {"Trailer": "Upload-Checksum", "Transfer-Encoding": "chunked"}
    for fields in (in_head, in_trailer):
        with Connection(server.port) as connection:
            connection.send_head("PATCH", path, {**patch_fields(0), **fields})
            if fields is in_trailer:
                connection.send_chunk(DATA[:1000])
            else:
                connection.send(DATA[:1000])
            connection.wait_until_delivered()
            connection.half_close()
            connection.read_to_end()
        assert tus.offset(path) == 0
