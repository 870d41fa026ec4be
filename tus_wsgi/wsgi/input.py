"""Where a request's bytes come from: `wsgi.input`, or straight from gunicorn's socket.

Under gunicorn every byte that passes through `wsgi.input` is copied several times and read in small
steps. A body with a Content-Length needs none of that: what the server has read ahead is taken
from it, and the rest is received into the buffer that is going to S3.
`benchmarks/` has the figures.

It is gunicorn's inner side, so it is looked at closely and left alone where anything is not as in
the versions that the tests run (23 to 27): then `wsgi.input` gives the same bytes, only slower.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Mapping
from typing import IO, Any, Protocol

from tus_wsgi.domain.model import KIB

INPUT_STEP = 64 * KIB
"""Bytes asked of `wsgi.input` at once. Its read blocks until it has them all, so this is also how
much a slow client sends before the first of it moves on."""


TURN_SECONDS = 0.005
"""After so much of its own work gunicorn's reader gives others a turn. It takes 5 µs for a chunk of
one byte, and 2 ms for one with 8 KB of extensions: 64 KiB of those would take two minutes."""


class BodySource(Protocol):
    """Bytes in their order. It may raise whatever the server raises, and can be read on then."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start, with at least one byte; 0 when there are no more."""

    def stop_after(self, size: int, /) -> None:
        """Take at most `size` bytes more from the connection. From any thread."""

    def stop_at(self, instant: float, /) -> None:
        """Take nothing more from the connection after this instant of `time.monotonic`."""

    def close(self) -> None:
        """Leave the server's reader as it was."""


def source_of(environ: Mapping[str, Any], content_length: int | None) -> BodySource:
    """The fastest source of this request's body.

    Args:
        environ: the request's.
        content_length: its Content-Length; None when it is chunked.
    """
    if (
        content_length is not None
        and (reader := _plain_reader(environ, content_length)) is not None
    ):
        return SocketSource(reader)
    return InputSource(environ["wsgi.input"], _unreader(environ))


class InputSource:
    """What every WSGI server has.

    Args:
        input: `wsgi.input`.
        unreader: where gunicorn's reads from, see `_unreader`; None for another server's.
    """

    def __init__(self, input: IO[bytes], unreader: Any = None) -> None:  # noqa: ANN401 - see above
        self._input = input
        self._unreader = unreader
        self._paced: YieldingSocket | None = None
        if unreader is not None:
            self._paced = unreader.sock = YieldingSocket(unreader.sock)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start, with at most `INPUT_STEP` bytes."""
        data = self._input.read(min(len(buffer), INPUT_STEP))
        buffer[: len(data)] = data
        return len(data)

    def stop_after(self, size: int, /) -> None:
        """Take at most `size` bytes more from gunicorn's connection; from another there is no way
        to tell."""
        if self._paced is not None:
            self._paced.left = size

    def stop_at(self, instant: float, /) -> None:
        """Take nothing more from gunicorn's connection after this instant."""
        if self._paced is not None:
            self._paced.until = instant

    def close(self) -> None:
        """Leave gunicorn's reader with its own connection."""
        if self._paced is not None:
            self._unreader.sock = self._paced.connection


class YieldingSocket:
    """A connection for a reader that asks for all that it wants, however long it works on that.

    Attributes:
        connection: the connection itself.
        left: bytes that are received at most; then the end is there. None for all that come.
        until: when the end is there in any case, as `time.monotonic` counts.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.left: int | None = None
        self.until = float("inf")
        self._next_turn = time.monotonic() + TURN_SECONDS

    def recv(self, size: int) -> bytes:
        """What `socket.recv` returns, perhaps after a turn for others."""
        if time.monotonic() >= self._next_turn:
            time.sleep(0)
            self._next_turn = time.monotonic() + TURN_SECONDS
        if time.monotonic() > self.until:
            return b""
        if self.left is None:
            return self.connection.recv(size)
        data = self.connection.recv(min(size, self.left)) if self.left > 0 else b""
        self.left -= len(data)
        return data

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a socket has
        return getattr(self.connection, name)


class SocketSource:
    """gunicorn's socket, past gunicorn's reader, which is left as if it had read all that itself.

    So the connection goes on with the next request, be it one that was sent ahead.

    Args:
        reader: gunicorn's `LengthReader`, see `_plain_reader`.
    """

    def __init__(self, reader: Any) -> None:  # noqa: ANN401 - gunicorn has no types
        self._reader = reader
        self._socket: socket.socket = reader.unreader.sock
        self._left: int | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer with what the server has read ahead, or else with what arrives."""
        room = buffer[: self._reader.length]
        if not len(room):
            return 0
        count = self._take_read_ahead(room) or self._take_received(room)
        self._reader.length -= count
        return count

    def stop_after(self, size: int, /) -> None:
        """Take at most `size` bytes more from the connection."""
        self._left = size

    def stop_at(self, _instant: float, /) -> None:
        """Each read takes one step, so its caller can look at the clock itself."""

    def close(self) -> None:
        """The reader is as it was all the time."""

    def _take_received(self, room: memoryview) -> int:
        left = self._left
        if left is None:
            return self._socket.recv_into(room)
        count = self._socket.recv_into(room[:left]) if left > 0 else 0
        self._left = left - count
        return count

    def _take_read_ahead(self, room: memoryview) -> int:
        unreader = self._reader.unreader
        ahead: bytes = unreader.buf.getvalue()
        if not ahead:
            return 0
        taken = ahead[: len(room)]
        unreader.buf = io.BytesIO()
        # What lies behind the body is the next request.
        unreader.unread(ahead[len(taken) :])
        room[: len(taken)] = taken
        return len(taken)


def _unreader(environ: Mapping[str, Any]) -> Any:  # noqa: ANN401 - gunicorn has no types
    """What reads the connection for gunicorn, whatever the framing; None if it is not as known."""
    reader = getattr(environ["wsgi.input"], "reader", None)
    unreader = getattr(getattr(reader, "req", reader), "unreader", None)
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket) and getattr(unreader, "sock", None) is connection:
        return unreader
    return None


def _plain_reader(environ: Mapping[str, Any], content_length: int) -> Any:  # noqa: ANN401 - see above
    """gunicorn's reader of this body, if it is one whose socket can be read in its place."""
    connection = environ.get("gunicorn.socket")
    body = environ["wsgi.input"]
    reader = getattr(body, "reader", None)
    unreader = getattr(reader, "unreader", None)
    is_as_known = (
        isinstance(connection, socket.socket)
        and not isinstance(connection, ssl.SSLSocket)
        and type(reader).__name__ == "LengthReader"
        and getattr(reader, "length", None) == content_length
        and getattr(unreader, "sock", None) is connection
        and isinstance(getattr(unreader, "buf", None), io.BytesIO)
        and callable(getattr(unreader, "unread", None))
        and isinstance(getattr(body, "buf", None), io.BytesIO)
        and not body.buf.getvalue()
    )
    return reader if is_as_known else None
