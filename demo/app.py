"""The demo's WSGI app: a fixed set of static files, with the upload routes around it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.utils import send_file
from werkzeug.wrappers import Response

from tus_wsgi.app import TusMiddleware
from tus_wsgi.observers.log import LogFormat, configure_logging

PAGE_DIR = Path(__file__).with_name("page")

UPPY_FILES = ("uppy.min.mjs", "uppy.min.css")

_CONTENT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}

# This server is the only source. Uppy shows previews of pictures as blobs, and its style sheet
# contains its icons as data URLs.
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_app(uppy_dir: str) -> WSGIApplication:
    """Create the app that gunicorn serves. Environment variables name the S3 server.

    Args:
        uppy_dir: the directory that contains `UPPY_FILES`.
    """
    configure_logging(LogFormat.TEXT)
    return TusMiddleware.from_env(create_page_app(Path(uppy_dir)))


def create_page_app(uppy_dir: Path) -> WSGIApplication:
    """Create an app that serves the page at `/`, its files beside it, and Uppy below `/uppy/`.

    Args:
        uppy_dir: the directory that contains `UPPY_FILES`.
    """
    files = {f"/{path.name}": path for path in PAGE_DIR.iterdir() if path.suffix in _CONTENT_TYPES}
    files["/"] = files.pop("/index.html")
    files |= {f"/uppy/{name}": uppy_dir / name for name in UPPY_FILES}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = _respond(files, environ)
        except HTTPException as error:
            response = Response(f"{error.name}\n", status=error.code, headers=_allow_header(error))
        return response(environ, start_response)

    return app


def _respond(files: dict[str, Path], environ: WSGIEnvironment) -> Response:
    path = files.get(environ.get("PATH_INFO", "/") or "/")
    if path is None:
        raise NotFound
    if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
        raise MethodNotAllowed(valid_methods=["GET", "HEAD"])
    response = send_file(path, environ, mimetype=_CONTENT_TYPES[path.suffix])
    # Browsers revalidate cached files: changes show at once, and unchanged files are not resent.
    response.headers["Cache-Control"] = "no-cache"
    response.headers.extend(_SECURITY_HEADERS)
    return response


def _allow_header(error: HTTPException) -> dict[str, str]:
    methods = error.valid_methods if isinstance(error, MethodNotAllowed) else None
    return {"Allow": ", ".join(methods)} if methods else {}
