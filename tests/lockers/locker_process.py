"""A process with a locker that does what it is told, line by line, over a socket.

    lock ID     take the lock in a thread of its own; says `locked ID TIME`, then `asked ID TIME` at
                each request to let go, and keeps it; or says `refused ID TIME`
    release ID  give it back; says `released ID TIME`
    polite ID   like `lock`, but give it back when asked to
    stalled ID  like `polite`, but it waits for a client that is silent, until its body is ended
    check ID    says `held ID TIME`, or `lost ID TIME` if the lock is no longer its own
    cancel ID   kill the greenlet that waits for it (only with gevent); says `cancelled ID TIME`
    busy ID     take it and give it back without end, in four threads
    stress N    N threads take and release random locks, and look for overlaps; says `overlaps N`
    lag SECS    says `lag SECONDS`: the longest time for which another thread could not run
    jump SECS   from now on the wall clock is wrong by so much
    fork        let a child listen to the second socket, and begin

It begins with `ready PID`, and ends when the other side hangs up. TIME is the monotonic clock,
which is one for all processes of a host. `tests.lockers.locking.ForkServer` runs this, having
patched the process for gevent or not.
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
    """Like `GreenletExit`: no `except Exception` catches it."""


class Server:
    """Does what one socket says."""

    def __init__(self, locker: Locker, spec: LockerSpec, fd: int) -> None:
        self._locker = locker
        self._place = spec
        self._locks: dict[str, Lock] = {}
        self._connection = socket.socket(fileno=fd)
        self._releases: dict[str, threading.Event] = {}
        self._kill: dict[str, Callable[[], None]] = {}
        self._mutex = threading.Lock()

    def say(self, *words: object) -> None:
        with self._mutex, suppress(ConnectionError):
            self._connection.sendall(" ".join(map(str, words)).encode() + b"\n")

    def serve(self, childs_fd: int) -> None:
        self.say("ready", os.getpid())
        for line in self._connection.makefile("r", encoding="ascii"):
            verb, *arguments = line.split()
            if verb == "fork":
                if os.fork() == 0:
                    serve(Server(self._locker, self._place, childs_fd), -1)
            else:
                getattr(self, verb)(*arguments)

    def lock(self, id: str, *, polite: bool = False) -> None:
        self._releases[id] = threading.Event()
        threading.Thread(target=self._hold, args=(id, polite), daemon=True).start()

    def polite(self, id: str) -> None:
        self.lock(id, polite=True)

    def stalled(self, id: str) -> None:
        self._releases[id] = threading.Event()
        threading.Thread(target=self._stall, args=(id,), daemon=True).start()

    def _stall(self, id: str) -> None:
        client, body = socket.socketpair()

        def asked() -> None:
            with suppress(OSError):
                body.shutdown(socket.SHUT_RD)

        try:
            with client, body, self._locker.lock(UploadId(id), on_release_request=asked):
                self.say("locked", id, time.monotonic())
                with suppress(OSError):  # gevent's way of ending the wait
                    body.recv(1)
            self.say("released", id, time.monotonic())
        except UploadLocked:
            self.say("refused", id, time.monotonic())

    def _hold(self, id: str, polite: bool) -> None:
        release = self._releases[id]
        if "gevent" in sys.modules:
            import gevent

            self._kill[id] = functools.partial(gevent.kill, gevent.getcurrent(), Cancelled)

        def asked() -> None:
            self.say("asked", id, time.monotonic())
            if polite:
                release.set()

        try:
            with self._locker.lock(UploadId(id), on_release_request=asked) as lock:
                self._locks[id] = lock
                self.say("locked", id, time.monotonic())
                release.wait()
            self.say("released", id, time.monotonic())
        except UploadLocked:
            self.say("refused", id, time.monotonic())
        except Cancelled:
            self.say("cancelled", id, time.monotonic())

    def release(self, id: str) -> None:
        self._releases[id].set()

    def check(self, id: str) -> None:
        try:
            self._locks[id].assert_held()
        except LockLost:
            self.say("lost", id, time.monotonic())
        else:
            self.say("held", id, time.monotonic())

    def jump(self, seconds: str) -> None:
        real = time.time
        time.time = lambda: real() + float(seconds)

    def cancel(self, id: str) -> None:
        self._kill[id]()

    def busy(self, id: str) -> None:
        def run() -> None:
            while True:
                with self._locker.lock(UploadId(id), on_release_request=lambda: None):
                    time.sleep(0.001)

        for _ in range(4):
            threading.Thread(target=run, daemon=True).start()

    def stress(self, number: str) -> None:
        """Whoever holds a lock makes a file that only one can make."""
        overlaps: list[str] = []

        def run() -> None:
            for _ in range(10):
                id = f"upload{random.randrange(5)}"
                with self._locker.lock(UploadId(id), on_release_request=lambda: None):
                    inside = Path(self._place.location).with_name(f"{id}.inside")
                    try:
                        inside.touch(exist_ok=False)
                    except FileExistsError:
                        overlaps.append(id)
                    time.sleep(0.001)
                    inside.unlink(missing_ok=True)

        threads = [threading.Thread(target=run) for _ in range(int(number))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.say("overlaps", len(overlaps))

    def lag(self, seconds: str) -> None:
        def run() -> None:
            longest = 0.0
            before = time.monotonic()
            end = before + float(seconds)
            while before < end:
                time.sleep(0.001)
                now = time.monotonic()
                longest, before = max(longest, now - before), now
            self.say("lag", longest)

        threading.Thread(target=run, daemon=True).start()


def serve(server: Server, childs_fd: int) -> NoReturn:
    """Serve until the other side hangs up, and end this process whatever its threads do."""
    try:
        server.serve(childs_fd)
    except ConnectionError:
        pass
    except BaseException:  # noqa: BLE001 - it would end the nursery otherwise
        traceback.print_exc()
    finally:
        os._exit(0)


def main() -> None:
    """Fork a server for each order that comes, with two sockets, over a control socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    while True:
        order, fds, _, _ = socket.recv_fds(control, 4096, 2)
        if not order:
            return
        if os.fork() == 0:
            timeout, description = order.decode().split(" ", 1)
            spec = LockerSpec.from_json(description)
            os.environ.update(spec.environ)
            serve(Server(spec.locker(float(timeout)), spec, fds[0]), fds[1])
        for fd in fds:
            os.close(fd)
