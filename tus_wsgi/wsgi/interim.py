"""Interim responses (1xx), which WSGI lacks: send them over gunicorn's connection.

They are sent only over HTTP/1.1, where they are text like any other response, and never after the
final response has begun. They are optional: clients degrade gracefully without them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tus_wsgi.domain.model import MIB, UploadInfo
from tus_wsgi.protocol.http import Interim, Reply
from tus_wsgi.wsgi.connection import Connection

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
EVERY_BYTES = 4 * MIB
"""Both must have passed between two reports of progress. Each report is a system call, and before
version 1.24 Go's client failed after five interim responses."""

_PHRASE = "Upload Resumption Supported"

_SAFE = re.compile(r"[\t\x20-\x7e]*")


class InterimSender:
    """Send interim responses: the first one at once, then at most one per interval.

    Args:
        connection: the request's connection.
        render: the dialect's renderer of interim responses.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        connection: Connection,
        render: Interim,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._render = render
        self._clock = clock
        self._last_time = float("-inf")
        self._last_offset = 0

    def __call__(self, info: UploadInfo) -> None:
        """Report progress to the client if a report is due.

        A failure to send is ignored: reading the body reports a disconnect.
        """
        now = self._clock()
        is_first = self._last_time == float("-inf")
        has_new_bytes = info.offset - self._last_offset >= EVERY_BYTES
        is_due = now - self._last_time >= EVERY_SECONDS and has_new_bytes
        if not is_first and not is_due:
            return
        reply = self._render(info)
        if reply is None:
            return
        self._last_time, self._last_offset = now, info.offset
        try:
            self._connection.send(_encoded(reply))
        except OSError as error:
            log.debug("sending an interim response failed", exc_info=error)


def interim_sender(environ: WSGIEnvironment, render: Interim | None) -> InterimSender | None:
    """Return a sender of interim responses for a request; None if none can be sent."""
    if render is None or environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
        return None
    connection = Connection.of(environ)
    return None if connection is None else InterimSender(connection, render)


def _encoded(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_PHRASE}"]
    for name, value in reply.fields:
        assert _SAFE.fullmatch(value), (
            f"a field value must not break out of its line, got {value!r}"
        )
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
