"""One application at the root and below /app, as a reverse proxy or a dispatcher would mount it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.middleware.dispatcher import DispatcherMiddleware

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def at_two_places(application: WSGIApplication) -> WSGIApplication:
    return DispatcherMiddleware(application, {"/app": application})
