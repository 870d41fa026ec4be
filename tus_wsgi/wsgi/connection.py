"""How a connection ends whose request body nobody has read to its end.

Nothing else can come over it: the next request begins behind that body, wherever this may be. But
whoever closes it at once, with bytes unread, makes the kernel send a reset, which can overtake the
response. So it is closed in stages (RFC 9112, section 9.6): nothing more is written, what comes is
thrown away for a while, and then the connection goes.

Left to itself gunicorn would read the body on, to be able to keep the connection: all of it, 1 KiB
at a time. Its version 27 copies what it has read ahead with each of them, which took 0.3 s for each
MiB, in which a gevent worker served nobody else.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB
from tus_wsgi.wsgi.draining import LIVE_BODIES, LiveBodies
from tus_wsgi.wsgi.environ import has_body

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LINGER_SECONDS = 30.0
"""How long the rest of a body may keep coming. A client that reads only when it has sent everything
is told why it was refused if it can send it in this time. Others see a network error, and retry."""

SILENT_SECONDS = 5.0
"""After so long without a byte the client is taken to be gone. Both are nginx's defaults for the
same (`lingering_time`, `lingering_timeout`)."""

PAUSE_SECONDS = 0.5
"""The same where the reading of the connection has ended before, as that of an interrupted body.
Whose place another request has taken is not waited for any longer."""

STEP = 64 * KIB

_RESET = struct.pack("ii", 1, 0)
"""Close at once, with a reset (socket(7), `SO_LINGER`)."""

_STILL_OPEN = frozenset({1, 4, 5})
"""`tcpi_state` while the other side may still send: ESTABLISHED, FIN_WAIT1, FIN_WAIT2
(linux/tcp_states.h)."""


def close_after_response(
    pieces: Iterable[bytes], environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """A response's body, after which the connection is closed in stages if the request has a body.

    Args:
        pieces: the body.
        environ: the request's. Where it has no `gunicorn.socket`, the server closes as it likes.
        start_response: gunicorn's own, or somebody's who has wrapped it: then the response has no
            `Connection: close`, which is only a courtesy (RFC 9112: SHOULD).
    """
    if not has_body(environ):
        return pieces
    # WSGI keeps applications from this field (PEP 3333), so gunicorn has to be asked for it.
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if callable(force_close):
        force_close()
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return pieces
    return ClosingIterator(pieces, LingeringConnection(connection).close)


class LingeringConnection:
    """A connection whose response has been written, and whose request's body still comes in.

    Args:
        connection: nobody else uses it any more.
        live: where the waiting can be ended from outside.
    """

    def __init__(self, connection: socket.socket, *, live: LiveBodies = LIVE_BODIES) -> None:
        self._connection = connection
        self._live = live
        self._deadline = float("inf")

    def close(self) -> None:
        """Wait until the client has closed it, too, or for little more than `LINGER_SECONDS`."""
        scratch = bytearray(STEP)
        self._deadline = time.monotonic() + LINGER_SECONDS
        self._live.add(self)
        has_more = False
        with suppress(OSError):  # It may be gone already, or be silent for too long.
            shut(self._connection, socket.SHUT_WR)
            self._connection.settimeout(SILENT_SECONDS)
            has_more = self._linger(scratch)
        self._live.remove(self)
        with suppress(OSError):
            if has_more:
                # Or it may hang for a minute, with a window that nobody opens any more. But who
                # is silent may still wait for the response, which a reset would throw away.
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            shut(self._connection, socket.SHUT_RDWR)
            # The kernel takes no more. A server that reads on finds nothing.
            while self._receive(scratch):
                pass

    def interrupt(self, _end: BodyEnd, /) -> None:
        """Wait for the client only as long as a response takes to it. From any thread."""
        self._deadline = min(self._deadline, time.monotonic() + PAUSE_SECONDS)
        with suppress(OSError):
            shut(self._connection, socket.SHUT_RD)

    def _linger(self, scratch: bytearray) -> bool:
        """Throw away what comes; returns whether the client may have more of it.

        Raises:
            TimeoutError: nothing came for `SILENT_SECONDS`.
        """
        quiet_since = time.monotonic()
        while (now := time.monotonic()) < self._deadline:
            if self._receive(scratch):
                quiet_since = now
                time.sleep(0)  # Who always has data is never waited for: others get their turn.
            elif self._client_has_closed():
                return False
            elif now - quiet_since > PAUSE_SECONDS:
                return True  # The kernel tells nobody of room where the reading has ended.
            else:
                time.sleep(PAUSE_SECONDS / 20)
        return True

    def _client_has_closed(self) -> bool:
        """Whether it sends no more, as far as the system tells: Linux does, of TCP."""
        try:
            (state,) = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except (AttributeError, OSError):
            return True
        return state not in _STILL_OPEN

    def _receive(self, scratch: bytearray) -> int:
        """How many bytes came, past TLS: nobody needs them decrypted. 0 if there are no more."""
        return socket.socket.recv_into(self._connection, scratch)


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


def shut(connection: socket.socket, how: int) -> None:
    """`shutdown` of the connection alone: an `SSLSocket`'s own ends TLS, and a response that is
    written afterwards goes out in the clear.

    Raises:
        OSError: the connection is gone.
    """
    socket.socket.shutdown(connection, how)
