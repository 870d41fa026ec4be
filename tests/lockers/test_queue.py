"""The queues of one process: races and internals that the contract tests cannot reach."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.lockers import FAST_TIMING
from tests.harness.records import MemoryRecords
from tests.harness.timing import MAX_WAIT, wait_until
from tests.lockers.locking import ID, OTHER_ID, Holder, ignore_request
from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.lockers.file.locker import FileLocker, lock_id_of
from tus_wsgi.lockers.file.ofd import OfdLocks
from tus_wsgi.lockers.lease.lease import record_name
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import Claim, LeaseRecord
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.lockers.queue import LockQueue, QueueEntry


class TimedOutEvent(threading.Event):
    """An event whose waiter times out at the moment when the event is set."""

    def wait(self, timeout: float | None = None) -> bool:
        super().wait(timeout)
        return False


def test_a_waiter_that_times_out_when_it_is_admitted_admits_the_next_one() -> None:
    queue = LockQueue()
    holder, late, last = (QueueEntry(ignore_request) for _ in range(3))
    late.ready = TimedOutEvent()
    results: list[str] = []

    def wait(entry: QueueEntry) -> None:
        try:
            queue.wait(ID, entry, timeout=MAX_WAIT)
            results.append("admitted")
        except UploadLocked:
            results.append("timed out")
        finally:
            queue.leave(ID, entry)

    def has_length(length: int) -> Callable[[], bool]:
        return lambda: len(queue._queues[ID]) == length

    queue.wait(ID, holder, timeout=0)
    threads = [threading.Thread(target=wait, args=(entry,)) for entry in (late, last)]
    for length, thread in enumerate(threads, start=2):
        thread.start()
        wait_until(has_length(length))
    queue.leave(ID, holder)
    for thread in threads:
        thread.join(MAX_WAIT)
    assert late.ready.is_set()
    assert results == ["timed out", "admitted"]
    assert len(queue) == 0


def test_an_entry_that_never_joined_can_leave() -> None:
    queue = LockQueue()
    queue.leave(ID, QueueEntry(ignore_request))
    queue._queues[ID] = deque()  # interrupted after the queue was created, before the entry joined
    queue.leave(ID, QueueEntry(ignore_request))
    assert len(queue) == 0


def test_leave_is_idempotent() -> None:
    queue = LockQueue()
    holder, waiter = QueueEntry(ignore_request), QueueEntry(ignore_request)
    queue.wait(ID, holder, timeout=0)
    queue.leave(ID, holder)
    queue.wait(ID, waiter, timeout=0)
    queue.leave(ID, holder)
    with pytest.raises(UploadLocked):
        queue.wait(ID, QueueEntry(ignore_request), timeout=0)


def test_unused_ids_take_no_memory() -> None:
    locker = MemoryLocker(timeout=MAX_WAIT)
    with Holder(locker, ID) as first, Holder(locker, OTHER_ID):
        second = Holder(locker, ID).start()
        first.wait_for_request()
        assert len(locker._queue) == 2
    second.release()
    assert len(locker._queue) == 0


def test_release_waits_for_a_callback_in_progress() -> None:
    """Otherwise the callback could interrupt the next request on the same connection."""
    entered, leave = threading.Event(), threading.Event()

    def block() -> None:
        entered.set()
        leave.wait(MAX_WAIT)

    entry = QueueEntry(block)
    entry.mark_held()
    requesting = threading.Thread(target=entry.request_release)
    requesting.start()
    assert entered.wait(MAX_WAIT)
    releasing = threading.Thread(target=entry.mark_released)
    releasing.start()
    releasing.join(0.1)
    assert releasing.is_alive()
    leave.set()
    releasing.join(MAX_WAIT)
    requesting.join(MAX_WAIT)
    assert not releasing.is_alive()


def test_a_callback_may_release_the_lock() -> None:
    calls: list[int] = []

    def release() -> None:
        entry.mark_released()
        calls.append(1)

    entry = QueueEntry(release)
    entry.mark_held()
    entry.request_release()
    entry.request_release()
    assert calls == [1]


WAITERS = 10


class CountingRecords(MemoryRecords):
    """Records that note the token of each attempt to acquire a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[object] = []

    def try_acquire(self, name: str, claim: Claim) -> LeaseRecord:
        self.attempts.append(claim.token)
        return super().try_acquire(name, claim)


class CountingLocks(OfdLocks):
    """Kernel locks that note the thread of each attempt to acquire a lock."""

    attempts: list[object]

    def try_acquire(self, lock_id: int) -> bool:
        self.attempts.append(threading.get_ident())
        return super().try_acquire(lock_id)


def assert_one_waiter_competes(
    locker: LeaseLocker | FileLocker, attempts: list[object], release: Callable[[], None]
) -> None:
    """Only one waiter competes while another process holds the lock; then all acquire it."""
    waiters = [Holder(locker, releases_on_request=True).start() for _ in range(WAITERS)]
    queues = locker._process.queue._queues
    wait_until(lambda: sum(map(len, list(queues.values()))) == WAITERS)
    attempts.clear()
    wait_until(lambda: len(attempts) >= 5)
    assert len(set(attempts)) == 1
    release()
    wait_until(lambda: all(waiter.acquired.is_set() for waiter in waiters))
    for waiter in waiters:
        waiter.release()
    assert len(set(attempts)) == WAITERS


def test_one_waiter_per_process_calls_the_service() -> None:
    records = CountingRecords()
    held = records.try_acquire(
        record_name(ID), Claim("other", "other process", "other.1", None, has_expired=False)
    )
    locker = LeaseLocker(lambda: records, timeout=MAX_WAIT, timing=FAST_TIMING)

    def release() -> None:
        records.release(record_name(ID), held, heartbeat_id="other.end")

    assert_one_waiter_competes(locker, records.attempts, release)


def test_one_waiter_per_process_calls_the_kernel(tmp_path: Path) -> None:
    CountingLocks.attempts = []
    other_process = OfdLocks(tmp_path)
    assert other_process.try_acquire(lock_id_of(ID))
    locker = FileLocker(tmp_path, timeout=MAX_WAIT, open_locks=CountingLocks)
    assert_one_waiter_competes(locker, CountingLocks.attempts, other_process.close)
