"""Configuration of an upload server: run `gunicorn` without arguments in this directory.

Environment variables configure everything. gunicorn itself reads `WEB_CONCURRENCY` (number of
workers), `PORT` and `GUNICORN_CMD_ARGS`. `tus-wsgi settings` lists the variables that begin with
`TUS_`.
"""

import os
import sys

# Patch before any import of ssl: modules imported earlier stay unpatched and block all greenlets.
from gevent import monkey

monkey.patch_all()

# Import the package before the fork: the workers share its memory, and a new worker starts quickly.
# Connections to S3 are made after the fork. For another version of the package, start a new master
# (SIGUSR2) instead of reloading this one (SIGHUP).
import tus_wsgi.app  # noqa: E402, F401

wsgi_app = "tus_wsgi.app:create_app()"
worker_class = "gevent"

# gunicorn kills a worker that sends no heartbeat for this many seconds. A gevent worker sends
# heartbeats while its requests wait for clients and S3, so only a worker that hangs is killed.
timeout = 60

# After SIGTERM, requests stop reading, store the bytes that have arrived, and end. This takes
# seconds, however many bytes are missing. Completing a large upload in S3 takes longest.
graceful_timeout = 30

# Seconds until an idle connection is closed. Most proxies close idle connections earlier.
keepalive = 5

# By default gunicorn takes the path of a request from its fields SCRIPT_NAME and PATH_INFO if a
# proxy on this host sends them. A client could use them to evade rules of the proxy for paths.
forwarder_headers = ""

# gunicorn 27 opens a control socket in the home directory, which this server does not need.
control_socket_disable = True


def on_starting(server):
    """Reject TUS_LOCKER=memory with several workers. Only gunicorn knows its `--workers`."""
    if os.environ.get("TUS_LOCKER") == "memory" and server.cfg.workers > 1:
        sys.exit("TUS_LOCKER: memory is for one process, and gunicorn starts several workers")


def ssl_context(_config, default_factory):
    """Accept connections that end without a TLS close_notify.

    To interrupt a body, the server shuts down the reading side of the connection, and must still be
    able to send the response. A truncated body is detected all the same, by its Content-Length or
    its chunks.
    """
    import ssl

    context = default_factory()
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def post_worker_init(worker):
    """Reduce the worker's memory, and interrupt running uploads cleanly when the worker stops."""
    from tus_wsgi import start_drain_watcher, tune_malloc

    tune_malloc()
    start_drain_watcher(lambda: worker.alive)
