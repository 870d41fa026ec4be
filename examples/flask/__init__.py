"""A file box: each user uploads files, sees its own files, and deletes them.

`uploads.py` decides about uploads. The rest is an ordinary Flask app.
"""

from __future__ import annotations

import logging
from pathlib import Path

from flask import Flask, send_from_directory
from sqlalchemy import create_engine

from examples import models
from examples.secret_key import secret_key

from . import uploads, views

PAGE = Path(__file__).parents[1] / "page"


def create_app(uppy: str, data: str) -> Flask:
    """Create the app. Environment variables name the S3 server.

    Args:
        uppy: the directory of Uppy's files.
        data: the directory of the database and of the key that signs sessions.
    """
    logging.basicConfig(level=logging.INFO)
    models.connect(create_engine(f"sqlite:///{data}/files.db"))
    app = Flask(
        __name__, static_folder=PAGE, static_url_path="/page", template_folder="../templates"
    )
    app.config.update(
        SECRET_KEY=secret_key(Path(data, "secret")),
        # Pages of other sites cannot send forms with the session of a user.
        SESSION_COOKIE_SAMESITE="Lax",
        TUS_S3_OBJECT_KEY="users/{owner}/{id}/{filename}",
        TUS_EXPIRES="1d",
        TUS_DISABLE_CONCATENATION=True,
    )
    app.register_blueprint(views.blueprint)
    app.add_url_rule("/uppy/<name>", view_func=lambda name: send_from_directory(uppy, name))
    uploads.tus.init_app(app)
    return app
