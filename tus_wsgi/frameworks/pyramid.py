"""The Pyramid integration, configured by entries of the deployment settings.

In the ini file:

    tus.s3_bucket = uploads
    tus.authorize = shop.uploads.authorize

Where the app is made:

    from tus_wsgi.frameworks.pyramid import make_wsgi_app

    def main(global_config, **settings):
        with Configurator(settings=settings) as config:
            ...
        return make_wsgi_app(config)

Each hook runs with a request of its own, `pyramid.threadlocal.get_current_request()`. It has the
header fields of the upload's request, an empty body, the root of the app as its context, and the
methods that the app has added to its requests. Tweens do not run. In a view, the middleware is
`request.registry["tus"].middleware`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPClientError
from pyramid.interfaces import IRequestFactory
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.scripting import prepare

from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.errors import Denied
from tus_wsgi.frameworks.config import Config
from tus_wsgi.frameworks.late import LateMiddleware

PREFIX = "tus."


def make_wsgi_app(config: Configurator) -> LateMiddleware:
    """Return the app with the upload routes. Call it instead of `config.make_wsgi_app`.

    Raises:
        SettingsError: The entries of the settings are invalid; the message lists every mistake.
        ImportError: A hook does not exist.
    """
    app = config.make_wsgi_app()

    def load(hook: str | Callable[..., Any]) -> Callable[..., Any]:
        return _with_request(config.maybe_dotted(hook), app.registry)

    entries = app.registry.settings.items()
    parsed = Config.parse(
        {name.removeprefix(PREFIX): value for name, value in entries if name.startswith(PREFIX)},
        load,
    )
    late = LateMiddleware(lambda: TusMiddleware(app, settings=parsed.settings, **parsed.options))
    app.registry["tus"] = late
    return late


def _with_request(hook: Callable[..., Any], registry: Registry) -> Callable[..., Any]:
    """Return the hook as it is called: while a request of Pyramid is current.

    `HTTPForbidden` and the like become `Denied`.
    """
    new_request = registry.queryUtility(IRequestFactory, default=Request)

    @wraps(hook)
    def call(argument: object) -> object:
        given = getattr(argument, "request", None)  # None in a sweep
        request = new_request.blank("/") if given is None else new_request(dict(given.environ))
        try:
            with prepare(request=request, registry=registry):
                return hook(argument)
        except HTTPClientError as error:
            raise Denied(error.code, error.detail or "") from error

    return call
