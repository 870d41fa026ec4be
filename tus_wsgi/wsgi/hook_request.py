"""Convert a WSGI environ to the `Request` that the application's hooks get."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from tus_wsgi.domain.hooks import Request
from tus_wsgi.protocol.http import RequestHead

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

# Fields that describe the body, which the copy does not have, and the override of the method, which
# was applied already.
_REMOVED = ("HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_TRAILER", "HTTP_X_HTTP_METHOD_OVERRIDE")


def hook_request(environ: WSGIEnvironment, head: RequestHead) -> Request:
    """Return the request that hooks see. The body is not read.

    Args:
        environ: the request's environ, which is not changed.
        head: the head of the same request.
    """
    return Request(
        method=head.method,
        path=environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
        fields={name.lower(): head.fields[name] for name in head.fields},
        remote=environ.get("REMOTE_ADDR", ""),
        environ=_bodiless(environ, head.method),
    )


def _bodiless(environ: WSGIEnvironment, method: str) -> WSGIEnvironment:
    """Return a copy of `environ` in which nothing leads to the body or the connection.

    Servers pass the socket under a key of their own that ends with `.socket`, and some pass the
    body under a second key.
    """
    body = environ["wsgi.input"]
    copy = {
        key: value
        for key, value in environ.items()
        if value is not body and not key.endswith(".socket")
    }
    for key in _REMOVED:
        copy.pop(key, None)
    copy["REQUEST_METHOD"] = method
    copy["CONTENT_LENGTH"] = "0"
    copy["wsgi.input"] = BytesIO()
    copy["wsgi.input_terminated"] = True
    return copy
