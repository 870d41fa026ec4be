"""A client's end of a real connection, and what gunicorn makes of what it sends."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any, Self

from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create

from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.draining import LiveBodies

HEAD = "PATCH /files/a HTTP/1.1\r\nHost: example.com\r\n"


class Wire:
    """A connection over TCP, since only that can be reset. gunicorn's parser reads its other end.

    No server runs: the test is the client and the worker at once.
    """

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.server, self._address = listener.accept()
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._config = Config()
        self._parser = RequestParser(self._config, self.server, self._address)
        self.live = LiveBodies()
        self.bodies: list[WsgiBody] = []

    def begin(self, *, length: int | None, data: bytes = b"") -> None:
        """Send a head, and perhaps some of the body in the same packet."""
        kind = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.client.sendall(f"{HEAD}{kind}\r\n\r\n".encode() + data)

    def environ(self) -> dict[str, Any]:
        """The next request, as gunicorn's workers hand it to an application."""
        return self.call()[0]

    def call(self) -> tuple[dict[str, Any], Any]:
        """The same, and gunicorn's response to it, which has `start_response`."""
        request = next(self._parser)
        response, environ = create(
            request, self.server, self._address, self.server.getsockname(), self._config
        )
        return environ, response

    def body(self, *, timeout: float = 5.0) -> WsgiBody:
        """The body of the next request."""
        body = WsgiBody(self.environ(), timeout=timeout, live=self.live)
        self.bodies.append(body)
        return body

    def send(self, data: bytes) -> None:
        self.client.sendall(data)

    def fin(self) -> None:
        """The client has sent all that it is going to send."""
        self.client.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """The client is gone, and so is what was on its way."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for body in self.bodies:
            body.close()
        self.client.close()
        self.server.close()


def chunk(data: bytes) -> bytes:
    """One chunk; the empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def read(body: WsgiBody, *, step: int = 1000) -> bytes:
    """Everything up to the body's end."""
    buffer = memoryview(bytearray(step))
    found = bytearray()
    while count := body.readinto(buffer):
        assert count <= step
        found += buffer[:count]
    assert body.readinto(buffer) == 0
    return bytes(found)
