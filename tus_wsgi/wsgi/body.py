"""The body of a WSGI request. Reading it **ends and never raises**, whatever the server does.

What servers do when a client disconnects (observed with gunicorn 27, gevent and gthread):

| event                    | `wsgi.input.read(n)`          | afterwards                       |
|--------------------------|-------------------------------|----------------------------------|
| FIN, with Content-Length | short, then b"", no exception | so `WsgiBody` counts the bytes   |
| FIN, chunked             | raises NoMoreData             | `read` returns what was buffered |
| RST                      | raises ConnectionResetError   | `read` returns what was buffered |
| idle                     | blocks for ever               | so the socket has a timeout      |
| our `shutdown(SHUT_RD)`  | raises, or ends, at once      | `read` returns what was buffered |

So after an exception `WsgiBody` continues to read until the end, and no byte that arrived is lost.
Reads from gunicorn's socket (`SocketSource`) behave the same, and no other buffer is involved.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.wsgi.connection import Connection
from tus_wsgi.wsgi.draining import BodyRegistry
from tus_wsgi.wsgi.framing import content_length, is_end_known, is_http1
from tus_wsgi.wsgi.input import BodySource, source_of
from tus_wsgi.wsgi.worker import is_worker_stopping

log = logging.getLogger(__name__)

YIELD_BYTES = MIB
"""Let other requests run after this many bytes. gevent switches only when a read blocks, and a read
never blocks if the client always has data."""

DISCARD_BYTES = MIB
DISCARD_STEP = 64 * KIB
DISCARD_SECONDS = 1.0
"""How many bytes of a refused body to read before the response, and for how long, to keep the
connection. Beyond this, a new connection is cheaper; `connection.py` describes how the old
connection is closed."""


_NOT_CUT = frozenset({None, BodyEnd.COMPLETE, BodyEnd.TOO_LONG})


class WsgiBody:
    """The body of a WSGI request. It implements `tus_wsgi.domain.interfaces.Body`.

    Args:
        environ: the request's environ.
        timeout: seconds without a byte after which the body ends as stalled.
        min_rate: bytes per second below which it ends as stalled too, measured over a minute.
        live: registers the body while it is read, so that it can be interrupted.
    """

    def __init__(
        self,
        environ: Mapping[str, Any],
        *,
        timeout: float,
        min_rate: float = 0.0,
        live: BodyRegistry,
    ) -> None:
        self.content_length = content_length(environ)
        self._environ = environ
        self._source: BodySource | None = None
        self._first = b""
        self._limit: int | None = None
        self._received = 0
        self._next_yield = YIELD_BYTES
        self._end: BodyEnd | None = None
        self._interrupted: BodyEnd | None = None
        self._failed: BodyEnd | None = None
        self._live = live
        self._timeout = timeout
        self._min_rate = min_rate
        self._is_discarding = False
        self._exit: SystemExit | None = None

    @property
    def end(self) -> BodyEnd:
        """Why the body ended.

        Raises:
            AssertionError: the body has not ended yet.
        """
        assert self._end is not None, "asked before the body had ended"
        return self._end

    @property
    def cut_short(self) -> BodyEnd | None:
        """Why the body ended early; None if it is complete, was refused, or has not ended."""
        return None if self._end in _NOT_CUT else self._end

    @property
    def is_complete(self) -> bool:
        """Whether the whole body was read, so that the next request can follow."""
        return self._end is BodyEnd.COMPLETE and self._interrupted is None

    def is_empty(self) -> bool:
        """Return whether the body has no bytes. If its length is unknown, wait for its first byte.

        Call this method before any other. A body that ends early is not empty.
        """
        if self.content_length is not None:
            return self.content_length == 0
        first = bytearray(1)
        if self._receive(memoryview(first)):
            self._first = bytes(first)
        elif self._reason() is BodyEnd.COMPLETE:
            self.content_length = 0
            self._end = BodyEnd.COMPLETE
        return self.content_length == 0

    def limit(self, size: int) -> None:
        """Return at most `size` bytes in total."""
        self._limit = size

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer` with the next bytes; return 0 when the body has ended."""
        if self._end is not None or not len(buffer):
            return 0
        self._open()
        if self._limit is not None:
            buffer = buffer[: self._limit - self._received]
            if not len(buffer):
                self._end = self._end_at_limit()
                return 0
        count = self._receive(buffer)
        self._received += count
        if count == 0 or self._received == self.content_length:
            self._end = self._reason()
        elif self._received >= self._next_yield:
            self._next_yield = self._received + YIELD_BYTES
            time.sleep(0)
        return count

    def interrupt(self, end: BodyEnd, /) -> None:
        """End the body: a blocked read returns at once. Callable from any thread."""
        if self._interrupted is None:
            self._interrupted = end
            if (source := self._source) is not None:
                source.interrupt()

    def is_interrupted(self) -> bool:
        """Return whether the body was interrupted, or will be when it is read.

        Callable from any thread.
        """
        # A body is registered when it is first read, so a drain does not interrupt it before that.
        return self._interrupted is not None or self._live.is_draining

    def rate(self) -> float | None:
        """Return the client's bytes per second; None if the body was interrupted.

        Infinity if the rate is unknown or the body has ended. Callable from any thread.
        """
        source = self._source
        if self._interrupted is not None:
            return None
        return float("inf") if source is None or self._end is not None else source.rate()

    def client_is_gone(self) -> bool:
        """Return whether the client has closed the connection; False if that is unknown."""
        connection = Connection.of(self._environ)
        return connection is not None and is_http1(self._environ) and connection.is_closed()

    def trailers(self) -> Mapping[str, str]:
        """Return the fields that followed a complete body, by lower-case names.

        Only valid until `close` is called.
        """
        if self.end is not BodyEnd.COMPLETE:
            return {}
        assert self._source is not None, "asked after the body was closed"
        return self._source.trailers()

    def close(self) -> None:
        """Restore the connection.

        Raises:
            SystemExit: a signal handler raised it while the body was read. If gunicorn's worker
                ends after this request anyway, the client gets its response instead.
        """
        source, self._source = self._source, None
        if source is not None:
            self._live.remove(self)
            source.close()
        exit, self._exit = self._exit, None
        if exit is not None and not is_worker_stopping():
            raise exit

    def discard(self) -> None:
        """Read the rest of the body if it is small, so that the connection can be kept."""
        if not is_end_known(self._environ):
            return  # A read could wait for ever.
        if self.content_length is not None and self.content_length - self._received > DISCARD_BYTES:
            return
        deadline = time.monotonic() + DISCARD_SECONDS
        self._open().set_timeout(DISCARD_SECONDS, deadline=deadline)
        self._is_discarding = True
        self._limit = None
        if self._end is BodyEnd.TOO_LONG:
            self._end = None
        scratch = memoryview(bytearray(DISCARD_STEP))
        left = DISCARD_BYTES
        while left > 0 and time.monotonic() < deadline:
            count = self.readinto(scratch)
            if not count:
                break
            left -= count

    def _open(self) -> BodySource:
        """Return the source of the body, and begin to read from it at the first call."""
        if self._source is None:
            self._source = source_of(self._environ, self.content_length)
            self._source.set_timeout(self._timeout, min_rate=self._min_rate)
            self._live.add(self)
            if self._interrupted is not None:
                self._source.interrupt()
        return self._source

    def _receive(self, buffer: memoryview) -> int:
        """Receive at least one byte, or return 0. After an exception, read what is buffered."""
        if self.content_length is not None:
            buffer = buffer[: self.content_length - self._received]
        if not len(buffer):
            return 0
        if self._first:
            buffer[:1] = self._first
            self._first = b""
            return 1
        source = self._open()
        try:
            return source.readinto(buffer)
        except SystemExit as error:
            # gunicorn tells a sync worker that does not respond to exit. Store what has arrived.
            self._exit = error
            self.interrupt(BodyEnd.DRAINING)
            return self._receive(buffer)
        except Exception as error:  # servers raise anything here
            log.debug("reading the request body failed", exc_info=error)
            is_first = self._failed is None
            self._failed = self._failed or _reason_of(error)
            if self._is_discarding or type(error).__name__ == "HTTP2StreamError":
                return 0  # HTTP/2: only this stream has ended, so leave the connection alone.
            source.stop_receiving()
            return self._receive(buffer) if is_first else 0

    def _reason(self) -> BodyEnd:
        """Return why there are no more bytes."""
        if self.content_length is not None and self._received == self.content_length:
            return BodyEnd.COMPLETE
        at_eof = BodyEnd.COMPLETE if self.content_length is None else BodyEnd.DISCONNECTED
        return self._interrupted or self._failed or at_eof

    def _end_at_limit(self) -> BodyEnd:
        """Return TOO_LONG if bytes follow the limit. For a chunked body, this reads a byte."""
        if self.content_length is not None:
            more = self.content_length > self._received
        else:
            more = self._receive(memoryview(bytearray(1))) > 0
        return BodyEnd.TOO_LONG if more else self._reason()


def _reason_of(error: Exception) -> BodyEnd:
    if isinstance(error, TimeoutError):
        return BodyEnd.STALLED
    # gunicorn raises NoMoreData (an OSError without an errno) when a chunked body is cut off, and
    # other errors without an errno when the framing is broken. The library does not import
    # gunicorn, so the class is known by its name.
    if isinstance(error, OSError) and error.errno is not None:
        return BodyEnd.DISCONNECTED
    match type(error).__name__:
        case "NoMoreData" | "HTTP2StreamError" | "HTTP2ConnectionError":
            return BodyEnd.DISCONNECTED
        case "ChunkMissingTerminator" if len(getattr(error, "term", b"\r\n")) < 2:
            # The connection ended before or within the chunk's CRLF. No wrong bytes arrived.
            return BodyEnd.DISCONNECTED
        case _:
            return BodyEnd.MALFORMED
