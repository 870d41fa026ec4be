"""The Pyramid integration, configured by entries of the deployment settings.

In the ini file:

    tus.s3_bucket = uploads
    tus.authorize = shop.uploads.authorize

Where the app is made:

    config.include("tus_wsgi.frameworks.pyramid")

Each hook runs with a request of its own, `pyramid.threadlocal.get_current_request()`. It has the
header fields of the upload's request, an empty body, the root of the app as its context, and the
methods that the app has added to its requests. Tweens do not run. In a view, the middleware is
`request.registry["tus"].middleware`.

`filter_app` is the same as a filter of PasteDeploy (`filter-with = tus`).
`tus_wsgi.frameworks.pyramid_sweep` is the command for sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

from pyramid.config import PHASE3_CONFIG, Configurator
from pyramid.httpexceptions import HTTPClientError
from pyramid.interfaces import IExecutionPolicy, IRequestFactory
from pyramid.path import DottedNameResolver
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.router import Router, default_execution_policy
from pyramid.scripting import prepare

from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.errors import Denied
from tus_wsgi.frameworks.config import Config
from tus_wsgi.frameworks.late import LateMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "tus."


def includeme(config: Configurator) -> None:
    """Serve the upload routes in front of the app; `config.include` calls this.

    The middleware is an execution policy of Pyramid, which gets each request before its body is
    read. It passes all other requests on to the execution policy that the app has chosen.

    Raises:
        SettingsError: the entries of the settings are invalid; the message lists every mistake.
        ImportError: a hook does not exist.
    """
    registry = config.registry
    _config_of(registry)  # let mistakes stop the start here

    def register() -> None:
        inner = registry.queryUtility(IExecutionPolicy, default=default_execution_policy)
        policy = _UploadPolicy(inner, _config_of(registry))
        registry.registerUtility(policy, IExecutionPolicy)
        registry["tus"] = policy.late

    # After the last phase, so that the app has set its own policy, and all settings.
    config.action("tus_wsgi", register, order=PHASE3_CONFIG + 1)


class _UploadPolicy:
    """An execution policy: the middleware in front of the policy that was there before."""

    def __init__(self, inner: Callable[..., Any], parsed: Config) -> None:
        self._inner = inner
        self._router: Router | None = None
        self.late = LateMiddleware(
            lambda: TusMiddleware(self._call_app, settings=parsed.settings, **parsed.options),
            config=parsed,
        )

    def __call__(self, _environ: WSGIEnvironment, router: Router) -> WSGIApplication:
        self._router = router
        return self.late  # the router calls it as it would call a response

    def _call_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response: Iterable[bytes] = self._inner(environ, self._router)(environ, start_response)
        return response


def _config_of(registry: Registry) -> Config:
    entries = {
        name.removeprefix(PREFIX): value
        for name, value in registry.settings.items()
        if name.startswith(PREFIX)
    }
    return _parse(entries, registry)


def filter_app(
    app: WSGIApplication, _global_config: Mapping[str, str], **entries: str
) -> LateMiddleware:
    """Return the app with the upload routes, for PasteDeploy's `paste.filter_app_factory`.

    Args:
        app: the app that the filter wraps. If it is Pyramid's, hooks have its registry.
        entries: the entries of the filter's section, without the prefix `tus.`.

    Raises:
        SettingsError, ImportError: see `includeme`.
    """
    registry = getattr(app, "registry", None)
    parsed = _parse(entries, registry)
    late = LateMiddleware(
        lambda: TusMiddleware(app, settings=parsed.settings, **parsed.options), config=parsed
    )
    if registry is not None:
        registry["tus"] = late
    return late


def _parse(entries: Mapping[str, str], registry: Registry | None) -> Config:
    resolve = DottedNameResolver().maybe_resolve

    def load(hook: str | Callable[..., Any]) -> Callable[..., Any]:
        found: Callable[..., Any] = resolve(hook)
        return found if registry is None else _with_request(found, registry)

    return Config.parse(entries, load)


def _with_request(hook: Callable[..., Any], registry: Registry) -> Callable[..., Any]:
    """Return a function that calls the hook while a request of Pyramid is current.

    `HTTPForbidden` and the like become `Denied`.
    """

    @wraps(hook)
    def call(argument: object) -> object:
        new_request = registry.queryUtility(IRequestFactory, default=Request)
        given = getattr(argument, "request", None)  # None in a sweep
        request = new_request.blank("/") if given is None else new_request(dict(given.environ))
        try:
            with prepare(request=request, registry=registry):
                return hook(argument)
        except HTTPClientError as error:
            raise Denied(error.code, error.detail or "") from error

    return call
