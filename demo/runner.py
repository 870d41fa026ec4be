"""Run the demo or an example: an upload page on gunicorn and an S3 server, until Ctrl-C.

`run` starts SeaweedFS and gunicorn as child processes and stops them in reverse order: gunicorn
first, because its workers still store the bytes that they have received, and the S3 server last.
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

import click

from demo.app import UPPY_FILES
from demo.npm import fetch_files
from demo.ports import HOST
from demo.process import ChildProcess, SetupError
from demo.seaweedfs import SeaweedFS, start_seaweedfs

BUCKET = "uploads"
UPPY = "uppy@6.0.1"

START_SECONDS = 30.0
"""Timeout for gunicorn's start, which takes one or two seconds."""

GRACE_SECONDS = 5
"""Time for the workers to store the bytes of uploads that a stop interrupts."""

_OWN_VARIABLES = ("AWS_", "TUS_", "GUNICORN_", "WEB_CONCURRENCY")
"""Variables that the demo does not inherit, so that it behaves the same on every machine."""


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """The directories and files of a demo.

    Attributes:
        root: the parent directory, which git ignores.
        s3: the S3 server's data and log.
        uppy: the upload widget's files, for the version in `UPPY`.
        locks: the workers' lock file.
        log: the output of gunicorn and its workers.
    """

    root: Path
    s3: Path
    uppy: Path
    locks: Path
    log: Path

    @classmethod
    def under(cls, root: Path) -> DemoPaths:
        """Return the default paths under `root`."""
        return cls(
            root=root,
            s3=root / "s3",
            uppy=root / UPPY,
            locks=root / "locks",
            log=root / "gunicorn.log",
        )


@dataclass(frozen=True, slots=True)
class Program:
    """What the runner serves.

    Attributes:
        command: the command of the program, for messages.
        app: gunicorn's name of the app. `{uppy!r}` stands for the directory of the upload widget,
            `{data!r}` for the directory of the app's own data.
        hint: what to do on the page.
        data_dir: the default directory of the data, relative to the working directory, so that
            users can find and delete it.
    """

    command: str
    app: str
    hint: str
    data_dir: Path


DEMO = Program(
    command="script/demo",
    app="demo.app:create_app({uppy!r})",
    hint="Drop a file on the page. While it uploads, cut the network, reload the page or stop this "
    "demo.",
    data_dir=Path(".demo"),
)


class StopSignal:
    """Record SIGINT, SIGTERM and SIGHUP instead of ending the process at once."""

    def __init__(self) -> None:
        self._received = False

    def received(self) -> bool:
        """Return whether this process was asked to stop."""
        return self._received

    @contextlib.contextmanager
    def handlers_installed(self) -> Iterator[None]:
        """Install the signal handlers until the block ends. Call this in the main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._received = True


def run(
    program: Program = DEMO, *, port: int = 8080, data_dir: Path | None = None, workers: int = 2
) -> int:
    """Serve a program until the process is asked to stop. Call this in the main thread.

    Args:
        program: the demo, or an example.
        port: the page's port on the loopback interface. 0 picks a free one.
        data_dir: keeps the uploads for the next start; None for the program's default.
        workers: the number of gunicorn's gevent workers.

    Returns:
        The exit code: 0 after a stop, 1 after a failure, which has been printed.
    """
    stop = StopSignal()
    try:
        with stop.handlers_installed():
            paths = DemoPaths.under((data_dir or program.data_dir).absolute())
            _serve(program, paths, port=port, workers=workers, stop=stop)
    except SetupError as error:
        if stop.received():  # the stop caused the failure
            return 0
        click.echo(f"{program.command}: {error}", err=True)
        return 1
    return 0


def _serve(
    program: Program, paths: DemoPaths, *, port: int, workers: int, stop: StopSignal
) -> None:
    """Start both servers, wait until a stop is requested, and end them in reverse order.

    Raises:
        SetupError: a program is missing, or a server did not start or ended by itself.
    """
    _check_installed("gunicorn", "gevent")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(port))
        _create_directories(paths)
        if not (paths.uppy / UPPY_FILES[0]).exists():
            click.echo(f"Downloading {UPPY} from npm (first start only) ...")
        fetch_files(UPPY, [f"dist/{n}" for n in UPPY_FILES], paths.uppy, cancelled=stop.received)
        s3 = stack.enter_context(start_seaweedfs(paths.s3, bucket=BUCKET))
        server = _start_gunicorn(program, paths, s3, listener, workers)
        stack.callback(server.stop, grace=GRACE_SECONDS + 2)
        url = f"http://{HOST}:{listener.getsockname()[1]}/"
        # If gunicorn dies, an open listener here would accept connections and never answer them.
        listener.close()
        _wait_until_ready(server, url, stop)
        if not stop.received():
            click.echo(_welcome(program, url, paths, s3))
        _watch(s3, server, stop)
        click.echo("\nStopping ...")
    click.echo("Stopped. The uploads are kept for the next start.")


def _check_installed(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise SetupError(f"{module} is missing. Install it with: pip install -e '.[demo]'")


def _listen(port: int) -> socket.socket:
    """Bind the page's port before anything else starts, so that a port in use fails at once."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise SetupError(
            f"cannot use port {port} ({error.strerror}). Choose another: --port 8081, "
            "or --port 0 for a free one"
        ) from error
    return listener


