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
from collections.abc import Mapping
from typing import IO, Any, Protocol

from tus_wsgi.model import KIB

INPUT_STEP = 64 * KIB
"""Bytes asked of `wsgi.input` at once. Its read blocks until it has them all, so this is also how
much a slow client sends before the first of it moves on."""


class Source(Protocol):
    """Bytes in their order. It may raise whatever the server raises, and can be read on then."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start, with at least one byte; 0 when there are no more."""


def source_of(environ: Mapping[str, Any], announced: int | None) -> Source:
    """The fastest source of this request's body.

    Args:
        environ: the request's.
        announced: its Content-Length; None when it is chunked.
    """
    if announced is not None and (reader := _plain_reader(environ, announced)) is not None:
        return SocketSource(reader)
    return InputSource(environ["wsgi.input"])


class InputSource:
    """What every WSGI server has."""

    def __init__(self, input: IO[bytes]) -> None:
        self._input = input

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start, with at most `INPUT_STEP` bytes."""
        data = self._input.read(min(len(buffer), INPUT_STEP))
        buffer[: len(data)] = data
        return len(data)


class SocketSource:
    """gunicorn's socket, past gunicorn's reader, which is left as if it had read all that itself.

    So the connection goes on with the next request, be it one that was sent ahead.

    Args:
        reader: gunicorn's `LengthReader`, see `_plain_reader`.
    """

    def __init__(self, reader: Any) -> None:  # noqa: ANN401 - gunicorn has no types
        self._reader = reader
        self._socket: socket.socket = reader.unreader.sock

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer with what the server has read ahead, or else with what arrives."""
        room = buffer[: self._reader.length]
        if not len(room):
            return 0
        count = self._take_read_ahead(room) or self._socket.recv_into(room)
        self._reader.length -= count
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


def _plain_reader(environ: Mapping[str, Any], announced: int) -> Any:  # noqa: ANN401 - see above
    """gunicorn's reader of this body, if it is one whose socket can be read in its place."""
    connection = environ.get("gunicorn.socket")
    body = environ["wsgi.input"]
    reader = getattr(body, "reader", None)
    unreader = getattr(reader, "unreader", None)
    is_as_known = (
        isinstance(connection, socket.socket)
        and not isinstance(connection, ssl.SSLSocket)
        and type(reader).__name__ == "LengthReader"
        and getattr(reader, "length", None) == announced
        and getattr(unreader, "sock", None) is connection
        and isinstance(getattr(unreader, "buf", None), io.BytesIO)
        and callable(getattr(unreader, "unread", None))
        and isinstance(getattr(body, "buf", None), io.BytesIO)
        and not body.buf.getvalue()
    )
    return reader if is_as_known else None
