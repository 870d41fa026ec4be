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
        """Nothing can be added here."""
        return False

    def has_change_permission(self, _request, _file=None):
        """Nothing can be changed here."""
        return False

    def delete_model(self, _request, file):
        """Delete the object. The hook `on_terminate` deletes the row."""
        tus.middleware().terminate_upload(file.id)

    def delete_queryset(self, request, files):
        """Delete several files."""
        for file in files:
            self.delete_model(request, file)
