"""Hooks that an ordinary view answers: the session and the login of each framework decide."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from flask import Flask, request, session

from tests.frameworks import django_project
from tus_wsgi import TusMiddleware
from tus_wsgi.frameworks import django as tus
from tus_wsgi.testing import UploadClient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pkg_resources and cgi are deprecated
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response
    from pyramid.session import SignedCookieSessionFactory

PATH = "/internal/tus"
ENVIRON = {"TUS_S3_BUCKET": "uploads", "TUS_HOOKS_WSGI": PATH}

seen: list[tuple[str, str | None]] = []
"""The event and the user of each call."""


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    django_project.set_up()
    seen.clear()


def answer(document: Any, user: str | None) -> dict[str, Any]:
    """Return the response: only users that are logged in may create uploads."""
    seen.append((document["Type"], user))
    if document["Type"] == "pre-create" and user is None:
        return {
            "RejectUpload": True,
            "HTTPResponse": {"StatusCode": 401, "Body": "Log in first."},
        }
    return {}


def flask_app() -> Any:
    app = Flask(__name__)
    app.secret_key = "secret"

    @app.post("/login")
    def log_in() -> str:
        session["user"] = request.form["name"]
        return "hello"

    @app.post(PATH)
    def hooks() -> Any:
        return answer(request.get_json(), session.get("user"))

    app.wsgi_app = TusMiddleware.from_env(app.wsgi_app, environ=ENVIRON)  # type: ignore[method-assign]
    return app


def django_hooks(request: HttpRequest) -> HttpResponse:
    user = request.user.get_username() or None
    return JsonResponse(answer(json.loads(request.body), user))


urlpatterns = [
    path("login", csrf_exempt(django_project.log_in)),
    path(PATH[1:], csrf_exempt(django_hooks)),
]

MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


def django_app(**more: str) -> Any:
    entries = {"S3_BUCKET": "uploads", "HOOKS_WSGI": PATH, **more}
    with override_settings(TUS=entries, MIDDLEWARE=MIDDLEWARE):
        return tus.application(WSGIHandler())


def pyramid_app() -> Any:
    def log_in(request: Request) -> Response:
        request.session["user"] = request.POST["name"]
        return Response("hello")

    def hooks(request: Request) -> Any:
        return answer(request.json_body, request.session.get("user"))

    with Configurator() as config:
        config.set_session_factory(SignedCookieSessionFactory("secret"))
        config.add_route("login", "/login")
        config.add_route("hooks", PATH)
        config.add_view(log_in, route_name="login")
        config.add_view(hooks, route_name="hooks", request_method="POST", renderer="json")
        app = config.make_wsgi_app()
    return TusMiddleware.from_env(app, environ=ENVIRON)


@pytest.mark.usefixtures("tus_store")
@pytest.mark.parametrize("make_app", [flask_app, django_app, pyramid_app])
def test_the_login_decides_in_a_view(make_app: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules of Pyramid
        with override_settings(ROOT_URLCONF=__name__):
            check(UploadClient(make_app()))


@pytest.mark.usefixtures("tus_store")
def test_a_project_with_allowed_hosts_learns_of_its_own_removals() -> None:
    """No request of a client names the host, and Django refuses all hosts that are not listed."""
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["example.com"]):
        django_app(PUBLIC_URL="https://example.com:8443/files")
        created = tus.middleware().create_upload(length=1)
        tus.middleware().terminate_upload(created.id)
    assert [event for event, _user in seen] == ["post-terminate"]


def check(client: UploadClient) -> None:
    refused = client.upload(b"data").response
    assert (refused.status_code, refused.text) == (401, "Log in first.")
    assert client.post("/login", data={"name": "ada"}).status_code == 200
    assert client.upload(b"data").response.status_code == 204
    assert seen == [
        ("pre-create", None),
        ("pre-create", "ada"),
        ("post-create", "ada"),
        ("post-receive", "ada"),
        ("post-finish", "ada"),
    ]
    # Pyramid's patterns end with "$", which also matches before a line break.
    for requested in (PATH, f"{PATH}\n", f"{PATH}/\n"):
        place = {"PATH_INFO": requested}
        outside = client.post("/", json={"Type": "pre-create"}, environ_overrides=place)
        assert (outside.status_code, len(seen)) == (404, 5), requested
