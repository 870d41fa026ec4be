"""gunicorn's configuration for gthread workers, without gevent."""

import ssl
from collections.abc import Callable
from typing import Any

worker_class = "gthread"
threads = 8
wsgi_app = "tus_wsgi.app:create_app()"


def ssl_context(config: Any, default_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = default_factory()
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def post_worker_init(worker: Any) -> None:
    from tus_wsgi import start_drain_watcher

    start_drain_watcher(lambda: worker.alive)
