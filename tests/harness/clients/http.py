"""HTTP/1.1 by hand over a socket: requests in pieces, half-closed and reset connections.

Libraries would mend what the tests want broken.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import socket
import ssl
import struct
import termios
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"

SETTLE = 0.2
"""Seconds for a server to come back from what it does with the last bytes, and ask for more."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back.

    Attributes:
        status: its number.
        fields: by their names in lower case; those that came twice are joined by a comma.
        body: without its transfer coding.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes

    def __getitem__(self, name: str) -> str:
        return self.fields[name.lower()]

    def get(self, name: str) -> str | None:
        return self.fields.get(name.lower())


class Connection:
    """One connection. A context manager: leaving it closes it.

    Args:
        port: where the server listens.
        timeout: seconds that any send or receive may take.
        tls: whom to trust, where the server speaks TLS.
    """

    def __init__(
        self, port: int, *, timeout: float = 15.0, tls: ssl.SSLContext | None = None
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
        """The bytes of a request's head."""
        return request_head(method, target, {"Host": self._host, **(fields or {})})

    def send_head(self, method: str, target: str, fields: Mapping[str, str] | None = None) -> None:
        """Send a request's head; its body is the caller's business."""
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
            # A server that refuses a request may answer, and close, before it has the whole body.
            with contextlib.suppress(ConnectionError):
                self.send(body)

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; an empty one ends the body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def read_response(self) -> Response:
        """Read the final response to the oldest request that has none yet.

        Raises:
            EOFError: the server closed the connection before a response.
            OSError: the connection broke, or nothing came in time.
        """
        method = self._methods.pop(0) if self._methods else "GET"
        while True:
            response = self._response(method)
            if response.status >= 200:
                return response

    def wait_until_delivered(self, *, seconds: float = 10.0) -> None:
        """Wait until the server's kernel has everything that we sent."""
        deadline = time.monotonic() + seconds
        while struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]:
            assert time.monotonic() < deadline, "the server receives nothing"
            time.sleep(0.005)

    def wait_until_consumed(self, *, seconds: float = 10.0) -> None:
        """Wait until the server has received everything that we sent, and asks for more."""
        self.wait_until_delivered(seconds=seconds)
        ends = [f":{end[1]:04X}" for end in (self.socket.getpeername(), self.socket.getsockname())]
        deadline = time.monotonic() + seconds
        while waiting := _bytes_in_the_kernel(*ends):
            assert time.monotonic() < deadline, f"the server leaves {waiting} bytes where they are"
            time.sleep(0.005)
        time.sleep(SETTLE)

    def expect(self, *methods: str) -> None:
        """Say what was asked for by `send`, since responses depend on it."""
        self._methods += methods

    def half_close(self) -> None:
        """Send a FIN: nothing more comes from us, and we still listen."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close at once with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close. A second call does nothing."""
        self._input.close()
        self.socket.close()

    def read_to_end(self) -> bytes:
        """All that the server sends until it closes the connection, be it by a reset."""
        received = b""
        try:
            while more := self._input.read1(1 << 16):
                received += more
        except ConnectionError:
            pass
        return received

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read_line(self) -> bytes:
        """Read a line, without its end.

        Raises:
            EOFError: the connection ended in it.
        """
        line = self._input.readline(1 << 16)
        if not line.endswith(b"\n"):
            raise EOFError(f"the connection ended in {line!r}")
        return line.rstrip(b"\r\n")

    def _response(self, method: str) -> Response:
        version, status, *_ = self.read_line().split(b" ", 2)
        assert version.startswith(b"HTTP/1."), version
        fields: dict[str, str] = {}
        while line := self.read_line():
            name, value = line.decode("latin-1").split(":", 1)
            key = name.lower()
            value = value.strip()
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
        return Response(int(status), fields, self._body(method, int(status), fields))

    def _body(self, method: str, status: int, fields: Mapping[str, str]) -> bytes:
        if method == "HEAD" or status < 200 or status in (204, 304):
            return b""
        if "chunked" in fields.get("transfer-encoding", ""):
            return b"".join(self._chunks())
        if (length := fields.get("content-length")) is None:
            return self._input.read()
        body = self._input.read(int(length))
        if len(body) < int(length):
            raise EOFError(f"the body ended after {len(body)} of {length} bytes")
        return body

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self.read_line().split(b";")[0], 16):
            yield self._input.read(size)
            self.read_line()
        while self.read_line():
            pass


def _bytes_in_the_kernel(local: str, remote: str) -> int:
    """What a socket of this machine has not been asked for, given the ends of its addresses."""
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines():
        _, here, there, _, queues, *_ = line.split()
        if here.endswith(local) and there.endswith(remote):
            return int(queues.partition(":")[2], 16)
    return 0


def request_head(method: str, target: str, fields: Mapping[str, str]) -> bytes:
    """The bytes of a request's head."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
