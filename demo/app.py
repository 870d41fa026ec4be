"""The demo's pages, as a WSGI app: a fixed handful of files, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.utils import send_file
from werkzeug.wrappers import Response

PAGE = Path(__file__).with_name("page")

UPPY_FILES = ("uppy.min.mjs", "uppy.min.css")

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}

# Everything comes from this server. Uppy shows previews of pictures as blobs, and has its icons in
# its style sheet.
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def page_app(uppy: Path) -> WSGIApplication:
    """The page at `/`, its own files beside it, and Uppy's below `/uppy/`.

    Args:
        uppy: the directory with `UPPY_FILES`.
    """
    files = {f"/{path.name}": path for path in PAGE.iterdir() if path.suffix in _TYPES}
    files["/"] = files.pop("/index.html")
    files |= {f"/uppy/{name}": uppy / name for name in UPPY_FILES}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = _respond(files, environ)
        except HTTPException as error:
            response = Response(f"{error.name}\n", status=error.code, headers=_allow(error))
        return response(environ, start_response)

    return app


def _respond(files: dict[str, Path], environ: WSGIEnvironment) -> Response:
    path = files.get(environ.get("PATH_INFO", "/") or "/")
    if path is None:
        raise NotFound
    if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
        raise MethodNotAllowed(valid_methods=["GET", "HEAD"])
    response = send_file(path, environ, mimetype=_TYPES[path.suffix])
    # Kept, but asked for each time: what changed is seen at once, what did not is not sent again.
    response.headers["Cache-Control"] = "no-cache"
    response.headers.extend(_SECURITY)
    return response


def _allow(error: HTTPException) -> dict[str, str]:
    valid = error.valid_methods if isinstance(error, MethodNotAllowed) else None
    return {"Allow": ", ".join(valid)} if valid else {}
