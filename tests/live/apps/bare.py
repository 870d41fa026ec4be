"""A WSGI app without a framework."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.live.apps.mounting import mount_twice
from tus_wsgi import TusMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve the paths that `test_frameworks.py` requests. `/files-x` is no upload route."""
    if environ["PATH_INFO"] == "/hello":
        text = f"hello from {environ['SCRIPT_NAME']}".encode()
    elif environ["PATH_INFO"] == "/echo":
        text = environ["wsgi.input"].read()
    elif environ["PATH_INFO"] == "/files-x":
        text = b"the app's own"
    else:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not found"]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


application = mount_twice(TusMiddleware.from_env(hello))
