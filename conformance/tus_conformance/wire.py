"""HTTP/1.1 by hand, over sockets: requests that no library would send, and all that comes back.

Nothing here knows tus. Seconds are `float`. Text of fields is sent as UTF-8, and bytes as they
are, so every octet can be sent.
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
"""Header fields; a pair with None takes a default away, and a sequence may repeat a name."""

_BODYLESS = frozenset((204, 304))
_STEP = 256 * 1024


class NoResponse(ConnectionError):
    """The connection ended before a whole response had come."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a server listens."""

    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        """What belongs into the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """What came back.

    Attributes:
        status: its number.
        reason: the text behind it.
        fields: as they came, each line for itself.
        body: without its transfer coding.
        interim: the 1xx responses before it.
    """

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""
    interim: tuple[Response, ...] = ()

    def all(self, name: str) -> list[str]:
        """The values of a field, one for each line."""
        return [value for other, value in self.fields if other.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a field; lines of the same name are joined, as HTTP has it."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"there is no {name} in {self}"
        return value

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __str__(self) -> str:
        lines = [f"{self.status} {self.reason}", *(f"{n}: {v}" for n, v in self.fields)]
        return " | ".join([*lines, repr(self.body[:200])] if self.body else lines)


class Connection:
    """One connection. A context manager: leaving it closes it.

    Args:
        origin: where to.
        timeout: seconds that any one send or receive may take.
    """

    abandoned = 0
    """How many connections were closed although an answer was due."""

    def __init__(self, origin: Origin, *, timeout: float) -> None:
        self.origin = origin
        self.timeout = timeout
        self._is_due = False
        self._socket = socket.create_connection((origin.host, origin.port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.tls:
            context = ssl.create_default_context()
            self._socket = context.wrap_socket(self._socket, server_hostname=origin.host)
        self._input: io.BufferedReader = self._socket.makefile("rb")

    # -- sending ---------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            OSError: the other side has gone, or does not read.
        """
        self._is_due = True
        self._socket.sendall(data)

    def begin(self, method: str, target: str, fields: Fields = ()) -> None:
        """Send a request's head; its body is the caller's business."""
        self.send(
            request_head(method, target, merge_fields({"Host": self.origin.authority}, fields))
        )

    def send_until_response(self, data: bytes) -> int:
        """Send bytes until all are gone or an answer begins to come; how many were sent."""
        sent = 0
        view = memoryview(data)
        while sent < len(data):
            readable, writable, _ = select.select([self._socket], [self._socket], [], self.timeout)
            if readable:
                break
            assert writable, f"the server neither reads nor answers, after {sent} bytes"
            # Little by little, since a send waits until the whole of it has gone.
            self._socket.sendall(view[sent : sent + _STEP])
            sent += min(_STEP, len(data) - sent)
        return sent

    def half_close(self) -> None:
        """Half-close: nothing more will be sent, and the answer can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End it with a reset, as a machine that was restarted does."""
        self.wait_until_delivered()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def wait_until_delivered(self) -> None:
        """Wait until the other side's system has got what was sent: a reset drops the rest."""
        deadline = time.monotonic() + self.timeout
        while _undelivered(self._socket) and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        """Close it, for both directions."""
        Connection.abandoned += self._is_due
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
        """Send a whole request and read the response, which may come before the body is sent."""
        self.begin(method, target, fields)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for chunk in [body] if isinstance(body, bytes) else body:
                self.send(chunk)
        return self.response(method)

    def response(self, method: str = "GET") -> Response:
        """The next response; `method` is that of its request.

        Raises:
            NoResponse: the connection ended first.
            TimeoutError: it took too long.
        """
        interim: list[Response] = []
        while True:
            head = self._read_head()
            if head.status >= 200 or head.status == 101:
                break
            interim.append(head)
        bodyless = method == "HEAD" or head.status in _BODYLESS
        body = b"" if bodyless else self._read_body(head)
        self._is_due = False
        return Response(head.status, head.reason, head.fields, body, tuple(interim))

    def interim(self) -> Response:
        """The next response, which has to be an interim one, without waiting for the final one."""
        head = self._read_head()
        assert head.status < 200, f"expected an interim response, got {head}"
        return head

    def closes_within(self, seconds: float) -> bool:
        """Whether the other side ends the connection within so many seconds, whatever it says."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._input.read1(_STEP):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(self.timeout)
        return False

    def stays_silent_for(self, seconds: float) -> bool:
        """Whether nothing at all comes for so many seconds, and the connection stays."""
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

    # -- in detail -------------------------------------------------------------------------------

    def _read_head(self) -> Response:
        line = self._read_line()
        version, _, rest = line.partition(" ")
        status, _, reason = rest.partition(" ")
        assert version in {"HTTP/1.1", "HTTP/1.0"}, f"this is no response: {line!r}"
        fields: list[tuple[str, str]] = []
        while text := self._read_line():
            name, colon, value = text.partition(":")
            assert colon, f"this is no field: {text!r}"
            fields.append((name, value.strip(" \t")))
        return Response(int(status), reason, tuple(fields))

    def _read_line(self) -> str:
        try:
            line = self._input.readline()
        except ConnectionError as error:
            raise NoResponse(str(error)) from error
        if not line.endswith(b"\n"):
            raise NoResponse(f"the connection ended, after {line!r}")
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
    """`fields`, and the defaults that they neither name nor take away."""
    pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
    named = {name.lower() for name, _ in pairs}
    missing = [(name, value) for name, value in defaults.items() if name.lower() not in named]
    return [*missing, *pairs]


def request_head(method: str, target: str, fields: Fields) -> bytes:
    """The bytes of a request's head, without any look at whether they make sense."""
    line = f"{method} {target} HTTP/1.1\r\n".encode()
    return line + _lines(fields) + b"\r\n"


def to_bytes(value: Value) -> bytes:
    """Text as UTF-8, and bytes as they are."""
    return value.encode() if isinstance(value, str) else value


def encode_chunks(chunks: Iterable[bytes], trailers: Fields = ()) -> bytes:
    """A body in the chunked transfer coding: a chunk for each piece that is not empty."""
    chunks = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
    return b"".join([*chunks, b"0\r\n", _lines(trailers), b"\r\n"])


def _lines(fields: Fields) -> bytes:
    present = [(name, value) for name, value in merge_fields({}, fields) if value is not None]
    return b"".join(to_bytes(name) + b": " + to_bytes(value) + b"\r\n" for name, value in present)


def _undelivered(sock: socket.socket) -> int:
    """Bytes that the other side has not acknowledged; Linux alone can tell."""
    try:
        import fcntl
        import termios

        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except (ImportError, OSError):
        time.sleep(0.2)
        return 0
