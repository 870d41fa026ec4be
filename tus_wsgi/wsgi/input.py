"""Where the bytes of a request's body come from: `wsgi.input`, or gunicorn's socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Protocol

from tus_wsgi.domain.model import KIB
from tus_wsgi.wsgi.connection import Connection, SocketSource, trailers_of

INPUT_STEP = 64 * KIB
"""Bytes to request from `wsgi.input` at once. Its `read` blocks until it has them all, so this is
also how much a slow client sends before the first of these bytes are processed."""


class BodySource(Protocol):
    """The bytes of a body in their order.

    `readinto` raises whatever the server raises, and can be called again after that.
    """

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start with at least one byte; return 0 at the end."""

    def trailers(self) -> dict[str, str]:
        """Return the fields that followed the body, by lower-case names."""

    def set_timeout(
        self, seconds: float, *, deadline: float = float("inf"), min_rate: float = 0.0
    ) -> None:
        """Limit how long reads may block.

        Args:
            seconds: `readinto` raises `TimeoutError` if no byte arrives for this long.
            deadline: an instant of `time.monotonic` after which a `readinto` that receives
                repeatedly stops.
            min_rate: `readinto` raises `TimeoutError` too if fewer bytes per second arrive in a
                minute, or in `seconds` if that is longer.
        """

    def rate(self) -> float:
        """Return the bytes per second that the client sends; infinity if that is unknown."""

    def stop_receiving(self) -> None:
        """End the body as soon as no bytes are waiting. Bytes that have arrived can be read."""

    def interrupt(self) -> None:
        """End the body after the bytes that have arrived by now. Called from any thread."""

    def close(self) -> None:
        """Leave the connection and the server's reader as they were."""


def source_of(environ: Mapping[str, Any], content_length: int | None) -> BodySource:
    """Return the fastest source of a request's body.

    Args:
        environ: the request's environ.
        content_length: the request's Content-Length; None if the body is chunked.
    """
    input = environ["wsgi.input"]
    connection = Connection.of(environ)
    if connection is not None and content_length is not None:
        reader = connection.length_reader(input, content_length)
        if reader is not None:
            return SocketSource(connection, reader)
    return InputSource(input, connection)


class InputSource:
    """Read a body from `wsgi.input`, which every WSGI server has. It implements `BodySource`.

    Args:
        input: `wsgi.input`.
        connection: the request's connection. Without a connection, the server's timeouts apply,
            and an interruption takes effect at the next `readinto`.
    """

    def __init__(self, input: IO[bytes], connection: Connection | None = None) -> None:
        self._input = input
        self._connection = connection
        self._is_interrupted = False
        if connection is not None:
            connection.control_reads_of(input)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start with at most `INPUT_STEP` bytes."""
        if self._is_interrupted and self._connection is None:
            return 0
        data = self._input.read(min(len(buffer), INPUT_STEP))
        buffer[: len(data)] = data
        return len(data)

    def trailers(self) -> dict[str, str]:
        """Return the fields that followed the body."""
        return trailers_of(self._input)

    def set_timeout(
        self, seconds: float, *, deadline: float = float("inf"), min_rate: float = 0.0
    ) -> None:
        """Limit how long reads may block."""
        if self._connection is not None:
            self._connection.set_timeout(seconds, deadline=deadline, min_rate=min_rate)

    def rate(self) -> float:
        """Return the bytes per second that the client sends; infinity if that is unknown."""
        return float("inf") if self._connection is None else self._connection.rate()

    def stop_receiving(self) -> None:
        """End the body after what can be read without waiting."""
        if self._connection is not None:
            self._connection.stop_receiving()

    def interrupt(self) -> None:
        """End the body after what has arrived by now."""
        self._is_interrupted = True
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        """Restore the connection."""
        if self._connection is not None:
            self._connection.release()
