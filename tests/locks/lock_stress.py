"""Processes full of greenlets that compete for a few locks.

The first process imports all modules, patched for gevent, and forks the others. If one of them is
killed, it forks another. Each process keeps its counts in a file of its own. The run ends when the
test creates the file `stop`.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

import pytest

from tests.harness.lockers import LEASE_KINDS, LockerSpec
from tests.locks.critical_section import CriticalSections, Overlap
from tus_wsgi.domain.errors import LockerUnavailable, LockLost, UploadLocked
from tus_wsgi.domain.events import LockEvent
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.file.ofd import OfdLocks
from tus_wsgi.lockers.lease.lease import Lease
from tus_wsgi.lockers.lease.monitor import LeaseMonitor

SAVE_INTERVAL = 0.2
"""Seconds between two writes of a process's counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StressPlan:
    """The parameters of a stress run.

    Attributes:
        spec: the place of the locks, as JSON.
        directory: the directory of the critical sections and of the files below.
        processes: the number of processes at any time.
        greenlets: the number of greenlets in each process.
        ids: the number of locks.
        timeout: seconds for which a greenlet waits for a lock.
        clocks_jump: whether the wall clock of one process in three jumps by hours.
        flaw: a key of `FLAWS` that breaks all lockers; empty for none.
    """

    spec: str
    directory: str
    processes: int
    greenlets: int
    ids: int
    timeout: float
    clocks_jump: bool
    flaw: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def pids(self) -> list[int]:
        """Return the running processes."""
        with suppress(FileNotFoundError):
            return [int(path.name) for path in Path(self.directory, "running").iterdir()]
        return []

    def counts(self) -> Counter[str]:
        """Return how often the locks were acquired, and each event and error."""
        counts: Counter[str] = Counter()
        for path in Path(self.directory, "counts").glob("*.json"):
            counts.update(json.loads(path.read_text()))
        return counts

    def overlaps(self) -> str:
        """Return the reports of overlapping holds; empty for none."""
        with suppress(FileNotFoundError):
            return Path(self.directory, "overlaps").read_text()
        return ""

    def stop(self) -> None:
        """Make all processes end after their current holds."""
        Path(self.directory, "stop").touch()

    def has_stopped(self) -> bool:
        return Path(self.directory, "stop").exists()


class StressProcess:
    """One process with many greenlets."""

    def __init__(self, plan: StressPlan, number: int) -> None:
        self._plan = plan
        self._rng = random.Random(os.getpid())
        self._counts: Counter[str] = Counter()
        spec = LockerSpec.from_json(plan.spec)
        os.environ.update(spec.environ)
        self._locker: Locker = spec.locker(plan.timeout, self._on_event)
        # Records in S3 are deleted on release, and fences start again.
        self._has_fences = spec.kind == "dynamodb"
        self._sections = CriticalSections(
            Path(plan.directory, "sections"),
            stopped_holders_keep_locks=spec.kind not in LEASE_KINDS,
        )
        self._clock_jumps = plan.clocks_jump and number % 3 == 0
        if plan.flaw:
            FLAWS[plan.flaw](pytest.MonkeyPatch())

    def run(self) -> None:
        """Run the greenlets until the test stops the run, and save the counts."""
        import gevent

        greenlets = [gevent.spawn(self._work) for _ in range(self._plan.greenlets)]
        greenlets.append(gevent.spawn(self._save_repeatedly))
        if self._clock_jumps:
            greenlets.append(gevent.spawn(self._jump))
        gevent.joinall(greenlets, raise_error=True)
        self._save()

    def _on_event(self, event: LockEvent) -> None:
        self._counts[type(event).__name__] += 1

    def _work(self) -> None:
        """Acquire random locks until the test stops the run. Report an overlap, and end."""
        while not self._plan.has_stopped():
            id = f"upload{self._rng.randrange(self._plan.ids)}"
            requested = threading.Event()
            try:
                with self._locker.lock(UploadId(id), on_release_request=requested.set) as lock:
                    self._counts["acquired"] += 1
                    self._hold(id, lock, requested)
            except (UploadLocked, LockerUnavailable, LockLost) as error:
                self._counts[type(error).__name__] += 1
                time.sleep(0.05)
            except Overlap:
                report_overlap(Path(self._plan.directory), traceback.format_exc())
                raise

    def _hold(self, id: str, lock: Lock, requested: threading.Event) -> None:
        """Enter the critical section of a lock, write in it some times, and leave it."""
        hold = random.randrange(1, 1 << 62)  # 0 means that no hold is inside
        fence = lock.fence if self._has_fences and isinstance(lock, Lease) else 0
        self._sections.enter(id, lock, hold, fence=fence)
        for _ in range(self._rng.randrange(4)):
            time.sleep(self._rng.random() * 0.02)
            self._sections.write(id, lock, hold)
        if self._rng.random() < 0.3:  # a request with a slow client
            end = time.monotonic() + 2.0
            while not requested.wait(0.05) and time.monotonic() < end:
                self._sections.write(id, lock, hold)
        self._sections.leave(id, lock, hold)

    def _jump(self) -> None:
        real = time.time
        while not self._plan.has_stopped():
            offset = self._rng.uniform(-12, 12) * 3600
            time.time = lambda offset=offset: real() + offset  # type: ignore[misc]
            time.sleep(0.5)

    def _save_repeatedly(self) -> None:
        while not self._plan.has_stopped():
            time.sleep(SAVE_INTERVAL)
            self._save()

    def _save(self) -> None:
        temporary = Path(self._plan.directory, "counts", f"{os.getpid()}.new")
        temporary.write_text(json.dumps(self._counts))
        temporary.rename(temporary.with_suffix(".json"))


def report_overlap(directory: Path, text: str) -> None:
    with (directory / "overlaps").open("a") as file:
        file.write(text)


def run_process(plan: StressPlan, number: int) -> NoReturn:
    code = 1
    try:
        StressProcess(plan, number).run()
        code = 0
    except BaseException:  # noqa: BLE001 - the child must not continue in the parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def fork(plan: StressPlan, number: int) -> int:
    pid = os.fork()
    if pid == 0:
        run_process(plan, number)
    with suppress(FileExistsError):
        Path(plan.directory, "running", str(pid)).touch()
    return pid


FLAWS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "kernel locks always succeed": lambda patch: patch.setattr(
        OfdLocks, "try_acquire", lambda _locks, _id: True
    ),
    "waiters take over at once": lambda patch: patch.setattr(
        LeaseMonitor, "has_expired", lambda monitor, _now: monitor.seen is not None
    ),
    "holders never check the lock": lambda patch: patch.setattr(
        Lease, "assert_held", lambda _lease: None
    ),
}
"""Bugs that break a locker. The stress run must detect each of them."""


def main() -> None:
    """Run the processes of a plan; replace each one that is killed. Exit with 1 if one fails."""
    plan = StressPlan.from_json(sys.argv[1])
    for name in ("running", "counts"):
        Path(plan.directory, name).mkdir()
    numbers = {fork(plan, number): number for number in range(plan.processes)}
    has_failed = False
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.02)
            continue
        number = numbers.pop(pid)
        Path(plan.directory, "running", str(pid)).unlink()
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
            has_failed = True
        if os.WIFSIGNALED(status) and not plan.has_stopped():
            numbers[fork(plan, number)] = number
    sys.exit(1 if has_failed else 0)
