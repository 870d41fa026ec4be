"""What the tests of the lockers share: threads that hold locks, and processes that do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness.lockers import LockerSpec
from tus_wsgi.domain.errors import TusError
from tus_wsgi.domain.interfaces import Locker
from tus_wsgi.domain.model import UploadId

PATIENCE = 60.0
"""Seconds until a test gives up on something that ought to happen soon, however slow the machine
is."""

ROOT = Path(__file__).parents[2]

A = UploadId("a")
B = UploadId("b")


def ignore() -> None:
    """Be asked to let go, and not mind."""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


class Holder:
    """A thread that takes a lock and keeps it until it is told to let go.

    Args:
        polite: it also lets go when it is asked to.
    """

    def __init__(self, locker: Locker, id: UploadId = A, *, polite: bool = False) -> None:
        self._locker = locker
        self._id = id
        self._polite = polite
        self._let_go = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.held = threading.Event()
        self.error: TusError | None = None
        self._asked = threading.Semaphore(0)
        self.times_asked = 0

    def _run(self) -> None:
        try:
            with self._locker.lock(self._id, on_release_request=self._on_release_request):
                self.held.set()
                self._let_go.wait()
        except TusError as error:
            self.error = error

    def _on_release_request(self) -> None:
        self.times_asked += 1
        self._asked.release()
        if self._polite:
            self._let_go.set()

    def begin(self) -> Self:
        """Start, and do not wait for the lock."""
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        self.begin()
        assert self.held.wait(PATIENCE), f"did not get the lock: {self.error!r}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.let_go()

    def let_go(self) -> None:
        """Give the lock back, or never keep it, and end."""
        self._let_go.set()
        self.join()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the holder hangs"

    def wait_until_asked(self) -> None:
        """Wait for one more request to let go."""
        assert self._asked.acquire(timeout=PATIENCE), "nobody asked the holder to let go"


class ForkServer:
    """A process that has imported everything, and forks peers: a fresh start takes each a second.

    See `tests/lockers/locker_process.py`.
    """

    def __init__(self, *, gevent: bool) -> None:
        self._control, theirs = socket.socketpair()
        patch = "from gevent import monkey; monkey.patch_all(); " if gevent else ""
        script = f"{patch}from tests.lockers.locker_process import main; main()"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", script, str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
            )

    def peer(self, spec: LockerSpec, *, timeout: float = 5.0) -> Peer:
        """A new process with a locker for `spec`."""
        talk, theirs = socket.socketpair()
        forks, childs = socket.socketpair()
        with theirs, childs:
            order = f"{timeout} {spec.to_json()}".encode()
            socket.send_fds(self._control, [order], [theirs.fileno(), childs.fileno()])
        return Peer(Talk(talk), Talk(forks))

    def close(self) -> None:
        """End the nursery. The peers end with their conversations."""
        self._control.close()
        assert self._process.wait(PATIENCE) == 0


class Peer:
    """Another process with a locker of its own."""

    def __init__(self, talk: Talk, forks: Talk) -> None:
        self.talk = talk
        self._forks = forks
        self.pid = int(talk.hear("ready"))

    def fork(self) -> Talk:
        """Let the process fork; the conversation with the child."""
        self.talk.say("fork")
        self._forks.hear("ready")
        return self._forks

    def kill(self) -> None:
        """Kill the process, which gets no chance to tidy up."""
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Let the process stand still. It knows nothing of it."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Hang up, upon which the process and its child end."""
        self.talk.close()
        self._forks.close()


class Talk:
    """A conversation with a peer, in lines."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection
        self._lines = connection.makefile("r", encoding="ascii")

    def say(self, *words: str) -> None:
        """Tell the peer to do something."""
        self._connection.sendall(" ".join(words).encode() + b"\n")

    def hear(self, *words: str) -> float:
        """The number at the end of the next line, which has to begin with `words`.

        Requests to let go are repeated, so they may stand before it.
        """
        while True:
            *heard, number = self._lines.readline().split() or ["nothing", "nan"]
            if tuple(heard) == words:
                return float(number)
            assert heard[0] == "asked", f"expected {words}, got {heard}"

    def lines(self) -> Iterator[str]:
        """All that is still to come, for whoever reads instead of `hear`."""
        with suppress(ValueError, OSError):  # closed by another thread
            yield from self._lines

    def set_patience(self, seconds: float | None) -> None:
        """How long to wait for the next line; None for ever."""
        self._connection.settimeout(seconds)

    def close(self) -> None:
        # It wakes whoever reads.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._connection.close()
