"""Over an open connection, a direct call sends and reads what urllib3 does, without urllib3."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pytest
from botocore.httpsession import URLLib3Session
from urllib3 import Timeout
from urllib3.connectionpool import HTTPConnectionPool

from tus_wsgi.domain.model import KIB
from tus_wsgi.stores.s3.direct.connection import Attempt, Route
from tus_wsgi.stores.s3.direct.exchange import Response, build_head, parse_success, receive, send
from tus_wsgi.stores.s3.direct.liveness import is_usable

SUCCESS = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nx-amz-version-id: v\r\nContent-Length: 0\r\n\r\n'

DELETED = b"HTTP/1.1 204 No Content\r\nx-amz-version-id: v\r\n\r\n"

FOUND = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nX-Amz-Meta-Name: Value\r\nContent-Length: 7\r\n\r\n'
"""A response to a HEAD."""

DOCUMENT = b"<Error><Code>SlowDown</Code></Error>"

HEADERS = {
    "User-Agent": "test",
    "Content-Type": "text/plain",
    "x-amz-meta-write": "a  b ",
    "X-Amz-Date": "20261129T010203Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
}


@dataclass
class Service:
    """A service that answers each request with the next list of its script.

    Attributes:
        listener: the socket on which it listens.
        script: the pieces of each response; None closes the connection.
        requests: the requests, as they were received.
        connections: the connections, as they were accepted.
    """

    listener: socket.socket
    script: list[list[bytes | None]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/uploads/a%20b"

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as stream:
            while head := _read_head(stream):
                lines = [line for line in head.splitlines() if b"Length" in line]
                size = int(lines[0].split()[1]) if lines else 0
                self.requests.append(head + b"\r\n" + stream.read(size))
                for number, piece in enumerate(self.script.pop(0)):
                    if piece is None:
                        return
                    if number > 0:
                        time.sleep(0.05)  # so that the client receives the pieces one by one
                    connection.sendall(piece)


@pytest.fixture
def service() -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = Service(listener)
        yield service
        for connection in service.connections:
            with suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)


def _read_head(stream: BinaryIO) -> bytes:
    """Read the head of a request without its last line; return nothing at the end."""
    lines = []
    while (line := stream.readline()) not in {b"\r\n", b""}:
        lines.append(line)
    return b"".join(lines)


@pytest.fixture
def urlopens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that urllib3 was asked for."""
    targets = []
    urlopen = HTTPConnectionPool.urlopen

    def recorded(pool: Any, method: str, url: str, **options: Any) -> Any:
        targets.append(url)
        return urlopen(pool, method, url, **options)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", recorded)
    return targets


def route_to(service: Service) -> Route:
    """Return a route without open connections."""
    return Route(URLLib3Session(), service.url)


def put(route: Route, service: Service, body: bytes = b"data") -> Attempt:
    return route.send("PUT", service.url, HEADERS, bytearray(body), is_stream=False)


def facts(attempt: Attempt) -> tuple[object, ...]:
    """Return what botocore learns of an attempt."""
    headers = attempt.headers or {}
    fields = {name.lower(): headers.get(name) for name in headers}
    return type(attempt.error), attempt.status, fields, attempt.content


@pytest.mark.parametrize(
    "body", [b"", b"data", bytes(200 * KIB)], ids=["empty", "small", "200 KiB"]
)
def test_the_request_is_that_of_urllib3(body: bytes, service: Service, urlopens: list[str]) -> None:
    route = route_to(service)
    service.script = [[SUCCESS], [SUCCESS], [SUCCESS]]
    attempts = [put(route, service, body) for _ in range(3)]
    assert len(urlopens) == 1
    assert len(service.connections) == 1
    assert service.requests[1] == service.requests[2] == service.requests[0]
    assert facts(attempts[1]) == facts(attempts[2]) == facts(attempts[0])
    assert attempts[1].status == 200


def test_the_request_of_a_deletion_is_that_of_urllib3(
    service: Service, urlopens: list[str]
) -> None:
    route = route_to(service)
    service.script = [[DELETED], [DELETED]]
    attempts = [
        route.send("DELETE", service.url, HEADERS, bytearray(), is_stream=False) for _ in range(2)
    ]
    assert len(urlopens) == len(service.connections) == 1
    assert service.requests[1] == service.requests[0]
    assert facts(attempts[1]) == facts(attempts[0])
    assert attempts[1].status == 204


