"""The database: the files of the users."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class File(models.Model):
    """An uploaded file."""

    id = models.CharField(primary_key=True, max_length=64)
    # A user with files cannot be deleted: the objects would be left.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    name = models.CharField(max_length=255)
    size = models.BigIntegerField()
    type = models.CharField(max_length=100)

    class Meta:
        """The order of lists."""

        ordering = ("name",)

    def __str__(self):
        return self.name


def used_bytes(user_id):
    """Return the bytes of all files of a user together."""
    return File.objects.filter(user_id=user_id).aggregate(sum=models.Sum("size"))["sum"] or 0
