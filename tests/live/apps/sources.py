"""An app that reports which source a request's body was read from, with uploads around it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import gunicorn

from tus_wsgi import TusMiddleware
from tus_wsgi.domain.model import KIB
from tus_wsgi.wsgi.input import InputSource, source_of


def report(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the body from its fastest source, or from `wsgi.input` at `/input`."""
    length = environ.get("CONTENT_LENGTH")
    source = source_of(environ, int(length) if length else None)
    if environ["PATH_INFO"] == "/input":
        source = InputSource(environ["wsgi.input"])
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(100 * KIB))
    while count := source.readinto(buffer):
        digest.update(buffer[:count])
        size += count
    source.close()
    content = {
        "gunicorn": gunicorn.__version__,
        "source": type(source).__name__,
        "size": size,
        "sha256": digest.hexdigest(),
    }
    text = json.dumps(content).encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]


application = TusMiddleware.from_env(report)
