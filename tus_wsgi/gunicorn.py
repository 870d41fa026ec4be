"""The configuration of gunicorn for uploads: `gunicorn -c python:tus_wsgi.gunicorn app:app`.

Arguments of the command line and `GUNICORN_CMD_ARGS` override these settings, also the worker class
(`-k gthread --threads 32`). To change more, begin a configuration of your own with
`from tus_wsgi.gunicorn import *`; docs/servers.md has an example.

This is the only module of the package that imports gevent or gunicorn. When gunicorn loads it,
gevent patches the standard library at once, unless an argument chooses other workers. The patch
cannot wait for gunicorn's first hook, because the master has created its own queues by then. And
modules that import `ssl` before the patch block all greenlets.
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import ssl
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

from tus_wsgi.observers import workers as metrics
from tus_wsgi.observers.hide_ids import HidingFormatter
from tus_wsgi.observers.log import LogFormat, json_formatter
from tus_wsgi.wsgi.open_files import needed_files, raise_file_limit
from tus_wsgi.wsgi.request_id import ENVIRON_KEY as REQUEST_ID_KEY
from tus_wsgi.wsgi.worker import is_patched, is_patched_late

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.config import Config
    from gunicorn.workers.base import Worker

__all__ = [
    "child_exit",
    "control_socket_disable",
    "forwarder_headers",
    "graceful_timeout",
    "keepalive",
    "logger_class",
    "on_exit",
    "on_starting",
    "post_worker_init",
    "pre_exec",
    "ssl_context",
    "threads",
    "timeout",
    "when_ready",
    "worker_class",
]

worker_class = "gevent"

threads = 16
"""Only for `-k gthread`: how many requests a worker serves at the same time."""

timeout = 60
"""gunicorn kills a worker that sends no heartbeat for this many seconds. gevent and gthread workers
send heartbeats while their requests wait for clients and S3, so only a worker that hangs is killed.
"""

graceful_timeout = 30
"""Seconds after SIGTERM until gunicorn kills a worker. Requests stop reading, store the bytes that
have arrived, and end. This takes a few seconds, however many bytes are missing. Completing a large
upload in S3 takes longest."""

keepalive = 5
"""Seconds until an idle connection is closed. Most proxies close idle connections earlier."""

forwarder_headers = ""
"""No fields. By default gunicorn takes the path of a request from its fields SCRIPT_NAME and
PATH_INFO if a proxy on this host sends them. A client could use these fields to evade rules of the
proxy for paths."""

control_socket_disable = True
"""gunicorn 27 opens a control socket in the home directory, which this server does not need."""


class IdHidingLogger(Logger):  # type: ignore[misc]
    """gunicorn's log without the ids of uploads, in JSON if `TUS_LOG_FORMAT` says so.

    Handlers of a `logconfig` of the operator stay as they are.
    """

    def setup(self, cfg: Config) -> None:
        """Configure the handlers."""
        super().setup(cfg)
        self._is_json = os.environ.get("TUS_LOG_FORMAT", "").strip().lower() == LogFormat.JSON
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            if getattr(handler, "_gunicorn", False):
                formatter = json_formatter() if self._is_json else handler.formatter
                handler.setFormatter(HidingFormatter(formatter))

    def access(
        self,
        resp: Any,  # noqa: ANN401 - gunicorn is untyped
        req: Any,  # noqa: ANN401 - as above
        environ: Mapping[str, Any],
        request_time: timedelta,
    ) -> None:
        """Log a request, in JSON with a field for each value."""
        if not self._is_json or not self.access_log.handlers:
            super().access(resp, req, environ, request_time)
            return
        fields = {
            "event": "request",
            "remote": environ.get("REMOTE_ADDR"),
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("RAW_URI"),
            "status": int(str(resp.status).split(" ", 1)[0]),
            "bytes": getattr(resp, "sent", None),
            "seconds": round(request_time.total_seconds(), 3),
        }
        if REQUEST_ID_KEY in environ:
            fields["request"] = environ[REQUEST_ID_KEY]
        self.access_log.info("request", extra=fields)


logger_class = IdHidingLogger


def on_starting(server: Arbiter) -> None:
    """Refuse or report settings that do not fit uploads, and import the package before the fork.

    The workers share the memory of the import and of the description of S3, and start quickly.
    Connections to S3 are made after the fork. For another version of the package, start a new
    master (SIGUSR2) instead of reloading this one (SIGHUP).
    """
    config = server.cfg
    _check_patched(server.worker_class)
    # Only gunicorn knows its `--workers`.
    if os.environ.get("TUS_LOCKER", "").strip() == "memory" and config.workers > 1:
        sys.exit("TUS_LOCKER: memory is for one process, and gunicorn starts several workers")
    if "h2" in getattr(config, "http_protocols", ()):
        server.log.warning(
            "gunicorn speaks HTTP/2: an upload delays all other requests of its connection, and "
            "clients get no interim responses. Let a proxy speak HTTP/2 instead"
        )
    _allow_open_files(server)
    _import_for_workers()


def _allow_open_files(server: Arbiter) -> None:
    """Raise the limit of open files for the workers, and report a limit that is too low."""
    needed = needed_files(server.cfg.worker_connections)
    limit = raise_file_limit(needed)
    if limit < needed:
        server.log.warning(
            "a worker with %d connections may need %d open files, but the system allows %d: raise "
            "the hard limit (LimitNOFILE of systemd, --ulimit nofile of Docker), or lower "
            "--worker-connections",
            server.cfg.worker_connections,
            needed,
            limit,
        )


def _import_for_workers() -> None:
    """Load what every worker needs, after gevent has patched, so that the workers share it."""

    import tus_wsgi.app  # noqa: PLC0415
    import tus_wsgi.wsgi.malloc  # noqa: F401, PLC0415
    from tus_wsgi.stores.s3.aws_session import load_description  # noqa: PLC0415

    load_description()
    # OpenSSL allocates 2 MiB for its first context, which workers then share.
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def ssl_context(_config: Config, default_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Accept connections that end without a TLS close_notify.

    To interrupt a body, the server shuts down the reading side of the connection, and must still be
    able to send the response. A truncated body is detected all the same, by its Content-Length or
    its chunks.
    """
    context = default_factory()
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def post_worker_init(worker: Worker) -> None:
    """Reduce the worker's memory, and interrupt running uploads cleanly when the worker stops."""
    from tus_wsgi import start_drain_watcher, tune_malloc  # noqa: PLC0415 - as above

    tune_malloc()
    start_drain_watcher(lambda: worker.alive)


