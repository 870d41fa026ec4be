"""The Flask extension.

    from flask import Flask, abort, session
    from tus_wsgi.frameworks.flask import Tus

    app = Flask(__name__)
    app.config["TUS_S3_BUCKET"] = "uploads"
    tus = Tus(app)

    @tus.authorize
    def user(access):
        return session.get("user") or abort(401)

The hooks run in a request context, so `request`, `session`, `g` and the login of the app work. The
request has the header fields of the upload's request and an empty body. Changes of the session are
not stored, because responses for uploads set no cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, TypeVar, Unpack

import click
from flask import Flask, current_app
from werkzeug.exceptions import HTTPException

from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.creation import OnCreate
from tus_wsgi.domain.errors import Denied
from tus_wsgi.domain.hooks import Authorize, OnFinish, Request
from tus_wsgi.domain.interfaces import Observer
from tus_wsgi.domain.progress import OnProgress
from tus_wsgi.domain.termination import OnTerminate
from tus_wsgi.frameworks.config import make_settings
from tus_wsgi.frameworks.late import LateMiddleware
from tus_wsgi.frameworks.sweep import SweepOptions, run_command, sweep_options
from tus_wsgi.settings import Settings

Hook = TypeVar("Hook", bound=Callable[..., Any])


class Tus:
    """Resumable uploads for a Flask app, or for several apps with the same hooks.

    Args:
        app: see `init_app`; None if `init_app` is called later.
        owner_only: see `TusMiddleware`.
        observers: see `TusMiddleware`.

    Raises:
        SettingsError: the settings of the app are invalid; the message lists every mistake.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        owner_only: bool = True,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._options: dict[str, Any] = {"owner_only": owner_only, "observers": tuple(observers)}
        self._hooks: dict[str, Callable[..., Any]] = {}
        self._is_used = False
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the upload routes to an app. Entries `TUS_...` of `app.config` are settings.

        The middleware is created by the first request, because hooks may be registered until then.
        It has the settings of that moment.

        Raises:
            SettingsError: the settings of the app are invalid; the message lists every mistake.
        """
        _settings_of(app)  # let mistakes stop the start
        inner = app.wsgi_app

        def create() -> TusMiddleware:
            self._is_used = True
            hooks: Any = {name: _in_context(app, hook) for name, hook in self._hooks.items()}
            return TusMiddleware(inner, settings=_settings_of(app), **self._options, **hooks)

        app.extensions["tus"] = uploads = LateMiddleware(create)
        app.wsgi_app = uploads  # type: ignore[method-assign]
        app.cli.add_command(self._sweep_command(app))

    @property
    def middleware(self) -> TusMiddleware:
        """The middleware of the current app."""
        uploads: LateMiddleware = current_app.extensions["tus"]
        return uploads.middleware

    def authorize(self, hook: Authorize) -> Authorize:
        """Register the hook that identifies the client of each request. A decorator."""
        return self._register("authorize", hook)

    def on_create(self, hook: OnCreate) -> OnCreate:
        """Register the hook that decides about new uploads. A decorator."""
        return self._register("on_create", hook)

    def on_progress(self, hook: OnProgress) -> OnProgress:
        """Register the hook that is called while a request sends bytes. A decorator."""
        return self._register("on_progress", hook)

    def on_finish(self, hook: OnFinish) -> OnFinish:
        """Register the hook that is called when an object is complete. A decorator."""
        return self._register("on_finish", hook)

    def on_terminate(self, hook: OnTerminate) -> OnTerminate:
        """Register the hook that is called when an upload is removed. A decorator."""
        return self._register("on_terminate", hook)

    def _sweep_command(self, app: Flask) -> click.Command:
        @sweep_options
        def command(**options: Unpack[SweepOptions]) -> None:
            """Finish full uploads, and remove expired ones."""
            hooks: Any = {name: _in_context(app, hook) for name, hook in self._hooks.items()}
            settings = _settings_of(app)
            run_command(settings, hooks.get("on_finish"), hooks.get("on_terminate"), **options)

        return click.command("tus-sweep")(command)

    def _register(self, name: str, hook: Hook) -> Hook:
        if self._is_used:
            raise RuntimeError(f"register {name} before the first request")
        if name in self._hooks:
            raise RuntimeError(f"{name} is already registered: {self._hooks[name]!r}")
        self._hooks[name] = hook
        return hook


def _settings_of(app: Flask) -> Settings:
    return make_settings({k: v for k, v in app.config.items() if k.startswith("TUS_")})


def _in_context(app: Flask, hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls the hook in a context of the app.

    `abort` with a status from 400 to 499 becomes `Denied`.
    """

    @wraps(hook)
    def call(argument: object) -> object:
        try:
            with _context(app, getattr(argument, "request", None)):
                return hook(argument)
        except HTTPException as error:
            if error.code is None or not 400 <= error.code <= 499:
                raise
            raise Denied(error.code, error.description or "") from error

    return call


def _context(app: Flask, request: Request | None) -> AbstractContextManager[object]:
    """Return the context of a request; of the app if there is no request, as in a sweep."""
    if request is None:
        return app.app_context()
    return app.request_context(dict(request.environ))
