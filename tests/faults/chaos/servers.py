"""gunicorn servers that are killed, stopped, recycled, reloaded and upgraded.

Only processes that this module has started get signals, each by its id: the masters, and the
children of these masters.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tests.harness.servers.gunicorn import ROOT
from tests.harness.sockets import HOST

START_SECONDS = 600.0
"""A start takes about a second. On a machine that was busy otherwise, it took four minutes."""

STOP_SECONDS = 45.0
"""Longer than `graceful_timeout`."""

RECYCLE_AFTER = 80
"""Requests after which a worker is replaced, and the most requests that gunicorn adds at random."""


_EXCEPTION = re.compile(r"(?m)^Traceback [^\n]*\n(?:[ \t]+[^\n]*\n)+([\w.]+)")


class ChaosServer:
    """A server on one port.

    Args:
        environ: its environment.
        directory: the directory of its log, which the server creates.
        port: where it listens.
    """

    def __init__(self, environ: Mapping[str, str], directory: Path, port: int) -> None:
        directory.mkdir(parents=True)
        self.port = port
        self._environ = dict(environ)
        self._log = directory / "gunicorn.log"
        self._mutex = threading.RLock()
        self._master: psutil.Process | None = None
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the server unless it runs, and wait for its workers."""
        with self._mutex:
            if self._master is not None and _is_alive(self._master):
                return
            command = [
                # With `python -m gunicorn`, an upgrade would import gunicorn's own `http`.
                str(Path(sys.executable).with_name("gunicorn")),
                *("--bind", f"{HOST}:{self.port}"),
                *("--workers", "2", "--preload"),
                *("--max-requests", str(RECYCLE_AFTER)),
                *("--max-requests-jitter", str(RECYCLE_AFTER)),
                "tests.faults.gunicorn_app:app",
            ]
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    command, cwd=ROOT, env=self._environ, stdout=log, stderr=log
                )
            self._started.append(process)
            self._master = psutil.Process(process.pid)
            _wait(lambda: bool(self._workers()), "the server did not start")

    def kill_worker(self, rng: random.Random) -> None:
        """Kill one worker; the master starts another one."""
        worker = self._choose_worker(rng)
        if worker is not None:
            _send(worker, signal.SIGKILL)

    def freeze_worker(self, rng: random.Random, seconds: float) -> None:
        """Stop one worker for a while."""
        worker = self._choose_worker(rng)
        if worker is not None:
            _send(worker, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                _send(worker, signal.SIGCONT)

    def reload(self) -> None:
        """Replace the workers, with HUP."""
        with self._mutex:
            self._signal(signal.SIGHUP)

    def restart(self) -> None:
        """Stop the server gracefully, and start it again."""
        with self._mutex:
            self._end(self._master, signal.SIGTERM)
            self.start()

    def crash(self) -> None:
        """Kill the master and all workers, and start the server again."""
        with self._mutex:
            self._end(self._master, signal.SIGKILL)
            self.start()

    def upgrade(self) -> None:
        """Start a second master on the same socket with USR2, and stop the first one."""
        with self._mutex:
            old = self._master
            before = {worker.pid for worker in self._workers()}
            self._signal(signal.SIGUSR2)
            found: list[psutil.Process] = []

            def is_ready() -> bool:
                # Only a new child with workers of its own is a master.
                assert old is not None
                found[:] = [
                    child
                    for child in _children(old)
                    if child.pid not in before and _children(child)
                ]
                return bool(found)

            _wait(is_ready, "the upgraded server did not start")
            self._master = found[0]
            self._end(old, signal.SIGTERM, but=found[0])

    def close(self) -> None:
        """Kill everything that this object has started."""
        with self._mutex:
            self._end(self._master, signal.SIGKILL)
            for process in self._started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._end(psutil.Process(process.pid), signal.SIGKILL)
                process.wait()

    def logged_exceptions(self) -> list[str]:
        """Return the last lines of the tracebacks in its log, without details."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return [found[1] for found in _EXCEPTION.finditer(text)]

    def _workers(self) -> list[psutil.Process]:
        return [] if self._master is None else _children(self._master)

    def _choose_worker(self, rng: random.Random) -> psutil.Process | None:
        with self._mutex:
            workers = self._workers()
        return rng.choice(workers) if workers else None

    def _signal(self, number: signal.Signals) -> None:
        if self._master is not None:
            _send(self._master, number)

    def _end(
        self,
        master: psutil.Process | None,
        number: signal.Signals,
        but: psutil.Process | None = None,
    ) -> None:
        """End a master and its workers, and kill each of them that does not end in time.

        Args:
            master: the master; None does nothing.
            number: SIGKILL for all processes, or SIGTERM for the master, which ends its workers.
            but: a child that goes on: the new master of an upgrade.
        """
        if master is None:
            return
        if number is signal.SIGKILL:
            # The descendants include the second master of an interrupted upgrade and its workers.
            family = [master, *_descendants(master)]
        else:
            family = [master, *_children(master)]
        family = [process for process in family if process != but]
        targets = family if number is signal.SIGKILL else [master]
        for process in targets:
            _send(process, number)
        _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
        for process in alive:
            _send(process, signal.SIGKILL)
        for started in self._started:
            started.poll()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in process.children() if _is_alive(child)]
    return []


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _wait(condition: Callable[[], bool], message: str) -> None:
    """Wait until a condition holds.

    Raises:
        RuntimeError: the condition does not hold within `START_SECONDS`.
    """
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(message)
        time.sleep(0.1)


def clean_environment() -> dict[str, str]:
    """Return the environment of this process without settings and credentials."""
    hidden = ("TUS_", "AWS_", "GUNICORN", "WEB_CONCURRENCY")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
