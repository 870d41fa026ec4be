"""The request body, as servers really deliver it. It **ends, and never fails**.

What servers do when a client goes away (seen under gunicorn 27 with gevent and gthread):

| event                       | `wsgi.input.read(n)`            | afterwards                       |
|-----------------------------|---------------------------------|----------------------------------|
| FIN, with a Content-Length  | short, then b"", no exception   | so bytes are counted here        |
| FIN, chunked                | raises NoMoreData               | `read` returns what was buffered |
| RST                         | raises ConnectionResetError     | `read` returns what was buffered |
| silence                     | blocks for ever                 | hence the timeout on the socket  |
| `shutdown(SHUT_RD)` of ours | raises, or ends, at once        | `read` returns what was buffered |

So after an exception reading goes on until there is nothing more, and no byte that arrived is lost.
Straight from gunicorn's socket (`sources.py`) it is the same, and nothing is buffered elsewhere.
"""

from __future__ import annotations

import fcntl
import logging
import socket
import sys
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.wsgi.connection import shut
from tus_wsgi.wsgi.draining import LiveBodies
from tus_wsgi.wsgi.input import BodySource, source_of
from tus_wsgi.wsgi.trailers import trailers_of

log = logging.getLogger(__name__)

YIELD_EVERY = MIB
"""Bytes after which others get their turn: a client that always has data is never waited for, and
gevent switches only where somebody waits."""

DISCARD_BYTES = MIB
DISCARD_STEP = 64 * KIB
DISCARD_SECONDS = 1.0
"""How much of a refused body is read before the response, and for how long, so that the connection
can be kept. A new one costs less than to receive more (see `lingering.py` for what comes then)."""

SLACK = 64 * KIB
"""Bytes: more than a record of TLS (16 KiB), of which openssl may have the rest."""


