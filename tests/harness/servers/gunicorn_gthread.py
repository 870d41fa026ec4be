"""A gunicorn configuration for real threads: unlike the project's own, it patches nothing."""

from __future__ import annotations

from typing import Any

wsgi_app = "tus_wsgi.app:create_app()"
worker_class = "gthread"
threads = 16
timeout = 60
graceful_timeout = 30
keepalive = 5


def post_worker_init(worker: Any) -> None:
    """Drain uploads when the worker is asked to stop."""
    from tus_wsgi import start_drain_watcher

    start_drain_watcher(lambda: worker.alive)
