"""gunicorn as its users start it: in the project's directory, with the project's configuration.

Warnings are errors in it too, and every server keeps its log. Seconds are `float`.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from gunicorn.config import KNOWN_SETTINGS

from demo.process import ChildProcess
from tests.harness.clients.http import Connection

ROOT = Path(__file__).parents[3]
HOST = "127.0.0.1"

START_SECONDS = 30.0
"""A start takes about a second; this is for a machine that does much else."""

STOP_SECONDS = 40.0
"""Longer than `graceful_timeout`, so that a server that does not stop in time is seen not to."""

_LISTENING = re.compile(r"Listening at: https?://127\.0\.0\.1:(\d+)")


class Gunicorn:
    """A running server. Leaving its context stops it.

    Args:
        environ: variables beside those of this process.
        directory: for its logs; made if it is missing.
        workers: how many processes serve.
        app: what is served, if it is not what `gunicorn.conf.py` says.
        arguments: more of gunicorn's.
        port: where it listens; 0 for a free one.
        ignored: beginnings of warnings that are others' to mend; the rest are errors.
        certificate: to speak TLS with, and its key in the same file.
        command: the program and its arguments, in place of `workers`, `app`, `arguments` and
            `ignored`; the address comes from the environment.
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
            self._wait_for_answer()
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

    def worker_of(self, connection: socket.socket) -> int:
        """The worker that has accepted a connection of ours, waiting until one has."""
        ours = connection.getsockname()
        found: list[int] = []

        def accepted() -> bool:
            found[:] = [
                pid
                for pid in self.workers()
                for theirs in psutil.Process(pid).net_connections("tcp")
                if theirs.raddr == ours
            ]
            return bool(found)

        wait_until(accepted, seconds=5)
        return found[0]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        os.kill(self.pid, number)

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.running()

    def wait_for_exit(self, seconds: float) -> int:
        """What it exited with, or a failure if it did not within so many seconds."""
        wait_until(lambda: not self.running(), seconds=seconds)
        code = self._process.exit_code()
        assert code is not None
        return code

    def stop(self) -> None:
        """End it, in good order if it knows any. A second call does nothing."""
        self._process.stop(grace=STOP_SECONDS)

    def kill(self) -> None:
        """End it and all workers at once."""
        self._process.stop(grace=0)

    def read_log(self) -> str:
        """Its whole log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def logged_errors(self) -> list[str]:
        """What no server should have to say: tracebacks, warnings of Python's, broken hooks."""
        bad = re.compile(r"Traceback|Warning:|\[(ERROR|CRITICAL)\]|WORKER TIMEOUT|graceful timeout")
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

    def _wait_for_answer(self) -> None:
        """Whatever is served answers something; until then the connection waits in the kernel."""
        with Connection(self.port, timeout=START_SECONDS, tls=self.tls) as connection:
            try:
                connection.request("OPTIONS", "/files")
                assert connection.read_response().status < 500, self.read_log()
            except OSError as error:
                raise AssertionError(f"gunicorn did not start:\n{self.read_log()}") from error


def wait_until(condition: Callable[[], object], *, seconds: float) -> float:
    """Wait until something holds, and return how long that took.

    Raises:
        AssertionError: it did not within so many seconds.
    """
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - began


def _without_control_socket() -> list[str]:
    """Newer gunicorns open a socket in the home directory, the same one for all of them."""
    known = {flag for setting in KNOWN_SETTINGS for flag in setting.cli or ()}
    return ["--no-control-socket"] if "--no-control-socket" in known else []