class WsgiBody:
    """The body of a WSGI request. It implements `tus_wsgi.domain.interfaces.Body`.

    Args:
        environ: the request's.
        timeout: seconds without a byte after which the client is taken for gone.
        live: where the body can be ended from outside while it is being read.
    """

    def __init__(self, environ: Mapping[str, Any], *, timeout: float, live: LiveBodies) -> None:
        # gunicorn's gevent and gthread workers hand the connection out. Elsewhere a body can be
        # neither timed out nor interrupted in the middle of a read.
        self._socket: socket.socket | None = environ.get("gunicorn.socket")
        self._environ = environ
        self.content_length = _content_length(environ)
        self._source: BodySource | None = None
        self._allowed: int | None = None
        self._received = 0
        self._next_yield = YIELD_EVERY
        self._end: BodyEnd | None = None
        self._interrupted: BodyEnd | None = None
        self._broken: BodyEnd | None = None
        self._live = live
        self._timeout = timeout
        self._old_timeout: float | None = None
        self._is_open = False
        self._is_unwanted = False

    @property
    def end(self) -> BodyEnd:
        """Why the body ended.

        Raises:
            AssertionError: it has not ended yet.
        """
        assert self._end is not None, "asked before the body had ended"
        return self._end

    @property
    def is_complete(self) -> bool:
        """Whether all of it was read, and the next request can be."""
        return self._end is BodyEnd.COMPLETE and self._interrupted is None

    def limit(self, size: int) -> None:
        """Hand out at most `size` bytes in all."""
        self._allowed = size

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer` with what comes next; 0 when the body has ended."""
        if self._end is not None or not len(buffer):
            return 0
        self._open()
        if self._allowed is not None:
            buffer = buffer[: self._allowed - self._received]
            if not len(buffer):
                self._end = self._end_at_limit()
                return 0
        count = self._receive(buffer)
        self._received += count
        if count == 0 or self._received == self.content_length:
            self._end = self._reason()
        elif self._received >= self._next_yield:
            self._next_yield = self._received + YIELD_EVERY
            time.sleep(0)
        return count

    def interrupt(self, end: BodyEnd, /) -> None:
        """End the body: a read that is going on returns at once. From any thread."""
        if self._interrupted is None:
            self._interrupted = end
            if self._is_open:
                self._cut()

    def trailers(self) -> Mapping[str, str]:
        """The fields that followed a complete body, by lower-case names."""
        return trailers_of(self._environ) if self.end is BodyEnd.COMPLETE else {}

    def close(self) -> None:
        """Give the connection back as it was."""
        if self._is_open:
            self._is_open = False
            self._live.remove(self)
            if self._source is not None:
                self._source.close()
            if self._socket is not None:
                self._socket.settimeout(self._old_timeout)

    def discard(self) -> None:
        """Read what nobody wants, if it is not much: then the connection can be kept."""
        if self.content_length is not None and self.content_length - self._received > DISCARD_BYTES:
            return
        self._open()
        assert self._source is not None
        deadline = time.monotonic() + DISCARD_SECONDS
        self._source.stop_at(deadline)
        self._is_unwanted = True
        self._allowed = None
        if self._end is BodyEnd.TOO_LONG:
            self._end = None
        self._timeout = DISCARD_SECONDS
        if self._socket is not None:
            self._socket.settimeout(self._timeout)
        scratch = memoryview(bytearray(DISCARD_STEP))
        left = DISCARD_BYTES
        while left > 0 and time.monotonic() < deadline and (count := self.readinto(scratch)):
            left -= count

    def _open(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        self._source = source_of(self._environ, self.content_length)
        if self._socket is not None:
            self._old_timeout = self._socket.gettimeout()
            self._socket.settimeout(self._timeout)
        self._live.add(self)
        if self._interrupted is not None:
            self._cut()

    def _receive(self, buffer: memoryview) -> int:
        """At least one byte, or 0; what the server raises is noted, and then what it still has."""
        if self.content_length is not None:
            buffer = buffer[: self.content_length - self._received]
        if not len(buffer) or (self._interrupted and self._socket is None):
            return 0
        try:
            assert self._source is not None
            return self._source.readinto(buffer)
        except Exception as error:  # servers raise whatever they like here
            log.debug("the request body broke off", exc_info=error)
            is_first = self._broken is None
            self._broken = self._broken or _reason_of(error)
            if self._is_unwanted:
                return 0
            self._shut()
            return self._receive(buffer) if is_first else 0

    def _reason(self) -> BodyEnd:
        """Why there is nothing more to be had."""
        if self.content_length is not None and self._received == self.content_length:
            return BodyEnd.COMPLETE
        whole = BodyEnd.COMPLETE if self.content_length is None else BodyEnd.DISCONNECTED
        return self._interrupted or self._broken or whole

    def _end_at_limit(self) -> BodyEnd:
        """Whether the body ends where it must: only one without a length may turn out too long."""
        if self.content_length is not None:
            more = self.content_length > self._received
        else:
            more = self._receive(memoryview(bytearray(1))) > 0
        return BodyEnd.TOO_LONG if more else self._reason()

    def _cut(self) -> None:
        """Take what has arrived by now, and no more: a client that goes on would never end."""
        if self._socket is not None and self._source is not None:
            with suppress(OSError, ValueError):  # The connection may be closed, and have no number.
                self._source.stop_after(_waiting(self._socket))
        self._shut()

    def _shut(self) -> None:
        """Receive nothing more; what has arrived can still be read, and the response written."""
        if self._socket is not None:
            with suppress(OSError):  # The connection may be gone already.
                shut(self._socket, socket.SHUT_RD)


def _waiting(connection: socket.socket) -> int:
    """Bytes that the kernel has received for us, or a little more where TLS holds some back."""
    answer = fcntl.ioctl(connection, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder) + SLACK


def _reason_of(error: Exception) -> BodyEnd:
    if isinstance(error, TimeoutError):
        return BodyEnd.STALLED
    # gunicorn says NoMoreData (an OSError without an errno) when a chunked body is cut off, and
    # other errors without an errno when its framing is broken. It is not imported, hence the name.
    if isinstance(error, OSError) and error.errno is not None:
        return BodyEnd.DISCONNECTED
    match type(error).__name__:
        case "NoMoreData":
            return BodyEnd.DISCONNECTED
        case "ChunkMissingTerminator" if len(getattr(error, "term", b"\r\n")) < 2:
            # Nothing came in place of the chunk's CRLF: the connection ended just there.
            return BodyEnd.DISCONNECTED
        case _:
            return BodyEnd.MALFORMED


def _content_length(environ: Mapping[str, Any]) -> int | None:
    """Bytes that the request announces; None for a chunked one.

    A request with neither field has no body (RFC 9112, section 6.3).
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdecimal()):
        return 0
    # Not 0: what nobody can hold has to be refused as too long, and not to be taken for nothing.
    # And not int(), which raises at 4,301 digits.
    return int(text) if len(text) < 20 else sys.maxsize
