"""The connection of a request under gunicorn: read the body, set timeouts, send, and close.

This is the only module that touches the socket in `gunicorn.socket` and knows gunicorn's readers
of that socket. Other servers have no such socket, and this module changes nothing under them.

gunicorn's internals are used only if they look exactly like in the tested versions (23 to 27).
Otherwise the same bytes are read from `wsgi.input`, only slower.

**Reading.** Under gunicorn every byte that passes through `wsgi.input` is copied several times and
read in small steps. A body with a Content-Length needs none of that: `SocketSource` takes what
gunicorn has read ahead and receives the rest into the buffer that is sent to S3. `benchmarks/` has
the figures.

**Closing.** After a body that was not read to its end, the connection cannot be reused: the next
request would begin at an unknown position behind that body. But if the server immediately closes a
connection that has unread bytes, the kernel sends a reset, which can overtake the response. So the
connection is closed in stages (RFC 9112, section 9.6): stop writing, discard incoming bytes for a
while, then close.

Otherwise gunicorn would read the whole rest of the body, 1 KiB at a time, to keep the connection.
gunicorn 27 copies everything that it has read ahead at each of these steps. That took 0.3 s per
MiB, and a gevent worker served no other request meanwhile.
"""

from __future__ import annotations

import fcntl
import io
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB
from tus_wsgi.wsgi.draining import LIVE_BODIES, LiveBodies
from tus_wsgi.wsgi.framing import has_body, is_http1
from tus_wsgi.wsgi.rate import MIN_WAIT, WINDOW, RateMeter

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

YIELD_SECONDS = 0.005
"""Let other requests run after gunicorn's reader has worked for this long. The reader takes 5 µs
for a chunk of one byte, and 2 ms for such a chunk with 8 KB of extensions: 64 KiB in such chunks
would take two minutes."""

TLS_SLACK = 64 * KIB
"""Bytes that OpenSSL may hold in addition to the kernel: more than one TLS record (16 KiB)."""

LINGER_SECONDS = 30.0
"""How long to discard the rest of a body. A client that reads the response only after sending the
whole body still gets the response if it finishes sending within this time. Otherwise it sees a
network error and retries."""

IDLE_SECONDS = 5.0
"""Consider the client gone if no byte arrives for this long. This and `LINGER_SECONDS` are nginx's
defaults for the same purpose (`lingering_timeout`, `lingering_time`)."""

INTERRUPTED_SECONDS = 0.5
"""The same for a connection whose reading side has been shut down, e.g. to interrupt the body.
Another request may have replaced this one, so the server does not wait longer for the client."""

LINGER_STEP = 64 * KIB

_RESET = struct.pack("ii", 1, 0)
"""Close at once, with a reset (socket(7), `SO_LINGER`)."""

_STILL_OPEN = frozenset({1, 4, 5})
"""`tcpi_state` while the other side may still send: ESTABLISHED, FIN_WAIT1, FIN_WAIT2
(linux/tcp_states.h)."""

_NOTSENT_BYTES, _BYTES_SENT, _TCP_INFO_SIZE = 144, 200, 216
"""Offsets in `struct tcp_info` (linux/tcp.h since Linux 4.19): `tcpi_notsent_bytes`;
`tcpi_bytes_sent`, which `tcpi_bytes_retrans` follows; and the end of `tcpi_bytes_retrans`."""


