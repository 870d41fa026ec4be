"""Start gunicorn as users do: in the project's directory, with the project's configuration.

Python warnings are errors in it, and each server has a log file. Seconds are `float`.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from gunicorn.config import KNOWN_SETTINGS

from demo.process import ChildProcess
from tests.harness.clients.http import Connection
from tests.harness.sockets import HOST
from tests.harness.timing import wait_until

ROOT = Path(__file__).parents[3]

START_SECONDS = 120.0
"""A start takes about a second; a busy machine needs longer."""

STOP_SECONDS = 40.0
"""Longer than `graceful_timeout`, so that tests notice a server that does not stop in time."""

_LISTENING = re.compile(r"Listening at: https?://127\.0\.0\.1:(\d+)")


class Gunicorn:
    """A running server. A context manager that kills it.

    Args:
        environ: environment variables in addition to those of this process.
        directory: the directory of its logs; created if it is missing.
        workers: how many processes serve.
        app: the app, if it is not that of `gunicorn.conf.py`.
        arguments: more command-line arguments.
        port: where it listens; 0 for a free port.
        ignored: beginnings of warnings of other packages; all other warnings are errors.
        certificate: a file with a certificate and its key, to speak TLS.
        command: the program and its arguments, instead of `workers`, `app`, `arguments` and
            `ignored`; the address is in the environment.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        directory: Path,
        workers: int = 2,
        app: str | None = None,
        arguments: Sequence[str] = (),
        port: int = 0,
        ignored: Sequence[str] = (),
        certificate: Path | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "gunicorn.log"
        self.access_log = directory / "access.log"
        address = ["--bind", f"{HOST}:{port}", "--access-logfile", str(self.access_log)]
        self.tls: ssl.SSLContext | None = None
        if certificate is not None:
            address += ["--certfile", str(certificate), "--keyfile", str(certificate)]
            self.tls = ssl.create_default_context(cafile=certificate)
        environ = {**os.environ, **environ}
        has_workers = command is None
        if command is None:
            command = [
                *(sys.executable, "-W", "error"),
                *(f"-Wignore:{message}" for message in ignored),
                *("-m", "gunicorn", *address, "--workers", str(workers)),
                *_without_control_socket(),
                *arguments,
                *([] if app is None else [app]),
            ]
        else:
            environ |= {"GUNICORN_CMD_ARGS": shlex.join(address), "PYTHONWARNINGS": "error"}
        self._process = ChildProcess(command, environ=environ, log=self.log)
        try:
            self.port = self._wait_for_port()
            self._wait_for_response()
            if has_workers:
                self.wait_for_workers(workers)
        except BaseException:
            self._process.stop(grace=0)
            raise

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self._process.pid

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    def wait_for_workers(self, count: int) -> None:
        """Wait until `count` workers run: the first may serve before the others are forked."""
        wait_until(lambda: len(self.workers()) >= count, seconds=START_SECONDS)

    def worker_of(self, connection: socket.socket) -> int:
        """Wait until a worker has accepted a connection, and return its process id."""
        client_address = connection.getsockname()
        found: list[int] = []

        def is_accepted() -> bool:
            found[:] = [
                pid
                for pid in self.workers()
                for accepted in psutil.Process(pid).net_connections("tcp")
                if accepted.raddr == client_address
            ]
            return bool(found)

        wait_until(is_accepted)
        return found[0]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        os.kill(self.pid, number)

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.running()

    def wait_for_exit(self, seconds: float) -> int:
        """Wait until the server has exited, and return the exit code; fail after `seconds`."""
        wait_until(lambda: not self.running(), seconds=seconds)
        code = self._process.exit_code()
        assert code is not None
        return code

    def stop(self) -> None:
        """Stop it gracefully. A second call does nothing."""
        self._process.stop(grace=STOP_SECONDS)

    def kill(self) -> None:
        """Kill it and all workers."""
        self._process.stop(grace=0)

    def read_log(self) -> str:
        """Return its whole log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def logged_errors(self) -> list[str]:
        """Return the lines of its log that are tracebacks, Python warnings or errors."""
        bad = re.compile(
            r"Traceback|Warning:|\[(ERROR|CRITICAL)\]|event=request_failed|WORKER TIMEOUT"
            r"|graceful timeout"
        )
        return [line for line in self.read_log().splitlines() if bad.search(line)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def _wait_for_port(self) -> int:
        port: list[str] = []

        def listening() -> bool:
            assert self._process.running(), f"gunicorn did not start:\n{self.read_log()}"
            port[:] = _LISTENING.findall(self.read_log())
            return bool(port)

        wait_until(listening, seconds=START_SECONDS)
        return int(port[0])

    def _wait_for_response(self) -> None:
        """Wait until the app answers; until then the connection waits in the kernel."""
        with Connection(self.port, timeout=START_SECONDS, tls=self.tls) as connection:
            try:
                connection.request("OPTIONS", "/files")
                assert connection.read_response().status < 500, self.read_log()
            except OSError as error:
                raise AssertionError(f"gunicorn did not start:\n{self.read_log()}") from error


def _without_control_socket() -> list[str]:
    """Return the option that disables gunicorn's control socket, if this version has one.

    The socket is in the home directory, so servers would share it.
    """
    known = {flag for setting in KNOWN_SETTINGS for flag in setting.cli or ()}
    return ["--no-control-socket"] if "--no-control-socket" in known else []
