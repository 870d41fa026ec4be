"""The demo: a page to drop files on, an S3 server, and gunicorn between them, with one command.

`run` is the whole life of it. The parts are children of this process and end with it, gunicorn
first, because its workers still store what has come in; the S3 server last.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from wsgiref.types import WSGIApplication

import click

from demo.app import UPPY_FILES, page_app
from demo.npm import fetch_files
from demo.ports import HOST
from demo.process import ChildProcess, SetupError
from demo.seaweedfs import SeaweedFS, start_seaweedfs
from tus_wsgi.app import TusMiddleware
from tus_wsgi.observers.log import LogFormat, configure_logging

BUCKET = "uploads"
DATA_DIR = Path(".demo")
"""Below the working directory, where a person finds it, and can delete it."""

UPPY = "uppy@6.0.1"

START_SECONDS = 30.0
"""gunicorn needs one or two."""

GRACE_SECONDS = 5
"""For the workers to store what came of the uploads that a stop interrupts."""

_OURS = ("AWS_", "TUS_", "GUNICORN_", "WEB_CONCURRENCY")
"""Variables that the demo sets itself, so that it is the same everywhere."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo keeps what.

    Attributes:
        root: the directory of all the others, which git ignores.
        storage: the S3 server's own data, and its log.
        uppy: the upload widget's files, of the version that is pinned here.
        locks: the lock file of the workers.
        log: what gunicorn and its workers say.
    """

    root: Path
    storage: Path
    uppy: Path
    locks: Path
    log: Path

    @classmethod
    def below(cls, root: Path) -> Places:
        """The usual names in `root`."""
        return cls(
            root=root,
            storage=root / "s3",
            uppy=root / UPPY,
            locks=root / "locks",
            log=root / "gunicorn.log",
        )


class StopRequest:
    """Notes Ctrl-C and its like, instead of dying in the middle of something."""

    def __init__(self) -> None:
        self._made = False

    def made(self) -> bool:
        """Whether somebody asked this process to end."""
        return self._made

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note SIGINT, SIGTERM and SIGHUP while it lasts; only in the main thread."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._made = True


def create_demo_app(uppy: str) -> WSGIApplication:
    """The page with uploads around it, for gunicorn; the environment says which S3.

    Args:
        uppy: the directory of the widget's files.
    """
    configure_logging(LogFormat.TEXT)
    return TusMiddleware.from_env(page_app(Path(uppy)))


def run(*, port: int = 8080, data_dir: Path | None = None, workers: int = 2) -> int:
    """Serve the demo until somebody stops it; call it in the main thread.

    Args:
        port: of the page, on the loopback interface; 0 for any that is free.
        data_dir: keeps everything, also for the next start; `DATA_DIR` when not given.
        workers: gevent workers of gunicorn.

    Returns:
        An exit code: 0 after a stop, 1 after a failure, which has then been explained.
    """
    stop = StopRequest()
    try:
        with stop.listening():
            places = Places.below((data_dir or DATA_DIR).absolute())
            _serve(places, port=port, workers=workers, stop=stop)
    except SetupError as error:
        if stop.made():  # it broke because we broke it off
            return 0
        click.echo(f"tus-wsgi demo: {error}", err=True)
        return 1
    return 0


def _serve(places: Places, *, port: int, workers: int, stop: StopRequest) -> None:
    _check_installed("gunicorn", "gevent")
    with contextlib.ExitStack() as parts:
        listener = parts.enter_context(_listen(port))
        _prepare(places)
        if not (places.uppy / UPPY_FILES[0]).exists():
            click.echo(f"Fetching {UPPY} from npm, this once ...")
        fetch_files(UPPY, [f"dist/{n}" for n in UPPY_FILES], places.uppy, cancelled=stop.made)
        storage = parts.enter_context(start_seaweedfs(places.storage, bucket=BUCKET))
        server = _start_gunicorn(places, storage, listener, workers)
        parts.callback(server.stop, grace=GRACE_SECONDS + 2)
        url = f"http://{HOST}:{listener.getsockname()[1]}/"
        # Else a dead gunicorn's port would go on taking connections, and nobody answering them.
        listener.close()
        _wait_until_answering(server, url, stop)
        if not stop.made():
            click.echo(_welcome(url, places, storage))
        _watch(storage, server, stop)
        click.echo("\nStopping ...")
    click.echo("Stopped. The uploads are kept for the next start.")


def _check_installed(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise SetupError(
                f"{module} is missing. Install it with: pip install 'tus-wsgi-s3[demo]'"
            )


def _listen(port: int) -> socket.socket:
    """The page's address, taken at once, so that nothing starts when somebody else has it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise SetupError(
            f"port {port} cannot be used ({error.strerror}). Choose another: --port 8081, "
            "or --port 0 for any that is free"
        ) from error
    return listener


def _prepare(places: Places) -> None:
    try:
        places.root.mkdir(parents=True, exist_ok=True)
        places.locks.mkdir(mode=0o700, exist_ok=True)
        (places.root / ".gitignore").write_text("*\n", encoding="ascii")
    except OSError as error:
        raise SetupError(
            f"cannot write to {places.root} ({error.strerror}). Choose another: --data-dir"
        ) from error


def _start_gunicorn(
    places: Places, storage: SeaweedFS, listener: socket.socket, workers: int
) -> ChildProcess:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    environ = {**inherited, **storage.environ(), "TUS_LOCK_DIR": str(places.locks)}
    # A proxy is for the world outside; S3 is here.
    environ |= {"NO_PROXY": HOST, "no_proxy": HOST}
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        # By its path: by its name, boto3 would be imported before gevent patches what it uses.
        f"--config={Path(__file__).with_name('gunicorn_conf.py')}",
        f"--bind=fd://{listener.fileno()}",
        f"--workers={workers}",
        f"--graceful-timeout={GRACE_SECONDS}",
        f"demo.runner:create_demo_app({str(places.uppy)!r})",
    ]
    return ChildProcess(command, environ=environ, log=places.log, pass_fds=[listener.fileno()])


def _wait_until_answering(server: ChildProcess, url: str, stop: StopRequest) -> None:
    """Wait for the page, which a worker serves only when it has found all its settings good."""
    # Without the proxies of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while server.running() and not stop.made() and time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError), opener.open(url, timeout=1):
            return
        time.sleep(0.1)
    if not stop.made():
        raise SetupError(f"gunicorn did not start. The end of its log:\n{server.log_tail()}")


def _watch(storage: SeaweedFS, server: ChildProcess, stop: StopRequest) -> None:
    """Return when somebody wants to stop.

    Raises:
        SetupError: a part ended by itself.
    """
    while not stop.made():
        if not storage.running():
            raise SetupError(f"SeaweedFS ended. The end of its log:\n{storage.log_tail()}")
        if not server.running():
            raise SetupError(f"gunicorn ended. The end of its log:\n{server.log_tail()}")
        time.sleep(0.1)


def _welcome(url: str, places: Places, storage: SeaweedFS) -> str:
    return f"""
  Open       {url}

  Drop a file on the page, and cut the network, reload, or stop this while it uploads.

  Uploads    bucket {BUCKET!r} of the S3 server at {storage.endpoint}
  Kept in    {places.root}
  Log        {places.log}

Ctrl-C stops everything."""
