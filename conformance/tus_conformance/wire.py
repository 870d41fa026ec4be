"""A minimal HTTP/1.1 client over sockets, for requests that no HTTP library would send.

It knows nothing of tus. Seconds are `float`. Text in header fields is sent as UTF-8 and bytes are
sent unchanged, so that every octet can be sent.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

Value = str | bytes
Fields = Mapping[str, Value | None] | Sequence[tuple[str, Value | None]]
"""Header fields. None removes a default; a sequence may repeat a name."""

_STATUSES_WITHOUT_BODY = frozenset((204, 304))
_BLOCK_SIZE = 256 * 1024


class NoResponse(ConnectionError):
    """The connection ended before a complete response arrived."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The address of a server."""

    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        """The value of the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default_port = 443 if self.tls else 80
        return host if self.port == default_port else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """A response.

    Attributes:
        status: the status code.
        reason: the reason phrase.
        fields: the header lines in the order of arrival.
        body: after decoding the transfer coding.
        interim: the 1xx responses before it.
    """

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""
    interim: tuple[Response, ...] = ()

    def all(self, name: str) -> list[str]:
        """Return the values of a field, one for each line."""
        return [value for other, value in self.fields if other.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the value of a field, with repeated lines combined by commas."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"expected {name} in {self}"
        return value

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __str__(self) -> str:
        lines = [f"{self.status} {self.reason}", *(f"{n}: {v}" for n, v in self.fields)]
        return " | ".join([*lines, repr(self.body[:200])] if self.body else lines)


class Connection:
    """A connection. Leaving its context closes it.

    Args:
        origin: the server's address.
        timeout: seconds for each send and receive.
    """

    abandoned = 0
    """The number of connections that were closed while a response was due."""

    def __init__(self, origin: Origin, *, timeout: float) -> None:
        self.origin = origin
        self.timeout = timeout
        self._is_due = False  # whether the server owes a response
        self._socket = socket.create_connection((origin.host, origin.port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.tls:
            context = ssl.create_default_context()
            self._socket = context.wrap_socket(self._socket, server_hostname=origin.host)
        self._input: io.BufferedReader = self._socket.makefile("rb")

    # -- sending ---------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes unchanged.

        Raises:
            OSError: the server closed the connection, or does not read.
        """
        self._is_due = True
        self._socket.sendall(data)

    def begin(self, method: str, target: str, fields: Fields = ()) -> None:
        """Send the head of a request. The caller sends the body."""
        self.send(
            request_head(method, target, merge_fields({"Host": self.origin.authority}, fields))
        )

    def send_until_response(self, data: bytes) -> int:
        """Send bytes until a response arrives, and return the number sent."""
        sent = 0
        view = memoryview(data)
        while sent < len(data):
            readable, writable, _ = select.select([self._socket], [self._socket], [], self.timeout)
            if readable:
                break
            assert writable, f"the server neither reads nor responds after {sent} bytes"
            # In small blocks, because sendall() blocks until the whole block is sent.
            self._socket.sendall(view[sent : sent + _BLOCK_SIZE])
            sent += min(_BLOCK_SIZE, len(data) - sent)
        return sent

    def half_close(self) -> None:
        """Close the sending direction only; the response can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.wait_until_delivered()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def wait_until_delivered(self) -> None:
        """Wait until the peer's kernel has acknowledged all bytes; a reset drops the rest."""
        deadline = time.monotonic() + self.timeout
        while _undelivered(self._socket) and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        """Close both directions."""
        if self._is_due:
            Connection.abandoned += 1
        self._is_due = False
        self._input.close()
        self._socket.close()

    # -- receiving -------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        target: str,
        fields: Fields = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Response:
        """Send a request and read the response, which may arrive before the body is sent."""
        self.begin(method, target, fields)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for chunk in [body] if isinstance(body, bytes) else body:
                self.send(chunk)
        return self.response(method)

    def response(self, method: str = "GET") -> Response:
        """Read the next final response, for a request with this method.

        Raises:
            NoResponse: the connection ended first.
            TimeoutError: the server sent nothing for `timeout` seconds.
        """
        interim: list[Response] = []
        while True:
            head = self._read_head()
            if head.status >= 200 or head.status == 101:
                break
            interim.append(head)
        bodyless = method == "HEAD" or head.status in _STATUSES_WITHOUT_BODY
        body = b"" if bodyless else self._read_body(head)
        self._is_due = False
        return Response(head.status, head.reason, head.fields, body, tuple(interim))

    def interim(self) -> Response:
        """Read the next interim response without waiting for the final one."""
        head = self._read_head()
        assert head.status < 200, f"expected an interim response, got {head}"
        return head

    def closes_within(self, seconds: float) -> bool:
        """Return whether the server closes the connection within this time; discard its bytes."""
        deadline = time.monotonic() + seconds
        try:
            while (remaining := deadline - time.monotonic()) > 0:
                self._socket.settimeout(remaining)
                if not self._input.read1(_BLOCK_SIZE):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(self.timeout)
        return False

    def stays_silent_for(self, seconds: float) -> bool:
        """Return whether the server sends nothing and keeps the connection for this time."""
        readable, _, _ = select.select([self._socket], [], [], seconds)
        return not readable

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- parsing ---------------------------------------------------------------------------------

    def _read_head(self) -> Response:
        """Read the status line and the fields. The returned response has no body yet."""
        line = self._read_line()
        version, _, rest = line.partition(" ")
        status, _, reason = rest.partition(" ")
        assert version in {"HTTP/1.1", "HTTP/1.0"}, f"expected a status line, got {line!r}"
        fields: list[tuple[str, str]] = []
        while text := self._read_line():
            name, colon, value = text.partition(":")
            assert colon, f"expected a header field, got {text!r}"
            fields.append((name, value.strip(" \t")))
        return Response(int(status), reason, tuple(fields))

    def _read_line(self) -> str:
        try:
            line = self._input.readline()
        except ConnectionError as error:
            raise NoResponse(str(error)) from error
        if not line.endswith(b"\n"):
            raise NoResponse(f"the connection ended after {line!r}")
        return line.rstrip(b"\r\n").decode("latin-1")

    def _read_body(self, head: Response) -> bytes:
        if "chunked" in (head.get("Transfer-Encoding") or ""):
            return b"".join(self._read_chunks())
        if (length := head.get("Content-Length")) is None:
            return self._input.read()
        return self._read_exactly(int(length))

    def _read_chunks(self) -> Iterable[bytes]:
        while size := int(self._read_line().partition(";")[0], 16):
            yield self._read_exactly(size)
            self._read_line()
        while self._read_line():
            pass

    def _read_exactly(self, size: int) -> bytes:
        body = self._input.read(size)
        if len(body) < size:
            raise NoResponse(f"the body ended after {len(body)} of {size} bytes")
        return body


