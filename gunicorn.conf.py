"""Plain `gunicorn` in this directory serves uploads, from environment variables alone.

gunicorn reads `WEB_CONCURRENCY` (workers), `PORT` and `GUNICORN_CMD_ARGS` by itself; everything
that begins with `TUS_` is explained by `tus-wsgi settings`.
"""

import os
import sys

# Before anything imports ssl: what is imported first stays unpatched, and blocks every greenlet.
from gevent import monkey

monkey.patch_all()

wsgi_app = "tus_wsgi.app:create_app()"
worker_class = "gevent"

# A worker that does not report for so long is killed. A gevent worker reports while its requests
# wait for clients and S3, so this catches only one that is truly stuck.
timeout = 60

# After SIGTERM requests stop reading, store what came and end: seconds, not the rest of an upload.
# Completing a large upload in S3 takes longest.
graceful_timeout = 30

# Seconds that an idle connection is kept: longer than most proxies' own patience would be wasted.
keepalive = 5

# gunicorn 27 opens a socket in the home directory, to be steered by. Nobody asked for it here.
control_socket_disable = True


def on_starting(server):
    """Refuse locks that exclude nobody: the settings do not see `--workers`, but gunicorn does."""
    if os.environ.get("TUS_LOCKER") == "memory" and server.cfg.workers > 1:
        sys.exit("TUS_LOCKER: memory is for one process, and there are to be more workers")


def ssl_context(_config, default_factory):
    """Let a body be ended without the connection's TLS, or no client could be told why it was.

    No end is mistaken: Content-Length and chunks say where a body ends, whatever TLS says.
    """
    import ssl

    context = default_factory()
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def post_worker_init(worker):
    """Keep the worker small, and cut running uploads in good order when it is asked to stop."""
    from tus_wsgi import start_drain_watcher, tune_malloc

    tune_malloc()
    start_drain_watcher(lambda: worker.alive)
