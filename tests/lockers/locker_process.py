"""A process with a locker that carries out commands, one per line, from a socket.

    lock ID              acquire the lock in a thread and hold it; replies `locked ID TIME`, then
                         `requested ID TIME` for each release request, or `timed_out ID TIME`
    release ID           release it; replies `released ID TIME`
    lock_cooperative ID  like `lock`, but release it on request
    lock_stalled ID      like `lock_cooperative`, but blocked in a read from a silent client, which
                         the release request interrupts
    check ID             replies `held ID TIME`, or `lost ID TIME` if the lock was lost
    cancel ID            kill the greenlet that waits for it (only with gevent); replies
                         `cancelled ID TIME`
    contend ID           acquire and release it without end, in four threads
    stress N             N threads acquire and release random locks, and look for overlaps; replies
                         `overlaps N`
    measure_pause SECS   replies `pause SECONDS`: the longest time for which a thread did not run
    shift_clock SECS     shift the wall clock by so many seconds
    fork                 fork a child that reads commands from the second socket

The first reply is `ready PID`. The process ends when the other side closes the socket. TIME is the
monotonic clock, which all processes of a host share. `tests.lockers.locking.ForkServer` runs this,
with or without gevent's patches.
"""

from __future__ import annotations

import functools
import os
import random
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tests.harness.lockers import LockerSpec
from tus_wsgi.domain.errors import LockLost, UploadLocked
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.domain.model import UploadId


class Cancelled(BaseException):
    """Like `GreenletExit`: `except Exception` does not catch it."""


class CommandServer:
    """Carry out the commands from one socket."""

    def __init__(self, locker: Locker, spec: LockerSpec, fd: int) -> None:
        self._locker = locker
        self._spec = spec
        self._locks: dict[str, Lock] = {}
        self._connection = socket.socket(fileno=fd)
        self._releases: dict[str, threading.Event] = {}
        self._cancel: dict[str, Callable[[], None]] = {}
        self._mutex = threading.Lock()

    def reply(self, *words: object) -> None:
        with self._mutex, suppress(ConnectionError):
            self._connection.sendall(" ".join(map(str, words)).encode() + b"\n")

    def serve(self, child_fd: int) -> None:
        """Carry out commands until the socket is closed. A fork's child uses `child_fd`."""
        self.reply("ready", os.getpid())
        for line in self._connection.makefile("r", encoding="ascii"):
            command, *arguments = line.split()
            if command == "fork":
                if os.fork() == 0:
                    serve(CommandServer(self._locker, self._spec, child_fd), -1)
            else:
                getattr(self, command)(*arguments)

    def lock(self, id: str, *, releases_on_request: bool = False) -> None:
        self._releases[id] = threading.Event()
        threading.Thread(target=self._hold, args=(id, releases_on_request), daemon=True).start()

    def lock_cooperative(self, id: str) -> None:
        self.lock(id, releases_on_request=True)

    def lock_stalled(self, id: str) -> None:
        self._releases[id] = threading.Event()
        threading.Thread(target=self._stall, args=(id,), daemon=True).start()

    def _stall(self, id: str) -> None:
        """Hold a lock while a read from a silent client blocks, until a release request."""
        client, body = socket.socketpair()

        def interrupt() -> None:
            with suppress(OSError):
                body.shutdown(socket.SHUT_RD)

        try:
            with client, body, self._locker.lock(UploadId(id), on_release_request=interrupt):
                self.reply("locked", id, time.monotonic())
                with suppress(OSError):  # gevent's way to end the wait
                    body.recv(1)
            self.reply("released", id, time.monotonic())
        except UploadLocked:
            self.reply("timed_out", id, time.monotonic())

    def _hold(self, id: str, releases_on_request: bool) -> None:
        """Hold a lock until it is released by a command or, if so, by a release request."""
        release = self._releases[id]
        if "gevent" in sys.modules:
            import gevent

            self._cancel[id] = functools.partial(gevent.kill, gevent.getcurrent(), Cancelled)

        def on_release_request() -> None:
            self.reply("requested", id, time.monotonic())
            if releases_on_request:
                release.set()

        try:
            with self._locker.lock(UploadId(id), on_release_request=on_release_request) as lock:
                self._locks[id] = lock
                self.reply("locked", id, time.monotonic())
                release.wait()
            self.reply("released", id, time.monotonic())
        except UploadLocked:
            self.reply("timed_out", id, time.monotonic())
        except Cancelled:
            self.reply("cancelled", id, time.monotonic())

    def release(self, id: str) -> None:
        self._releases[id].set()

    def check(self, id: str) -> None:
        try:
            self._locks[id].assert_held()
        except LockLost:
            self.reply("lost", id, time.monotonic())
        else:
            self.reply("held", id, time.monotonic())

    def shift_clock(self, seconds: str) -> None:
        real = time.time
        time.time = lambda: real() + float(seconds)

    def cancel(self, id: str) -> None:
        self._cancel[id]()

    def contend(self, id: str) -> None:
        def run() -> None:
            while True:
                with self._locker.lock(UploadId(id), on_release_request=lambda: None):
                    time.sleep(0.001)

        for _ in range(4):
            threading.Thread(target=run, daemon=True).start()

    def stress(self, number: str) -> None:
        """Each holder creates a file that must not exist yet, and removes it."""
        overlaps: list[str] = []

        def run() -> None:
            for _ in range(10):
                id = f"upload{random.randrange(5)}"
                with self._locker.lock(UploadId(id), on_release_request=lambda: None):
                    file = Path(self._spec.location).with_name(f"{id}.held")
                    try:
                        file.touch(exist_ok=False)
                    except FileExistsError:
                        overlaps.append(id)
                    time.sleep(0.001)
                    file.unlink(missing_ok=True)

        threads = [threading.Thread(target=run) for _ in range(int(number))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.reply("overlaps", len(overlaps))

    def measure_pause(self, seconds: str) -> None:
        """Reply with the longest time in which a thread of this process did not run."""

        def run() -> None:
            longest = 0.0
            before = time.monotonic()
            end = before + float(seconds)
            while before < end:
                time.sleep(0.001)
                now = time.monotonic()
                longest = max(longest, now - before)
                before = now
            self.reply("pause", longest)

        threading.Thread(target=run, daemon=True).start()


def serve(server: CommandServer, child_fd: int) -> NoReturn:
    """Serve until the other side closes the socket, and end this process with all its threads."""
    try:
        server.serve(child_fd)
    except ConnectionError:
        pass
    except BaseException:  # noqa: BLE001 - it would end the fork server otherwise
        traceback.print_exc()
    finally:
        os._exit(0)


def main() -> None:
    """Fork a command server for each message on the control socket, which carries two sockets."""
    control = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, fds, _, _ = socket.recv_fds(control, 4096, 2)
        if not message:
            return
        if os.fork() == 0:
            timeout, spec_json = message.decode().split(" ", 1)
            spec = LockerSpec.from_json(spec_json)
            os.environ.update(spec.environ)
            serve(CommandServer(spec.locker(float(timeout)), spec, fds[0]), fds[1])
        for fd in fds:
            os.close(fd)
