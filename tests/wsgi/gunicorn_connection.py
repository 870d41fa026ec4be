"""A real TCP connection whose server end gunicorn's parser reads, without a server process."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any

from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create

from tests.harness.clients.http import Connection
from tests.harness.sockets import HOST
from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.draining import LiveBodies


class GunicornConnection(Connection):
    """A client's connection, and the requests that gunicorn makes of what the client sends.

    The test is the client and the worker at once. The connection is TCP because a socket pair
    cannot be reset.

    Attributes:
        server: the socket of the server end.
        live: the bodies that draining interrupts.
        bodies: the bodies to close in the end.
    """

    def __init__(self) -> None:
        with socket.create_server((HOST, 0)) as listener:
            super().__init__(listener.getsockname()[1])
            self.server, self._address = listener.accept()
        self.socket.settimeout(None)
        self._config = Config()
        self._parser = RequestParser(self._config, self.server, self._address)
        self.live = LiveBodies()
        self.bodies: list[WsgiBody] = []

    def begin(self, *, length: int | None, data: bytes = b"") -> None:
        """Send the head of a PATCH, with the first bytes of its body in the same packet.

        Args:
            length: the Content-Length; None for a chunked body.
            data: the bytes as they are on the wire.
        """
        if length is None:
            framing = {"Transfer-Encoding": "chunked"}
        else:
            framing = {"Content-Length": str(length)}
        self.send(self.encode_head("PATCH", "/files/a", framing) + data)

    def wrap_server(self, server: socket.socket) -> None:
        """Let gunicorn's parser read from another socket, such as one with TLS."""
        self.server = server
        self._parser = RequestParser(self._config, server, self._address)

    def environ(self) -> dict[str, Any]:
        """Return the environ of the next request, as gunicorn's workers pass it to the app."""
        environ, _ = self.call()
        return environ

    def call(self) -> tuple[dict[str, Any], Any]:
        """Return the next request's environ and gunicorn's response, which has `start_response`."""
        request = next(self._parser)
        response, environ = create(
            request, self.server, self._address, self.server.getsockname(), self._config
        )
        return environ, response

    def body(self, *, timeout: float = 5.0) -> WsgiBody:
        """Return the body of the next request."""
        body = WsgiBody(self.environ(), timeout=timeout, live=self.live)
        self.bodies.append(body)
        return body

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for body in self.bodies:
            body.close()
        self.close()
        self.server.close()


def read(body: WsgiBody, *, step: int = 1000) -> bytes:
    """Read up to the body's end, `step` bytes at a time."""
    buffer = memoryview(bytearray(step))
    found = bytearray()
    while count := body.readinto(buffer):
        assert count <= step
        found += buffer[:count]
    assert body.readinto(buffer) == 0
    return bytes(found)
