"""A Django project in one module: a login, and hooks that use the database."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, login
from django.core.exceptions import PermissionDenied
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from tus_wsgi import Access, FinishedUpload
from tus_wsgi.frameworks import django as tus
from tus_wsgi.frameworks.late import LateMiddleware

finished: list[tuple[str, str | None]] = []
"""The name and the owner of each finished upload."""


def set_up() -> None:
    """Configure Django, once in a process, and create the database with two users."""
    if settings.configured:
        return
    # In a file, because connections to a database in memory are never closed.
    database = Path(tempfile.mkdtemp(prefix="tus-django-"), "db")
    settings.configure(
        SECRET_KEY="not secret",
        ALLOWED_HOSTS=["localhost"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "tus_wsgi.frameworks.django",
        ],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
    )
    django.setup()
    call_command("migrate", verbosity=0)
    for name in ("ada", "eve"):
        get_user_model().objects.create_user(name, password=name)


def application(**entries: Any) -> LateMiddleware:
    """Return the application of the project with these entries in `TUS`."""
    with override_settings(TUS=entries):
        return tus.application(WSGIHandler())


def log_in(request: HttpRequest) -> HttpResponse:
    name = request.POST["name"]
    login(request, authenticate(request, username=name, password=name))
    return HttpResponse(name)


urlpatterns = [path("login", log_in)]


# The hooks


def count_users(_access: object) -> None:
    get_user_model().objects.count()


def staff_only(access: Access) -> str:
    if tus.session_user(access) is None:
        raise PermissionDenied("Staff only.")
    return tus.require_login(access)


def on_finish(upload: FinishedUpload) -> None:
    owner = get_user_model().objects.get(pk=upload.owner)
    finished.append((upload.filename or "", owner.get_username()))


def fail(_upload: object) -> None:
    raise LookupError("the secret of the project")
