"""The files in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from tus_wsgi.frameworks import django as tus

from .models import File


@admin.register(File)
class FileAdmin(admin.ModelAdmin):
    """Lists files and deletes them. Only uploads add files."""

    list_display = ("name", "user", "type", "size")
    list_filter = ("user",)

    def has_add_permission(self, _request):
        """Return False: only uploads add files."""
        return False

    def has_change_permission(self, _request, _file=None):
        """Return False: files do not change."""
        return False

    def delete_model(self, _request, file):
        """Terminate the upload. The hook `on_terminate` deletes the row."""
        tus.middleware().terminate_upload(file.id)

    def delete_queryset(self, request, files):
        """Terminate the uploads of several files."""
        for file in files:
            self.delete_model(request, file)