def merge_fields(defaults: Mapping[str, Value], fields: Fields) -> list[tuple[str, Value | None]]:
    """Return the defaults that `fields` does not name, followed by `fields`."""
    pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
    named = {name.lower() for name, _ in pairs}
    missing = [(name, value) for name, value in defaults.items() if name.lower() not in named]
    return [*missing, *pairs]


def request_head(method: str, target: str, fields: Fields) -> bytes:
    """Return the bytes of a request's head without validating them."""
    line = f"{method} {target} HTTP/1.1\r\n".encode()
    return line + _lines(fields) + b"\r\n"


def to_bytes(value: Value) -> bytes:
    """Encode text as UTF-8; return bytes unchanged."""
    return value.encode() if isinstance(value, str) else value


def encode_chunks(chunks: Iterable[bytes], trailers: Fields = ()) -> bytes:
    """Encode a body in the chunked transfer coding, without empty chunks."""
    chunks = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
    return b"".join([*chunks, b"0\r\n", _lines(trailers), b"\r\n"])


def _lines(fields: Fields) -> bytes:
    present = [(name, value) for name, value in merge_fields({}, fields) if value is not None]
    return b"".join(to_bytes(name) + b": " + to_bytes(value) + b"\r\n" for name, value in present)


def _undelivered(sock: socket.socket) -> int:
    """Return the number of bytes that the peer has not acknowledged (Linux only)."""
    try:
        import fcntl
        import termios

        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except (ImportError, OSError):
        time.sleep(0.2)
        return 0
