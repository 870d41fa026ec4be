"""Interim responses (1xx), which WSGI does not have: written to gunicorn's connection directly.

Only over HTTP/1.1, where they are text like any other response, and never after the final response
has begun. Elsewhere there are none: who needs them works without, only less well.
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
"""Between two reports of progress both must have passed. Each is a system call, and Go's client
gave up after five interim responses before version 1.24."""

_PHRASE = "Upload Resumption Supported"

_SAFE = re.compile(r"[\t\x20-\x7e]*")


class InterimSender:
    """Sends what an `Interim` renders, first at once and then now and then.

    Args:
        connection: gunicorn's, see `interim_sender`.
        render: the dialect's.
        clock: seconds that never go back.
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
        """Tell the client, unless it was told a moment ago. It may be gone; that is found later."""
        now = self._clock()
        is_first = self._last_time == float("-inf")
        is_due = now - self._last_time >= EVERY_SECONDS
        if not is_first and not (is_due and info.offset - self._last_offset >= EVERY_BYTES):
            return
        reply = self._render(info)
        if reply is None:
            return
        self._last_time, self._last_offset = now, info.offset
        try:
            self._connection.send(_written(reply))
        except OSError as error:
            log.debug("an interim response was not sent", exc_info=error)


def interim_sender(environ: WSGIEnvironment, render: Interim | None) -> InterimSender | None:
    """What sends interim responses to this request's client; None where that cannot be."""
    if render is None or environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
        return None
    connection = Connection.of(environ)
    return None if connection is None else InterimSender(connection, render)


def _written(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_PHRASE}"]
    for name, value in reply.fields:
        assert _SAFE.fullmatch(value), f"a field that could break out of its line, got {value!r}"
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
