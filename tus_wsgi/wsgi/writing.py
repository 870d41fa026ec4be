"""How long a response waits for a client that does not take it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


def given_up_after(
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
    before = connection.gettimeout()
    connection.settimeout(seconds)

    def restore() -> None:
        with suppress(OSError):  # It may be closed already.
            connection.settimeout(before)

    return ClosingIterator(pieces, restore)
