"""How long a response waits for a client that does not take it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from tus_wsgi.wsgi.connection import shut

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


def with_write_timeout(
    seconds: float, pieces: Iterable[bytes], environ: WSGIEnvironment
) -> Iterable[bytes]:
    """A response's body, each piece of which the client has to take within so many seconds.

    A server that waits without end keeps a thread, or one of its connections, for whoever asks for
    a file and never reads it.

    Args:
        seconds: until the server gets a `TimeoutError` from its connection, and closes that.
        pieces: the body.
        environ: the request's. Where it has no `gunicorn.socket`, the server waits as it likes.
    """
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return pieces
    return TimeoutResponse(seconds, pieces, connection)


class TimeoutResponse:
    """The body of a response over a connection whose timeout is `seconds` until it is closed."""

    def __init__(self, seconds: float, pieces: Iterable[bytes], connection: socket.socket) -> None:
        self._pieces = pieces
        self._connection = connection
        self._is_half_taken = False
        self._timeout = connection.gettimeout()
        connection.settimeout(seconds)

    def __iter__(self) -> Iterator[bytes]:
        self._is_half_taken = True
        yield from self._pieces
        self._is_half_taken = False

    def close(self) -> None:
        """Leave the connection as it was, or of no use if its client did not take everything.

        gunicorn's threads would wait for such a client once more, all of them together.
        """
        try:
            if close := getattr(self._pieces, "close", None):
                close()
        finally:
            with suppress(OSError):  # It may be closed already.
                if self._is_half_taken:
                    shut(self._connection, socket.SHUT_RDWR)
                self._connection.settimeout(self._timeout)
