"""The settings of the project."""

from __future__ import annotations

import os
from pathlib import Path

from examples.secret_key import secret_key

DATA = Path(os.environ["EXAMPLE_DATA"])
UPPY = Path(os.environ["EXAMPLE_UPPY"])
PAGE = Path(__file__).parents[1] / "page"

TUS = {
    "S3_OBJECT_KEY": "users/{owner}/{id}/{filename}",
    "EXPIRES": "1d",
    "DISABLE_CONCATENATION": True,
    "AUTHORIZE": "tus_wsgi.frameworks.django.require_login",
    "ON_CREATE": "examples.django.files.uploads.new_upload",
    "ON_FINISH": "examples.django.files.uploads.uploaded",
    "ON_TERMINATE": "examples.django.files.uploads.removed",
}

SECRET_KEY = secret_key(DATA / "secret")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "examples.django.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "files.db"}}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "tus_wsgi.frameworks.django",
    "examples.django.files",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LOGIN_URL = "/login"
STATIC_URL = "/static/"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
