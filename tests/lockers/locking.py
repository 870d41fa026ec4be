"""Threads and processes that hold locks, for the tests of the lockers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness.lockers import LockerSpec
from tests.harness.timing import MAX_WAIT
from tus_wsgi.domain.errors import TusError
from tus_wsgi.domain.interfaces import Locker
from tus_wsgi.domain.model import UploadId

ROOT = Path(__file__).parents[2]

ID = UploadId("a")
OTHER_ID = UploadId("b")


def ignore_request() -> None:
    """Ignore a release request."""


class Holder:
    """A thread that acquires a lock and holds it until `release` is called.

    Args:
        locker: the locker.
        id: the upload.
        releases_on_request: whether a release request also ends the hold.

    Attributes:
        acquired: set when the thread has acquired the lock.
        error: why it was not acquired.
        request_count: the number of release requests so far.
    """

    def __init__(
        self, locker: Locker, id: UploadId = ID, *, releases_on_request: bool = False
    ) -> None:
        self._locker = locker
        self._id = id
        self._releases_on_request = releases_on_request
        self._must_release = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acquired = threading.Event()
        self.error: TusError | None = None
        self._requests = threading.Semaphore(0)
        self.request_count = 0

    def _run(self) -> None:
        try:
            with self._locker.lock(self._id, on_release_request=self._on_release_request):
                self.acquired.set()
                self._must_release.wait()
        except TusError as error:
            self.error = error

    def _on_release_request(self) -> None:
        self.request_count += 1
        self._requests.release()
        if self._releases_on_request:
            self._must_release.set()

    def start(self) -> Self:
        """Start the thread without waiting for the lock."""
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        self.start()
        assert self.acquired.wait(MAX_WAIT), f"did not get the lock: {self.error!r}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock, or release it as soon as it is acquired, and wait for the thread."""
        self._must_release.set()
        self.join()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join(MAX_WAIT)
        assert not self._thread.is_alive(), "the holder hangs"

    def wait_for_request(self) -> None:
        """Wait for one more release request."""
        assert self._requests.acquire(timeout=MAX_WAIT), "the holder got no release request"


class ForkServer:
    """A process with all modules imported, which forks locker processes.

    Starting a process with a new interpreter would take a second each. See
    `tests/lockers/locker_process.py`.
    """

    def __init__(self, *, gevent: bool) -> None:
        self._control, other_end = socket.socketpair()
        patch = "from gevent import monkey; monkey.patch_all(); " if gevent else ""
        script = f"{patch}from tests.lockers.locker_process import main; main()"
        with other_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", script, str(other_end.fileno())],
                cwd=ROOT,
                pass_fds=[other_end.fileno()],
            )

    def start(self, spec: LockerSpec, *, timeout: float = 5.0) -> LockerProcess:
        """Start a process with a locker for `spec`."""
        connection, other_end = socket.socketpair()
        child_connection, child_end = socket.socketpair()
        with other_end, child_end:
            message = f"{timeout} {spec.to_json()}".encode()
            socket.send_fds(self._control, [message], [other_end.fileno(), child_end.fileno()])
        return LockerProcess(Connection(connection), Connection(child_connection))

    def close(self) -> None:
        """End the fork server. The locker processes end when their connections are closed."""
        self._control.close()
        assert self._process.wait(MAX_WAIT) == 0


class LockerProcess:
    """Another process with a locker of its own."""

    def __init__(self, connection: Connection, child_connection: Connection) -> None:
        self.connection = connection
        self._child_connection = child_connection
        self.pid = int(connection.expect("ready"))

    def fork(self) -> Connection:
        """Make the process fork, and return the connection to its child."""
        self.connection.send("fork")
        self._child_connection.expect("ready")
        return self._child_connection

    def kill(self) -> None:
        """Kill the process, so that it cannot clean up."""
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop the process with SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the stopped process."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Close the connections, which ends the process and its child."""
        self.connection.close()
        self._child_connection.close()


class Connection:
    """A connection to a locker process: commands and replies, one per line."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(MAX_WAIT)
        self._connection = connection
        self._lines = connection.makefile("r", encoding="ascii")

    def send(self, *words: str) -> None:
        """Send a command."""
        self._connection.sendall(" ".join(words).encode() + b"\n")

    def expect(self, *words: str) -> float:
        """Read the next reply, which must begin with `words`, and return the number at its end.

        Release requests are repeated, so `requested` replies before it are skipped.
        """
        while True:
            line = self._lines.readline() or "nothing nan"  # the process has ended
            *reply, number = line.split()
            if tuple(reply) == words:
                return float(number)
            assert reply[0] == "requested", f"expected {words}, got {reply}"

    def lines(self) -> Iterator[str]:
        """Iterate over all further replies, instead of calling `expect`."""
        with suppress(ValueError, OSError):  # closed by another thread
            yield from self._lines

    def set_timeout(self, seconds: float | None) -> None:
        """Set how long to wait for the next line; None for no limit."""
        self._connection.settimeout(seconds)

    def close(self) -> None:
        """Close the connection, and wake a thread that reads from it."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._connection.close()
