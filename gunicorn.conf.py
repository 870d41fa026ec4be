"""Configuration of an upload server: run `gunicorn` without arguments in this directory.

Environment variables configure everything. gunicorn itself reads `WEB_CONCURRENCY` (number of
workers), `PORT` and `GUNICORN_CMD_ARGS`. `tus-wsgi settings` lists the variables that begin with
`TUS_`.
"""

from tus_wsgi.gunicorn import *  # noqa: F403 - all settings and hooks

wsgi_app = "tus_wsgi.app:create_app()"
