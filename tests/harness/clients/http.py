"""A raw HTTP/1.1 client: requests in pieces, half-closed and reset connections.

A library would repair what the tests break on purpose.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness import http_messages, sockets
from tests.harness.http_messages import encode_chunk, encode_head
from tests.harness.sockets import HOST
from tests.harness.timing import MAX_WAIT

SETTLE_SECONDS = 0.2
"""Time for a server to process the last bytes that it received, and to ask for more."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response, or an interim response.

    Attributes:
        status: its number.
        fields: the values by names in lower case; repeated fields are joined by a comma.
        body: without its transfer coding.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes = b""

    def __getitem__(self, name: str) -> str:
        return self.fields[name.lower()]

    def get(self, name: str) -> str | None:
        return self.fields.get(name.lower())

    @property
    def offset(self) -> int | None:
        """The value of Upload-Offset, if the response has the field."""
        text = self.get("Upload-Offset")
        return None if text is None else int(text)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


OnInterim = Callable[[Response], None]
"""Called with each interim response (1xx), in the order in which they arrive."""


def ignore(_response: Response) -> None:
    """Ignore an interim response."""


class Connection:
    """One connection. A context manager that closes the connection.

    Args:
        port: where the server listens.
        timeout: seconds that any send or receive may take.
        tls: the certificates to trust, if the server speaks TLS.
    """

    def __init__(
        self, port: int, *, timeout: float = MAX_WAIT, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = socket.create_connection((HOST, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=HOST)
        self._input: io.BufferedReader = self.socket.makefile("rb")
        self._host = f"{HOST}:{port}"
        self._methods: list[str] = []

    def encode_head(
        self, method: str, target: str, fields: Mapping[str, str] | None = None
    ) -> bytes:
        """Return a request's head with the Host field of this connection."""
        return encode_head(method, target, {"Host": self._host, **(fields or {})})

    def send_head(self, method: str, target: str, fields: Mapping[str, str] | None = None) -> None:
        """Send a request's head; the caller sends the body."""
        self._methods.append(method)
        self.send(self.encode_head(method, target, fields))

    def request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Send a whole request."""
        length = {} if body is None else {"Content-Length": str(len(body))}
        self.send_head(method, target, {**length, **(fields or {})})
        if body:
            # A server that refuses a request may answer and close before it has the whole body.
            with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
                self.send(body)

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; the empty chunk ends the body."""
        self.send(encode_chunk(data))

    def expect(self, *methods: str) -> None:
        """Note the methods of requests that were sent with `send`: responses depend on them."""
        self._methods += methods

    def read_response(self, *, on_interim: OnInterim = ignore) -> Response:
        """Read the final response to the oldest request that has no response yet.

        Raises:
            EOFError: the server closed the connection before the end of the response.
            OSError: the connection broke, or nothing arrived in time.
        """
        method = self._methods.pop(0) if self._methods else "GET"
        while (response := self.read_any_response(method)).status < 200:
            on_interim(response)
        return response

    def read_any_response(self, method: str) -> Response:
        """Read the next response to a request with this method, interim or final."""
        message = http_messages.read_response(self._input, method)
        is_coded = message.body and http_messages.is_chunked(message.head)
        body = http_messages.decode_chunks(message.body) if is_coded else message.body
        return Response(message.status, http_messages.fields_of(message.head), body)

    def read_line(self) -> bytes:
        """Read a line, without its end.

        Raises:
            EOFError: the connection ended within the line.
        """
        return http_messages.read_line(self._input).rstrip(b"\r\n")

    def read_to_end(self) -> bytes:
        """Read until the server closes or resets the connection."""
        received = b""
        try:
            while more := self._input.read1(1 << 16):
                received += more
        except ConnectionError:
            pass
        return received

    def wait_until_delivered(self, *, seconds: float = MAX_WAIT) -> None:
        """Wait until the server's kernel has received everything that was sent."""
        deadline = time.monotonic() + seconds
        while struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]:
            assert time.monotonic() < deadline, "the server receives nothing"
            time.sleep(0.005)

    def wait_until_consumed(self, *, seconds: float = MAX_WAIT) -> None:
        """Wait until the server has read everything that was sent, and waits for more."""
        self.wait_until_delivered(seconds=seconds)
        server_port, client_port = self.socket.getpeername()[1], self.socket.getsockname()[1]
        deadline = time.monotonic() + seconds
        while unread := _unread_bytes(server_port, client_port):
            assert time.monotonic() < deadline, f"the server does not read the last {unread} bytes"
            time.sleep(0.005)
        time.sleep(SETTLE_SECONDS)

    def has_input(self) -> bool:
        """Return whether the server has sent something, or closed the connection."""
        readable, _, _ = select.select([self.socket], [], [], 0)
        return bool(readable)

    def half_close(self) -> None:
        """Send a FIN: nothing more follows, and responses can still be read."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close at once with an RST."""
        sockets.send_reset_on_close(self.socket)
        self.close()

    def close(self) -> None:
        """Close. A second call does nothing."""
        self._input.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _unread_bytes(local_port: int, remote_port: int) -> int:
    """Return how many bytes the kernel has received that the owner of a socket has not read."""
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines():
        _, local, remote, _, queues, *_ = line.split()
        # The kernel writes `address:port` and `sent:received`, in hexadecimal.
        if local.endswith(f":{local_port:04X}") and remote.endswith(f":{remote_port:04X}"):
            return int(queues.partition(":")[2], 16)
    return 0
