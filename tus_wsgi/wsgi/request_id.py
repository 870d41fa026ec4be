"""Give each request an id: that of a trusted proxy, or a random one."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from tus_wsgi.domain.request_id import REQUEST_ID

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

ENVIRON_KEY = "tus_wsgi.request_id"
"""The id in the environ of requests for uploads, for hooks and the server's access log."""

_VALID = re.compile(r"[A-Za-z0-9._:=/+@-]{1,128}")
"""Characters that need no quotes in a line of a log."""


class RequestIds:
    """Assigns the ids of requests.

    Args:
        field: the name of the request field that contains the id. A client must not be able to set
            it. Empty to make all ids here.
    """

    def __init__(self, field: str = "") -> None:
        self._key = "HTTP_" + field.upper().replace("-", "_") if field else ""

    def assign(self, environ: WSGIEnvironment) -> str:
        """Return the id of a request, and make it the current one of this thread."""
        given = str(environ.get(self._key, "")) if self._key else ""
        id = given if _VALID.fullmatch(given) else secrets.token_hex(8)
        REQUEST_ID.set(id)
        return id
