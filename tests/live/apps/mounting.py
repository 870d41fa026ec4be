"""Mount an app at the root and at /app, as a reverse proxy or a dispatcher would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.middleware.dispatcher import DispatcherMiddleware

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def mount_twice(application: WSGIApplication) -> WSGIApplication:
    return DispatcherMiddleware(application, {"/app": application})
