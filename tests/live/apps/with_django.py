"""A Django project in one file."""

from __future__ import annotations

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.live.apps.mounting import mount_twice
from tus_wsgi import TusMiddleware

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="not secret", DEBUG=False
)
django.setup()


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"hello from {request.META['SCRIPT_NAME']}")


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


def own(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the app's own")


urlpatterns = [path("hello", hello), path("echo", echo), path("files-x", own)]

application = mount_twice(TusMiddleware.from_env(WSGIHandler()))
