"""The Django integration, configured by the dictionary `TUS` of the project's settings.

In the settings:

    TUS = {
        "S3_BUCKET": "uploads",
        "AUTHORIZE": "tus_wsgi.frameworks.django.require_login",
        "ON_FINISH": "shop.uploads.on_finish",
    }

In `wsgi.py`:

    from django.core.wsgi import get_wsgi_application
    from tus_wsgi.frameworks import django as tus

    application = tus.application(get_wsgi_application())

Around each hook, database connections that are too old or unusable are closed, as around a request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings as project
from django.contrib.auth import get_user
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import PermissionDenied
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import connections
from django.http import Http404, HttpResponse
from django.utils.module_loading import import_string

from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.errors import Denied
from tus_wsgi.domain.hooks import Access
from tus_wsgi.frameworks.config import Config
from tus_wsgi.frameworks.late import LateMiddleware

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_applications: list[LateMiddleware] = []


def application(app: WSGIApplication) -> LateMiddleware:
    """Put the middleware around the WSGI application of the project.

    Raises:
        SettingsError: the entries of `TUS` are invalid; the message lists every mistake.
        ImportError: a hook does not exist.
    """
    config = read_config()
    late = LateMiddleware(lambda: TusMiddleware(app, settings=config.settings, **config.options))
    _applications.append(late)
    return late


def middleware() -> TusMiddleware:
    """Return the middleware of this process, whose methods create and terminate uploads.

    In a process that is no server, such as a management command, the first call creates it.
    """
    late = _applications[-1] if _applications else application(WSGIHandler())
    return late.middleware


def read_config() -> Config:
    """Read the settings and hooks of the project.

    Raises:
        SettingsError: the entries of `TUS` are invalid; the message lists every mistake.
        ImportError: a hook does not exist.
    """
    return Config.parse(getattr(project, "TUS", {}), _load)


def session_user(access: Access) -> str | None:
    """Return the primary key of the user that is logged in; None if the client is anonymous."""
    request = WSGIRequest(dict(access.request.environ))
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    # After a change of SECRET_KEY, `get_user` would give the session a new key and delete the old
    # one. But no response sets the cookie of the new key, so the user would be logged out.
    request.session.cycle_key = lambda: None
    user = get_user(request)
    return str(user.pk) if user.is_authenticated else None


def require_login(access: Access) -> str:
    """Let in only users that are logged in: a hook for `AUTHORIZE`.

    Raises:
        Denied: the client is anonymous.
    """
    user = session_user(access)
    if user is None:
        raise Denied(401, "Log in first.")
    return user


def _load(hook: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls the hook with usable database connections.

    `PermissionDenied` and `Http404` become `Denied`.
    """
    function: Callable[..., Any] = import_string(hook) if isinstance(hook, str) else hook

    @wraps(function)
    def call(argument: object) -> object:
        _close_old_connections()
        try:
            return function(argument)
        except PermissionDenied as error:
            raise Denied(403, str(error)) from error
        except Http404 as error:
            raise Denied(404, str(error)) from error
        finally:
            _close_old_connections()

    return call


def _close_old_connections() -> None:
    """Close unusable and old connections, except those in a transaction.

    A hook may be called in the transaction of a view that terminates an upload, or of a test.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
