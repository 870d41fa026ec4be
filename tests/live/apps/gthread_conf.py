"""gunicorn with threads, and not a word of gevent."""

from typing import Any

worker_class = "gthread"
threads = 8
wsgi_app = "tus_wsgi.assembly:create_app()"


def post_worker_init(worker: Any) -> None:
    from tus_wsgi import drain_when_stopping

    drain_when_stopping(lambda: worker.alive)
