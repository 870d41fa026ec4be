"""A file box: each user uploads files, sees its own files, and deletes them.

`uploads.py` decides about uploads. The rest is an ordinary Pyramid app.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory
from sqlalchemy import create_engine

from examples import models
from examples.secret_key import secret_key

from .security import SessionPolicy

PAGE = Path(__file__).parents[1] / "page"

# In a project, these entries are in the ini file.
TUS = {
    "tus.s3_object_key": "users/{owner}/{id}/{filename}",
    "tus.expires": "1d",
    "tus.disable_concatenation": "true",
    "tus.authorize": "examples.pyramid.uploads.user",
    "tus.on_create": "examples.pyramid.uploads.new_upload",
    "tus.on_finish": "examples.pyramid.uploads.uploaded",
    "tus.on_terminate": "examples.pyramid.uploads.removed",
}


def create_app(uppy: str, data: str):
    """Create the app. Environment variables name the S3 server.

    Args:
        uppy: the directory of Uppy's files.
        data: the directory of the database and of the key that signs sessions.
    """
    logging.basicConfig(level=logging.INFO)
    models.connect(create_engine(f"sqlite:///{data}/files.db"))
    with Configurator(settings=TUS) as config:
        # The cookie has SameSite=Lax: pages of other sites cannot send forms with the session.
        config.set_session_factory(SignedCookieSessionFactory(secret_key(Path(data, "secret"))))
        config.set_security_policy(SessionPolicy())
        config.add_static_view("page", str(PAGE))
        config.add_static_view("uppy", uppy)
        for name, pattern in {
            "files": "/",
            "login": "/login",
            "logout": "/logout",
            "delete": "/delete/{id}",
        }.items():
            config.add_route(name, pattern)
        config.scan(".views")
        config.include("tus_wsgi.frameworks.pyramid")
    return config.make_wsgi_app()
