"""The URLs of the pages. `/files` belongs to uploads."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve as serve_static
from django.urls import path, re_path
from django.views.static import serve

from .files import views

urlpatterns = [
    path("", views.files),
    path("login", views.log_in),
    path("logout", views.log_out),
    path("delete/<id>", views.delete),
    path("admin/", admin.site.urls),
    # A web server serves these files in production.
    path("page/<path:path>", serve, {"document_root": settings.PAGE}),
    path("uppy/<path:path>", serve, {"document_root": settings.UPPY}),
    re_path(r"^static/(?P<path>.*)$", serve_static, {"insecure": True}),
]