def when_ready(server: Arbiter) -> None:
    """Let workers of another user write their metrics, and share the master's memory with them."""
    metrics.change_owner(server.cfg.uid, server.cfg.gid)
    # A worker's garbage collection would otherwise write to all shared objects, which copies them.
    gc.collect()
    gc.freeze()


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """Keep the counts of a worker that has ended, and remove its gauges."""
    metrics.add_ended_worker(worker.pid)


def pre_exec(server: Arbiter) -> None:
    """Let a new master (SIGUSR2) continue the counts, while the workers of both serve."""
    metrics.keep_for_successor(server.cfg.env_orig)


def on_exit(server: Arbiter) -> None:
    """Remove the metrics of the workers, unless another master continues them."""
    has_successor = server.reexec_pid != 0
    has_predecessor = server.master_pid != 0 and server.master_pid == os.getppid()
    if not has_successor and not has_predecessor:
        metrics.remove_directory()


def _chosen_worker() -> str:
    """Return the worker class of gunicorn's arguments; without one, this configuration's."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-k", "--worker-class", default=worker_class)
    arguments = [*shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")), *sys.argv[1:]]
    return str(parser.parse_known_args(arguments)[0].worker_class)


def _patch() -> None:
    from gevent import monkey  # noqa: PLC0415 - other workers do not need gevent

    monkey.patch_all()
    if is_patched_late():
        sys.exit(
            "gunicorn's configuration imports modules that use ssl before gevent can patch it. "
            "Begin the configuration with: from tus_wsgi.gunicorn import *"
        )


def _check_patched(worker_class: type[Any]) -> None:
    """Exit if gevent has patched the standard library for other workers, or not for its own."""
    is_gevent = any(base.__name__ == "GeventWorker" for base in worker_class.__mro__)
    if is_gevent and not is_patched():
        sys.exit(
            "gunicorn runs gevent workers, but gevent has not patched the standard library. Choose "
            "the workers with the argument -k gevent"
        )
    if is_patched() and not is_gevent:
        sys.exit(
            f"gunicorn runs workers of the class {worker_class.__name__}, but gevent has patched "
            "the standard library. Choose the workers with an argument, such as -k gthread, "
            "instead of worker_class in the configuration"
        )


# Only if gunicorn loads this module, and not if a test or a tool imports it.
if "gunicorn.app.base" in sys.modules:
    if "gevent" in _chosen_worker().lower():
        _patch()
    # Before the app is imported, because prometheus_client reads the variable when it is imported.
    metrics.create_directory(os.environ)