class Connection:
    """The connection of a request under gunicorn, until `release` restores it for the next one.

    Args:
        sock: the socket; see `of`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._old_timeout = sock.gettimeout()
        self._unreader: Any = None
        self._limit: int | None = None
        self._deadline = float("inf")
        self._meter = RateMeter()

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Self | None:
        """Return the connection of a request; None if the server does not provide it.

        gunicorn's gevent and gthread workers provide it. Under other servers, a body can neither be
        timed out nor be interrupted in the middle of a read.
        """
        sock = _socket_of(environ)
        return None if sock is None else cls(sock)

    def set_timeout(
        self, seconds: float, *, deadline: float = float("inf"), min_rate: float = 0.0
    ) -> None:
        """Limit how long receiving and sending may block.

        Args:
            seconds: raise `TimeoutError` if nothing can be received or sent for this long.
            deadline: an instant of `time.monotonic` after which `receive` returns no more bytes.
            min_rate: raise `TimeoutError` too if fewer bytes per second are received in a minute,
                or in `seconds` if that is longer.
        """
        self._deadline = deadline
        self._meter = RateMeter(min_rate, max(WINDOW, seconds))
        self._socket.settimeout(seconds)

    def send(self, data: bytes) -> None:
        """Send bytes outside of the response, such as an interim response.

        Raises:
            OSError: the connection is gone.
        """
        self._socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Receive at most `size` bytes.

        Returns:
            the bytes; none at the end of the connection, after the deadline of `set_timeout`, or
            when all bytes up to an `interrupt` are read.
        """
        if time.monotonic() > self._deadline:
            return b""
        limit = self._limit
        if limit == 0:
            return b""
        self._meter.begin()
        data = self._socket.recv(size if limit is None else min(size, limit))
        self._meter.end(len(data))
        if limit is not None:
            self._limit = limit - len(data)
        return data

    def receive_into(self, buffer: memoryview) -> int:
        """Receive into the start of a buffer; 0 at the end of the connection."""
        limit = self._limit
        if limit == 0:
            return 0
        self._meter.begin()
        count = self._socket.recv_into(buffer if limit is None else buffer[:limit])
        self._meter.end(count)
        if limit is not None:
            self._limit = limit - count
        return count

    def rate(self) -> float:
        """Return the bytes per second that the client sends."""
        return self._meter.rate()

    def is_closed(self) -> bool:
        """Return whether the client has closed its side of the connection.

        A client that only closes its sending direction counts as gone, as it does for nginx.
        """
        state = _tcp_state(self._socket)
        if state is not None:
            return state not in _STILL_OPEN
        # This is a Unix socket, or a platform that does not tell the state of a TCP connection.
        try:
            return not socket.socket.recv(self._socket, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def stop_receiving(self) -> None:
        """Shut down the reading side. Bytes that have arrived can still be read."""
        with suppress(OSError):  # The connection may be gone already.
            _shutdown(self._socket, socket.SHUT_RD)

    def interrupt(self) -> None:
        """End the reading after the bytes that have arrived by now. Callable from any thread.

        Without this limit, the body of a client that keeps sending would never end.
        """
        with suppress(OSError, ValueError):  # A closed socket has no file descriptor.
            self._limit = _pending(self._socket)
        self.stop_receiving()

    def length_reader(self, input: Any, content_length: int) -> Any:  # noqa: ANN401 - gunicorn is untyped
        """Return gunicorn's reader of a body if the caller can read this socket instead, else None.

        Args:
            input: the request's `wsgi.input`.
            content_length: the request's Content-Length.
        """
        reader = getattr(input, "reader", None)
        unreader = getattr(reader, "unreader", None)
        is_known = (
            not isinstance(self._socket, ssl.SSLSocket)
            and type(reader).__name__ == "LengthReader"
            and getattr(reader, "length", None) == content_length
            and getattr(unreader, "sock", None) is self._socket
            and isinstance(getattr(unreader, "buf", None), io.BytesIO)
            and callable(getattr(unreader, "unread", None))
            and isinstance(getattr(input, "buf", None), io.BytesIO)
            and not input.buf.getvalue()
        )
        return reader if is_known else None

    def control_reads_of(self, input: Any) -> None:  # noqa: ANN401 - gunicorn is untyped
        """Make gunicorn's own reader of a body receive through a `YieldingSocket`.

        Args:
            input: the request's `wsgi.input`. It is left alone if its reader is not a known one.
        """
        reader = getattr(input, "reader", None)
        unreader: Any = getattr(getattr(reader, "req", reader), "unreader", None)
        if getattr(unreader, "sock", None) is self._socket:
            self._unreader = unreader
            unreader.sock = YieldingSocket(self, self._socket)

    def shut_down(self) -> None:
        """End both directions, so that the server waits for this client no longer.

        Raises:
            OSError: the connection is gone.
        """
        _shutdown(self._socket, socket.SHUT_RDWR)

    def release(self) -> None:
        """Restore gunicorn's reader and the timeout.

        Raises:
            OSError: the connection is closed.
        """
        if self._unreader is not None:
            self._unreader.sock = self._socket
        self._socket.settimeout(self._old_timeout)


class YieldingSocket:
    """The socket for gunicorn's own reader while a body is read. It lets other requests run.

    The reader calls `recv` until it has everything that it wants, which may take long.

    Args:
        connection: receives the bytes.
        sock: provides all other attributes.
    """

    def __init__(self, connection: Connection, sock: socket.socket) -> None:
        self._connection = connection
        self._socket = sock
        self._next_yield = time.monotonic() + YIELD_SECONDS

    def recv(self, size: int) -> bytes:
        """Receive at most `size` bytes, possibly after other requests have run."""
        if time.monotonic() >= self._next_yield:
            time.sleep(0)
            self._next_yield = time.monotonic() + YIELD_SECONDS
        return self._connection.receive(size)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a socket has
        return getattr(self._socket, name)


class SocketSource:
    """Read a body with a Content-Length from gunicorn's socket. It implements `BodySource`.

    gunicorn's reader is left as if it had read the bytes itself, so the connection continues with
    the next request, even a pipelined one.

    Args:
        connection: the request's connection.
        reader: gunicorn's `LengthReader`, see `Connection.length_reader`.
    """

    def __init__(self, connection: Connection, reader: Any) -> None:  # noqa: ANN401 - see above
        self._connection = connection
        self._reader = reader

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer with what gunicorn has read ahead, or else with what arrives."""
        room = buffer[: self._reader.length]
        if not len(room):
            return 0
        count = self._take_read_ahead(room) or self._connection.receive_into(room)
        self._reader.length -= count
        return count

    def trailers(self) -> dict[str, str]:
        """Return no fields: only a chunked body has trailers."""
        return {}

    def set_timeout(
        self, seconds: float, *, deadline: float = float("inf"), min_rate: float = 0.0
    ) -> None:
        """Limit each read. A read is a single `recv`; the caller has to check the deadline."""
        self._connection.set_timeout(seconds, deadline=deadline, min_rate=min_rate)

    def rate(self) -> float:
        """Return the bytes per second that the client sends."""
        return self._connection.rate()

    def stop_receiving(self) -> None:
        """End the body after what can be read without waiting."""
        self._connection.stop_receiving()

    def interrupt(self) -> None:
        """End the body after what has arrived by now."""
        self._connection.interrupt()

    def close(self) -> None:
        """Restore the connection."""
        self._connection.release()

    def _take_read_ahead(self, room: memoryview) -> int:
        unreader = self._reader.unreader
        ahead: bytes = unreader.buf.getvalue()
        if not ahead:
            return 0
        taken = ahead[: len(room)]
        unreader.buf = io.BytesIO()
        # The bytes behind the body belong to the next request.
        unreader.unread(ahead[len(taken) :])
        room[: len(taken)] = taken
        return len(taken)


def supports_trailers(environ: Mapping[str, Any]) -> bool:
    """Return whether the server provides the trailers of this request, if its body is chunked.

    WSGI has no place for trailers. gunicorn's reader of a chunked body keeps them in its request
    object. If that reader is not a known one, `checksum-trailer` is not offered.

    The reply to OPTIONS depends on this too, but an OPTIONS has no body. For such requests, the
    module of gunicorn's body class shows whether its reader of chunked bodies is the known one.
    """
    body = environ.get("wsgi.input")
    reader = getattr(body, "reader", None)
    if reader is None:
        return False
    if type(reader).__name__ == "ChunkedReader":
        return isinstance(getattr(getattr(reader, "req", None), "trailers", None), list)
    module = sys.modules.get(type(body).__module__)
    chunked = getattr(module, "ChunkedReader", None)
    return callable(getattr(chunked, "parse_trailers", None))


def trailers_of(input: Any) -> dict[str, str]:  # noqa: ANN401 - gunicorn is untyped
    """Return the fields that followed a chunked body, by lower-case names.

    The values of a repeated field are joined with ",".

    Args:
        input: the request's `wsgi.input`, read to its end.
    """
    reader = getattr(input, "reader", None)
    found = getattr(getattr(reader, "req", None), "trailers", None)
    fields: dict[str, str] = {}
    if not isinstance(found, list):
        return fields
    for name, value in found:
        key = str(name).lower()
        fields[key] = f"{fields[key]},{value}" if key in fields else str(value)
    return fields


def with_write_timeout(
    seconds: float, response_body: Iterable[bytes], environ: WSGIEnvironment
) -> Iterable[bytes]:
    """Time out a response if the client does not accept its next bytes for `seconds`.

    Without a timeout, a client that requests a file and never reads it occupies a thread or a
    connection of the server for ever.

    Args:
        seconds: the timeout. The server gets a `TimeoutError` from its socket and closes it.
        response_body: the chunks of the response's body.
        environ: the request's environ. Without `gunicorn.socket`, and in HTTP/2, where other
            requests share the connection, the server's own timeout applies.
    """
    connection = Connection.of(environ)
    if connection is None or not is_http1(environ):
        return response_body
    return TimeoutResponse(seconds, response_body, connection)


class TimeoutResponse:
    """A response's body that sets the connection's timeout to `seconds` until it is closed."""

    def __init__(
        self, seconds: float, response_body: Iterable[bytes], connection: Connection
    ) -> None:
        self._response_body = response_body
        self._connection = connection
        self._is_partly_sent = False
        connection.set_timeout(seconds)

    def __iter__(self) -> Iterator[bytes]:
        self._is_partly_sent = True
        yield from self._response_body
        self._is_partly_sent = False

    def close(self) -> None:
        """Restore the connection, or shut it down if the client did not accept everything.

        Without the shutdown, each gunicorn thread would wait for such a client once more, possibly
        all threads at the same time.
        """
        try:
            if close := getattr(self._response_body, "close", None):
                close()
        finally:
            with suppress(OSError):  # It may be closed already.
                if self._is_partly_sent:
                    self._connection.shut_down()
                self._connection.release()


def close_after_response(
    response_body: Iterable[bytes], environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Close the connection in stages after the response, if the request has a body.

    Args:
        response_body: the chunks of the response's body.
        environ: the request's environ. Without `gunicorn.socket`, the server decides how to close.
        start_response: gunicorn's own. If a middleware has wrapped it, the response has no
            `Connection: close`, which RFC 9112 only recommends (SHOULD).
    """
    if not has_body(environ) or not is_http1(environ):
        return response_body  # In HTTP/2 only a stream ends; others share the connection.
    # WSGI does not let applications set this field (PEP 3333), so gunicorn has to set it.
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if callable(force_close):
        force_close()
    sock = _socket_of(environ)
    return response_body if sock is None else LastResponse(response_body, sock, start_response)


class LastResponse:
    """The body of a connection's last response. `close` ends the connection in stages.

    The server calls `close` when it has written the response. But a middleware that collects the
    chunks calls it before the server has written anything, or never. Then the rest of the request's
    body is discarded at once, because the server itself will close the connection.

    Args:
        response_body: the chunks.
        sock: the connection's socket.
        start_response: gunicorn's own, or that of a middleware.
    """

    def __init__(
        self, response_body: Iterable[bytes], sock: socket.socket, start_response: StartResponse
    ) -> None:
        self._response_body = response_body
        self._socket = sock
        self._response = getattr(start_response, "__self__", None)
        self._written_before = _written_bytes(sock)
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._response_body)

    def close(self) -> None:
        """End the connection if the response was written; else prepare its end."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if close := getattr(self._response_body, "close", None):
                close()
        finally:
            connection = LingeringConnection(self._socket)
            if self._is_written():
                connection.close()
            else:
                connection.discard()

    def __del__(self) -> None:
        """Close the response if a middleware drops the chunks without closing them."""
        self.close()

    def _is_written(self) -> bool:
        is_written = getattr(self._response, "headers_sent", None)
        if isinstance(is_written, bool):
            return is_written
        before, now = self._written_before, _written_bytes(self._socket)
        return before is not None and now is not None and now > before


class LingeringConnection:
    """A connection whose response has been written while the request's body still arrives.

    Args:
        sock: the socket. Nothing else may use it any more.
        live: registers the connection while it waits, so that `drain` can end the wait.
    """

    def __init__(self, sock: socket.socket, *, live: LiveBodies = LIVE_BODIES) -> None:
        self._socket = sock
        self._live = live
        self._deadline = float("inf")
        self._began = time.monotonic()
        self._is_interrupted = False

    def close(self) -> None:
        """Wait until the client closes its side, for at most little more than `LINGER_SECONDS`."""
        scratch = bytearray(LINGER_STEP)
        self._deadline = time.monotonic() + LINGER_SECONDS
        self._live.add(self)
        has_more = False
        with suppress(OSError):  # The connection may be gone, or time out.
            _shutdown(self._socket, socket.SHUT_WR)
            self._socket.settimeout(IDLE_SECONDS)
            has_more = self._linger(scratch)
        self._live.remove(self)
        with suppress(OSError):
            if has_more:
                # Without a reset, the client may hang for a minute at a TCP window that never opens
                # again. An idle client is not reset: it may still wait for the response, which a
                # reset would discard.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            _shutdown(self._socket, socket.SHUT_RDWR)
            # Empty the buffer, so that a server that continues to read finds no bytes.
            while self._receive(scratch):
                pass

    def discard(self) -> None:
        """Discard what arrives until the client pauses, and keep the writing side open."""
        scratch = bytearray(LINGER_STEP)
        self._deadline = time.monotonic() + LINGER_SECONDS
        self._live.add(self)
        with suppress(OSError):  # The client pauses, or the connection is gone.
            timeout = self._socket.gettimeout()
            try:
                self._socket.settimeout(INTERRUPTED_SECONDS)
                while time.monotonic() < self._deadline and self._receive(scratch):
                    time.sleep(0)
            finally:
                self._socket.settimeout(timeout)
        self._live.remove(self)
        with suppress(OSError):
            # A server that continues to read must find the end: it is unknown where the next
            # request begins.
            _shutdown(self._socket, socket.SHUT_RD)

    def rate(self) -> float | None:
        """Return the bytes per second for `SlowBodyLimit`: infinity at first, 0 after `MIN_WAIT`.

        The client of a refused request does not need its connection, so this wait ends first if
        there are too few connections. None if the wait was interrupted.
        """
        if self._is_interrupted:
            return None
        return 0.0 if time.monotonic() - self._began >= MIN_WAIT else float("inf")

    def interrupt(self, _end: BodyEnd, /) -> None:
        """Wait only as long as a response takes to reach the client. Callable from any thread."""
        self._is_interrupted = True
        self._deadline = min(self._deadline, time.monotonic() + INTERRUPTED_SECONDS)
        with suppress(OSError):
            _shutdown(self._socket, socket.SHUT_RD)

    def _linger(self, scratch: bytearray) -> bool:
        """Discard incoming bytes, and return whether the client may send more.

        Raises:
            TimeoutError: nothing arrived for `IDLE_SECONDS`.
        """
        idle_since = time.monotonic()
        while (now := time.monotonic()) < self._deadline:
            if self._receive(scratch):
                idle_since = now
                time.sleep(0)  # recv never blocks if the client always has data: let others run.
            elif self._client_has_closed():
                return False
            elif now - idle_since > INTERRUPTED_SECONDS:
                # Reading was shut down, so the kernel opens no TCP window any more.
                return True
            else:
                time.sleep(INTERRUPTED_SECONDS / 20)
        return True

    def _client_has_closed(self) -> bool:
        """Return whether the client has closed its side. Known only on Linux, and only for TCP."""
        return _tcp_state(self._socket) not in _STILL_OPEN

    def _receive(self, scratch: bytearray) -> int:
        """Receive without TLS, as the bytes are discarded; 0 if there are no more."""
        return socket.socket.recv_into(self._socket, scratch)


def _socket_of(environ: Mapping[str, Any]) -> socket.socket | None:
    sock = environ.get("gunicorn.socket")
    return sock if isinstance(sock, socket.socket) else None


def _written_bytes(sock: socket.socket) -> int | None:
    """Return how many bytes were written to a TCP connection; None if the system does not tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except (AttributeError, OSError):
        return None
    if len(info) < _TCP_INFO_SIZE:
        return None
    sent, sent_again = struct.unpack_from("=QQ", info, _BYTES_SENT)
    (waiting,) = struct.unpack_from("=I", info, _NOTSENT_BYTES)
    return int(sent - sent_again + waiting)


def _tcp_state(sock: socket.socket) -> int | None:
    """Return `tcpi_state` of a connection; None if it is unknown, or not a TCP connection."""
    try:
        (state,) = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (AttributeError, OSError):
        return None
    return state


def _shutdown(sock: socket.socket, how: int) -> None:
    """Call `shutdown` on the TCP connection only.

    `SSLSocket.shutdown` also ends TLS, and a response that is written afterwards would be sent
    unencrypted.

    Raises:
        OSError: the connection is gone.
    """
    socket.socket.shutdown(sock, how)


def _pending(sock: socket.socket) -> int:
    """Return how many bytes have arrived, or a little more, as TLS may hold back some."""
    answer = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder) + TLS_SLACK
