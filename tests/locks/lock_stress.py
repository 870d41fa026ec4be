"""Processes full of greenlets that all want the same few locks.

The first process imports everything, patched for gevent, and forks the others; when one of them was
killed it forks another. Each writes what it saw into a file of its own in the directory `told`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn, Self

import pytest

from tests.harness.lockers import LEASE_KINDS, LockerSpec
from tests.locks.critical_section import Overlap, Register
from tus_wsgi.domain.errors import LockerUnavailable, LockLost, UploadLocked
from tus_wsgi.domain.events import LockEvent
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.file.ofd import OfdLocks
from tus_wsgi.lockers.lease.lease import Lease
from tus_wsgi.lockers.lease.monitor import LeaseMonitor


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a swarm does.

    Attributes:
        spec: where the locks are, as JSON.
        directory: for the register, and for what is told.
        processes: how many, at any time.
        greenlets: in each of them.
        ids: how many locks.
        seconds: for how long.
        timeout: seconds that each waits for a lock.
        clocks_jump: whether the wall clock of one process in three jumps by hours.
        flaw: what is broken in all lockers, see `FLAWS`; empty for nothing.
    """

    spec: str
    directory: str
    processes: int
    greenlets: int
    ids: int
    seconds: float
    timeout: float
    clocks_jump: bool
    flaw: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


class Bee:
    """One process: many greenlets."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        self._end = time.monotonic() + plan.seconds
        self._chance = random.Random(os.getpid())
        self._counts: Counter[str] = Counter()
        spec = LockerSpec.from_json(plan.spec)
        os.environ.update(spec.environ)
        self._locker: Locker = spec.locker(plan.timeout, self._on_event)
        self._is_lease = spec.kind in LEASE_KINDS
        # Records in S3 go with the lock, and their numbers begin anew.
        self._has_fences = spec.kind == "dynamodb"
        self._register = Register(Path(plan.directory, "register"), outlives=not self._is_lease)
        self._jumps = plan.clocks_jump and number % 3 == 0
        if plan.flaw:
            FLAWS[plan.flaw](pytest.MonkeyPatch())

    def run(self) -> None:
        import gevent

        greenlets = [gevent.spawn(self._work) for _ in range(self._plan.greenlets)]
        if self._jumps:
            greenlets.append(gevent.spawn(self._jump))
        gevent.joinall(greenlets, raise_error=True)

    def told(self) -> str:
        return json.dumps(self._counts)

    def _on_event(self, event: LockEvent) -> None:
        self._counts[type(event).__name__] += 1

    def _work(self) -> None:
        while time.monotonic() < self._end:
            id = f"upload{self._chance.randrange(self._plan.ids)}"
            asked = threading.Event()
            try:
                with self._locker.lock(UploadId(id), on_release_request=asked.set) as lock:
                    self._counts["acquired"] += 1
                    self._be_inside(id, lock, asked)
            except (UploadLocked, LockerUnavailable, LockLost) as error:
                self._counts[type(error).__name__] += 1
                time.sleep(0.05)
            except Overlap:
                report(Path(self._plan.directory), traceback.format_exc())
                raise

    def _be_inside(self, id: str, lock: Lock, asked: threading.Event) -> None:
        hold = random.getrandbits(62) | 1
        fence = lock.fence if self._has_fences and isinstance(lock, Lease) else 0
        self._register.enter(id, lock, hold, fence=fence)
        for _ in range(self._chance.randrange(4)):
            time.sleep(self._chance.random() * 0.02)
            self._register.stay(id, lock, hold)
        if self._chance.random() < 0.3:
            end = time.monotonic() + 2.0  # somebody whose client is slow
            while not asked.wait(0.05) and time.monotonic() < end:
                self._register.stay(id, lock, hold)
        self._register.leave(id, lock, hold)

    def _jump(self) -> None:
        real = time.time
        while time.monotonic() < self._end:
            offset = self._chance.uniform(-12, 12) * 3600
            time.time = lambda offset=offset: real() + offset  # type: ignore[misc]
            time.sleep(0.5)


def report(directory: Path, text: str) -> None:
    """Leave word of something that must not happen."""
    with (directory / "overlaps").open("a") as file:
        file.write(text)


def bee(plan: Plan, number: int) -> NoReturn:
    code = 1
    try:
        one = Bee(plan, number)
        one.run()
        Path(plan.directory, "told", str(os.getpid())).write_text(one.told())
        code = 0
    except BaseException:  # noqa: BLE001 - the parent would run it once more
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def fork(plan: Plan, number: int) -> int:
    pid = os.fork()
    if pid == 0:
        bee(plan, number)
    with suppress(FileExistsError):
        Path(plan.directory, "alive", str(pid)).touch()
    return pid


FLAWS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "kernel locks are free for all": lambda patch: patch.setattr(
        OfdLocks, "try_acquire", lambda _locks, _name: True
    ),
    "waiters take over at once": lambda patch: patch.setattr(
        LeaseMonitor, "has_expired", lambda monitor, _now: monitor.seen is not None
    ),
    "holders never look": lambda patch: patch.setattr(Lease, "assert_held", lambda _lease: None),
}
"""Mistakes that lockers must not have: by them it shows that the swarm would find some."""


def main() -> None:
    plan = Plan.from_json(sys.argv[1])
    for name in ("alive", "told"):
        Path(plan.directory, name).mkdir()
    end = time.monotonic() + plan.seconds
    bees = {fork(plan, number): number for number in range(plan.processes)}
    failed = False
    while bees:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.02)
            continue
        number = bees.pop(pid)
        Path(plan.directory, "alive", str(pid)).unlink()
        failed = failed or (os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0)
        left = end - time.monotonic()
        if os.WIFSIGNALED(status) and left > 1:
            bees[fork(replace(plan, seconds=left), number)] = number
    sys.exit(failed)
