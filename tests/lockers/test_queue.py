"""How requests of one process queue, where the contract cannot look."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.lockers import FAST_TIMING
from tests.harness.records import MemoryRecords
from tests.lockers.locking import PATIENCE, A, B, Holder, eventually, ignore
from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.lockers.file.locker import FileLocker, lock_id_of
from tus_wsgi.lockers.file.ofd import OfdLocks
from tus_wsgi.lockers.lease.lease import record_name
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import Claim, LeaseRecord
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.lockers.queue import LockQueue, QueueEntry


class TooLate(threading.Event):
    """Is set, and by then its waiter has given up."""

    def wait(self, timeout: float | None = None) -> bool:
        super().wait(timeout)
        return False


def test_a_waiter_that_gives_up_when_its_turn_comes_passes_it_on() -> None:
    queue = LockQueue()
    holder, late, last = QueueEntry(ignore), QueueEntry(ignore), QueueEntry(ignore)
    late.ready = TooLate()
    ends: list[str] = []

    def wait(entry: QueueEntry) -> None:
        try:
            queue.wait(A, entry, timeout=PATIENCE)
            ends.append("served")
        except UploadLocked:
            ends.append("refused")
        finally:
            queue.leave(A, entry)

    def in_line(length: int) -> Callable[[], bool]:
        return lambda: len(queue._queues[A]) == length

    queue.wait(A, holder, timeout=0)
    threads = [threading.Thread(target=wait, args=(entry,)) for entry in (late, last)]
    for length, thread in enumerate(threads, start=2):
        thread.start()
        eventually(in_line(length))
    queue.leave(A, holder)
    for thread in threads:
        thread.join(PATIENCE)
    assert late.ready.is_set()
    assert ends == ["refused", "served"]
    assert len(queue) == 0


def test_a_ticket_that_never_joined_can_leave() -> None:
    queue = LockQueue()
    queue.leave(A, QueueEntry(ignore))
    queue._queues[A] = deque()  # interrupted between making the queue and joining it
    queue.leave(A, QueueEntry(ignore))
    assert len(queue) == 0


def test_leaving_twice_is_leaving_once() -> None:
    queue = LockQueue()
    holder, waiter = QueueEntry(ignore), QueueEntry(ignore)
    queue.wait(A, holder, timeout=0)
    queue.leave(A, holder)
    queue.wait(A, waiter, timeout=0)
    queue.leave(A, holder)
    with pytest.raises(UploadLocked):
        queue.wait(A, QueueEntry(ignore), timeout=0)


def test_nothing_is_remembered_of_an_id_that_nobody_uses() -> None:
    locker = MemoryLocker(timeout=PATIENCE)
    with Holder(locker, A) as first, Holder(locker, B):
        second = Holder(locker, A).begin()
        first.wait_until_asked()
        assert len(locker._queue) == 2
    second.let_go()
    assert len(locker._queue) == 0


def test_giving_back_waits_for_a_request_under_way() -> None:
    """Otherwise it might interrupt the next request on the same connection."""
    entered, leave = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        leave.wait(PATIENCE)

    entry = QueueEntry(slow)
    entry.mark_held()
    asking = threading.Thread(target=entry.request_release)
    asking.start()
    assert entered.wait(PATIENCE)
    ending = threading.Thread(target=entry.mark_released)
    ending.start()
    ending.join(0.1)
    assert ending.is_alive()
    leave.set()
    ending.join(PATIENCE)
    asking.join(PATIENCE)
    assert not ending.is_alive()


def test_a_request_may_give_the_lock_back_at_once() -> None:
    def let_go() -> None:
        entry.mark_released()
        timing.append(1)

    timing: list[int] = []
    entry = QueueEntry(let_go)
    entry.mark_held()
    entry.request_release()
    entry.request_release()
    assert timing == [1]


CROWD = 10


class AskedRecords(MemoryRecords):
    """Remembers who tried to take a lock, once for each try."""

    def __init__(self) -> None:
        super().__init__()
        self.tries: list[object] = []

    def try_acquire(self, name: str, claim: Claim) -> LeaseRecord:
        self.tries.append(claim.token)
        return super().try_acquire(name, claim)


class AskedLocks(OfdLocks):
    """The same for the kernel's."""

    tries: list[object]

    def try_acquire(self, name: int) -> bool:
        self.tries.append(threading.get_ident())
        return super().try_acquire(name)


def assert_one_of_a_crowd_tries(
    locker: LeaseLocker | FileLocker, tries: list[object], give_back: Callable[[], None]
) -> None:
    """While somebody elsewhere has the lock; and when it is given back, all have a turn."""
    crowd = [Holder(locker, polite=True).begin() for _ in range(CROWD)]
    queues = locker._process.queue._queues
    eventually(lambda: sum(map(len, list(queues.values()))) == CROWD)
    tries.clear()
    eventually(lambda: len(tries) >= 5)
    assert len(set(tries)) == 1
    give_back()
    eventually(lambda: all(one.held.is_set() for one in crowd))
    for one in crowd:
        one.let_go()
    assert len(set(tries)) == CROWD


def test_one_waiter_of_a_process_goes_to_the_service() -> None:
    records = AskedRecords()
    held = records.try_acquire(record_name(A), Claim("other", "elsewhere", "other.1", None, False))
    locker = LeaseLocker(lambda: records, timeout=PATIENCE, timing=FAST_TIMING)
    assert_one_of_a_crowd_tries(
        locker,
        records.tries,
        lambda: records.release(record_name(A), held, heartbeat_id="other.end"),
    )


def test_one_waiter_of_a_process_goes_to_the_kernel(tmp_path: Path) -> None:
    AskedLocks.tries = []
    elsewhere = OfdLocks(tmp_path)
    assert elsewhere.try_acquire(lock_id_of(A))
    locker = FileLocker(tmp_path, timeout=PATIENCE, open_locks=AskedLocks)
    assert_one_of_a_crowd_tries(locker, AskedLocks.tries, elsewhere.close)