def _create_directories(paths: DemoPaths) -> None:
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        paths.locks.mkdir(mode=0o700, exist_ok=True)
        (paths.root / ".gitignore").write_text("*\n", encoding="ascii")
    except OSError as error:
        raise SetupError(
            f"cannot write to {paths.root} ({error.strerror}). Choose another directory: --data-dir"
        ) from error


def _start_gunicorn(
    program: Program, paths: DemoPaths, s3: SeaweedFS, listener: socket.socket, workers: int
) -> ChildProcess:
    """Start gunicorn on the socket of `listener`, which it inherits."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OWN_VARIABLES)}
    environ = {**inherited, **s3.environ(), "TUS_LOCK_DIR": str(paths.locks)}
    # S3 is on this machine, where a proxy cannot reach it.
    environ |= {"NO_PROXY": HOST, "no_proxy": HOST}
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config=python:tus_wsgi.gunicorn",
        f"--bind=fd://{listener.fileno()}",
        f"--workers={workers}",
        f"--graceful-timeout={GRACE_SECONDS}",
        program.app.format(uppy=str(paths.uppy), data=str(paths.root)),
    ]
    return ChildProcess(command, environ=environ, log=paths.log, pass_fds=[listener.fileno()])


def _wait_until_ready(server: ChildProcess, url: str, stop: StopSignal) -> None:
    """Wait until the page is served or a stop is requested.

    Raises:
        SetupError: gunicorn ended, for example because of an invalid setting, or it took too long.
    """
    # Ignore the proxies of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while server.running() and not stop.received() and time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError), opener.open(url, timeout=1):
            return
        time.sleep(0.1)
    if not stop.received():
        raise SetupError(f"gunicorn did not start. The end of its log:\n{server.log_tail()}")


def _watch(s3: SeaweedFS, server: ChildProcess, stop: StopSignal) -> None:
    """Return when the process is asked to stop.

    Raises:
        SetupError: a server ended by itself.
    """
    while not stop.received():
        if not s3.running():
            raise SetupError(f"SeaweedFS ended. The end of its log:\n{s3.log_tail()}")
        if not server.running():
            raise SetupError(f"gunicorn ended. The end of its log:\n{server.log_tail()}")
        time.sleep(0.1)


def _welcome(program: Program, url: str, paths: DemoPaths, s3: SeaweedFS) -> str:
    return f"""
  Open       {url}

  {program.hint}

  Uploads    bucket {BUCKET!r} of the S3 server at {s3.endpoint}
  Kept in    {paths.root}
  Log        {paths.log}

Press Ctrl-C to stop everything."""
