"""Create the middleware with the first request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING

from tus_wsgi.app import TusMiddleware
from tus_wsgi.frameworks.config import Config
from tus_wsgi.wsgi.worker import check_patched

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class LateMiddleware:
    """A WSGI application that creates a `TusMiddleware` with the first request.

    So the clients of S3 are created after the server has forked, even if the server imports the
    application before the fork. Hooks may be registered until the first request.

    Args:
        create: creates the middleware.
        config: the configuration of the middleware, for a sweep; None if it is not known yet.

    Attributes:
        config: see above.

    Raises:
        ServerUnsupported: gevent has not patched the standard library, or too late. The first
            request would be too late to say so, because the app's other requests would fail too.
    """

    def __init__(
        self, create: Callable[[], TusMiddleware], *, config: Config | None = None
    ) -> None:
        check_patched()
        self.config = config
        self._create = create
        self._middleware: TusMiddleware | None = None
        self._lock = Lock()

    @property
    def middleware(self) -> TusMiddleware:
        """The middleware, which is created if it does not exist yet."""
        with self._lock:
            if self._middleware is None:
                self._middleware = self._create()
        return self._middleware

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request to the middleware."""
        return self.middleware(environ, start_response)
