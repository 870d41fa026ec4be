"""Uploads into memory, and the servers that are started from Python: `in_memory.py SERVER PORT`."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"


def not_found(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]


logging.basicConfig(level=logging.INFO)

application = TusMiddleware(
    not_found,
    settings=Settings.from_environ({"TUS_S3_BUCKET": "unused", "TUS_LOCKER": "memory"}),
    store=MemoryStore(),
    locker=MemoryLocker(timeout=5),
)


def run_wsgiref(port: int) -> None:
    from wsgiref.simple_server import make_server

    make_server(HOST, port, application).serve_forever()


def run_bottle(port: int) -> None:
    import bottle

    bottle.run(application, host=HOST, port=port, quiet=True)


def run_django(port: int) -> None:
    from django.core.servers.basehttp import run

    run(HOST, port, application, threading=True)


def run_werkzeug(port: int) -> None:
    from werkzeug.serving import run_simple

    run_simple(HOST, port, application, threaded=True)


def run_cheroot(port: int) -> None:
    from cheroot.wsgi import Server

    Server((HOST, port), application).start()


def run_pywsgi(port: int) -> None:
    from gevent.pywsgi import WSGIServer

    WSGIServer((HOST, port), application).serve_forever()


def run_uvicorn(port: int) -> None:
    import uvicorn
    from a2wsgi import WSGIMiddleware

    uvicorn.run(WSGIMiddleware(application), host=HOST, port=port)  # type: ignore[arg-type]


_APACHE = """
ServerRoot {directory}
ServerName localhost
Listen {host}:{port}
PidFile {directory}/pid
ErrorLog /dev/stderr
DefaultRuntimeDir {directory}
Mutex file:{directory} default
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
User www-data
Group www-data
WSGISocketPrefix {directory}/wsgi
WSGIDaemonProcess uploads threads=15 python-path={path}
WSGIProcessGroup uploads
WSGIApplicationGroup %{{GLOBAL}}
WSGIChunkedRequest On
WSGIScriptAlias / {script}
<Directory {script.parent}>
    Require all granted
</Directory>
"""


def run_apache(port: int) -> None:
    """Replace this process by Apache, whose mod_wsgi runs the app with this Python's packages."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)  # Apache changes to another user if it is started by root
    script = Path(__file__).resolve()
    config = directory / "apache.conf"
    text = _APACHE.format(
        directory=directory,
        host=HOST,
        port=port,
        modules="/usr/lib/apache2/modules",
        path=f"{script.parents[3]}:{sysconfig.get_path('purelib')}",
        script=script,
    )
    config.write_text(text, encoding="utf-8")
    os.execv("/usr/sbin/apache2", ["apache2", "-DFOREGROUND", "-f", str(config)])


RUNNERS: dict[str, Callable[[int], None]] = {
    name.removeprefix("run_"): value
    for name, value in list(globals().items())
    if name.startswith("run_")
}

if __name__ == "__main__":
    RUNNERS[sys.argv[1]](int(sys.argv[2]))
