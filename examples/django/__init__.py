"""A file box: each user uploads files, sees its own files, and deletes them.

`files/uploads.py` decides about uploads. The rest is an ordinary Django project.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from tus_wsgi.frameworks import django as tus


def create_app(uppy: str, data: str):
    """Create the app. Environment variables name the S3 server.

    Args:
        uppy: the directory of Uppy's files.
        data: the directory of the database and of the key that signs sessions.
    """
    os.environ |= {"EXAMPLE_UPPY": uppy, "EXAMPLE_DATA": data}
    os.environ["DJANGO_SETTINGS_MODULE"] = "examples.django.settings"
    app = get_wsgi_application()
    with Path(data, "migrations.lock").open("w") as file:
        # Each worker runs this: the lock lets one after the other migrate.
        fcntl.flock(file, fcntl.LOCK_EX)
        call_command("migrate", verbosity=0)
    return tus.application(app)