def head(route: Route, service: Service) -> Attempt:
    return route.send("HEAD", service.url, HEADERS, None, is_stream=False)


def test_the_request_of_a_head_is_that_of_urllib3(service: Service, urlopens: list[str]) -> None:
    route = route_to(service)
    service.script = [[FOUND], [FOUND]]
    attempts = [head(route, service) for _ in range(2)]
    assert len(urlopens) == len(service.connections) == 1
    assert service.requests[1] == service.requests[0]
    assert facts(attempts[1]) == facts(attempts[0])
    assert attempts[1].headers["content-length"] == "7"


RESPONSES: dict[str, list[bytes | None]] = {
    "success": [SUCCESS],
    "document": [b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n" + DOCUMENT],
    "document later": [b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n", DOCUMENT],
    "refusal": [b"HTTP/1.1 503 Slow Down\r\nContent-Length: 36\r\n\r\n" + DOCUMENT],
    "chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    "chunks and a length": [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ],
    "deleted": [DELETED],
    "deleted, with a length": [DELETED.replace(b"-id: v", b"-id: v\r\nContent-Length: 0")],
    "deleted, with a wrong length": [DELETED.replace(b"-id: v", b"-id: v\r\nContent-Length: 5")],
    "deleted, with chunks": [
        DELETED.replace(b"-id: v", b"-id: v\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n"
    ],
    "deleted, last response": [DELETED.replace(b"-id: v", b"-id: v\r\nConnection: close"), None],
    "deleted, with a body": [
        DELETED.replace(b"-id: v", b"-id: v\r\nContent-Length: 3\r\nConnection: close") + b"abc",
        None,
    ],
    "no content": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "accepted": [SUCCESS.replace(b"200 OK", b"202 Accepted")],
    "until the end": [b"HTTP/1.1 200 OK\r\n\r\nabc", None],
    "last response": [SUCCESS.replace(b"ETag", b"Connection: close\r\nETag"), None],
    "HTTP/1.0": [SUCCESS.replace(b"HTTP/1.1", b"HTTP/1.0"), None],
    "interim response": [b"HTTP/1.1 100 Continue\r\n\r\n" + SUCCESS],
    "pieces": [SUCCESS[:5], SUCCESS[5:30], SUCCESS[30:]],
    "no reason": [SUCCESS.replace(b"200 OK", b"200")],
    "folded field": [SUCCESS.replace(b"-id: v", b"-id: v\r\n w")],
    "repeated field": [SUCCESS.replace(b"ETag", b"A: 1\r\na: 2\r\nETag")],
    "field without a colon": [SUCCESS.replace(b"ETag", b"A\r\nETag"), None],
    "line feeds": [SUCCESS.replace(b"\r\n", b"\n")],
    "field with a line feed": [SUCCESS.replace(b"-id: v", b"-id: v\nw: x")],
    "not ASCII": [SUCCESS.replace(b"-id: v", b"-id: \xe4")],
    "many fields": [SUCCESS.replace(b"ETag", b"".join(b"a%d: 1\r\n" % i for i in range(101)))],
    "long field": [SUCCESS.replace(b"-id: v", b"-id: " + b"v" * 70000)],
    "garbage": [b"garbage\r\n\r\n", None],
    "no response": [None],
    "cut in the head": [SUCCESS[:30], None],
    "cut in the document": [b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n<Err", None],
}


@pytest.mark.parametrize("name", RESPONSES)
def test_the_response_is_that_of_urllib3(name: str, service: Service, urlopens: list[str]) -> None:
    """D-09: this includes a request without a response."""
    by_urllib3 = route_to(service)
    service.script = [RESPONSES[name]]
    expected = put(by_urllib3, service)
    route = route_to(service)
    service.script = [[SUCCESS], RESPONSES[name], [SUCCESS]]
    put(route, service)
    urlopens.clear()
    attempt = put(route, service)
    assert urlopens == []
    assert facts(attempt) == facts(expected)
    assert put(route, service).status == 200
    assert len(service.requests) == 4


RESPONSES_TO_HEAD: dict[str, list[bytes | None]] = {
    "success": [FOUND],
    "no length": [b'HTTP/1.1 200 OK\r\nETag: "e"\r\n\r\n'],
    "missing": [b"HTTP/1.1 404 Not Found\r\nContent-Length: 36\r\n\r\n"],
    "pieces": [FOUND[:5], FOUND[5:30], FOUND[30:]],
    "last response": [FOUND.replace(b"ETag", b"Connection: close\r\nETag"), None],
    "chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    "no response": [None],
}


@pytest.mark.parametrize("name", RESPONSES_TO_HEAD)
def test_the_response_to_a_head_is_that_of_urllib3(
    name: str, service: Service, urlopens: list[str]
) -> None:
    by_urllib3 = route_to(service)
    service.script = [RESPONSES_TO_HEAD[name]]
    expected = head(by_urllib3, service)
    route = route_to(service)
    service.script = [[FOUND], RESPONSES_TO_HEAD[name], [FOUND]]
    head(route, service)
    urlopens.clear()
    attempt = head(route, service)
    assert urlopens == []
    assert facts(attempt) == facts(expected)
    assert head(route, service).status == 200
    assert len(service.requests) == 4


def test_no_response_in_time_is_a_timeout(service: Service, urlopens: list[str]) -> None:
    route = route_to(service)
    service.script = [[SUCCESS], []]
    put(route, service)
    route._pool.timeout = Timeout(connect=30, read=0.1)
    attempt = put(route, service)
    assert len(urlopens) == 1
    assert type(attempt.error).__name__ == "ReadTimeoutError"


def test_a_call_that_is_killed_leaves_no_connection_with_a_pending_response(
    service: Service, urlopens: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-03: otherwise the next write would be confirmed by the response to this one."""

    class Killed(BaseException):
        """Like gevent's `GreenletExit`."""

    def be_killed(_socket: object, _method: str) -> Response:
        raise Killed

    route = route_to(service)
    service.script = [[SUCCESS], [SUCCESS], [SUCCESS]]
    put(route, service)
    pool = route._pool.pool
    assert pool is not None
    places = pool.qsize()
    with monkeypatch.context() as patch:
        patch.setattr("tus_wsgi.stores.s3.direct.exchange.receive", be_killed)
        with pytest.raises(Killed):
            put(route, service)
    assert pool.qsize() == places
    assert put(route, service).status == 200
    assert len(urlopens) == len(service.connections) == 2


def test_a_response_before_the_end_of_the_request_is_read() -> None:
    """The service refuses the request, and closes the connection while the body is sent."""

    class Refusing:
        def sendall(self, _data: bytes) -> None:
            raise BrokenPipeError(errno.EPIPE, "closed")

        def recv(self, _size: int) -> bytes:
            return b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    send(Refusing(), b"head", bytearray(b"body"))
    response = receive(Refusing(), "PUT")
    assert (response.status, response.is_last) == (413, True)


def test_a_request_that_cannot_be_sent_in_time_fails() -> None:
    class Full:
        def sendall(self, _data: bytes) -> None:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        send(Full(), b"head", bytearray())


def test_a_closed_connection_is_not_used(service: Service, urlopens: list[str]) -> None:
    """The request is sent once, over a new connection."""
    route = route_to(service)
    service.script = [[SUCCESS, None], [SUCCESS]]
    put(route, service)
    assert route._pool.pool is not None
    while is_usable(route._pool.pool.queue[-1].sock):
        pass
    assert put(route, service).status == 200
    assert len(urlopens) == 2
    assert len(service.requests) == 2


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "ä"])
def test_a_value_does_not_break_out_of_its_line(value: str) -> None:
    assert build_head("PUT", "/a", "h", {"name": value}, 1) is None


@pytest.mark.parametrize("name", RESPONSES)
def test_only_a_plain_success_is_parsed_at_once(name: str) -> None:
    data = b"".join(piece for piece in RESPONSES[name] if piece is not None)
    empty = {"x-amz-version-id": "v", "content-length": "0"}
    success = Response(200, {"etag": '"e"', **empty}, b"")
    document = Response(200, {"content-length": "36"}, DOCUMENT)
    whole = {
        "success": success,
        "pieces": success,
        "document": document,
        "document later": document,
        "deleted": Response(204, {"x-amz-version-id": "v"}, b""),
        "deleted, with a length": Response(204, empty, b""),
        "no content": Response(204, {}, b""),
    }
    if name in {"no reason", "not ASCII", "long field"}:
        return
    assert parse_success(data, "PUT") == whole.get(name)
