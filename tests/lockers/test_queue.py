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
from tus_wsgi.lockers.file.locker import FileLocker, place_of
from tus_wsgi.lockers.file.ofd import ByteLocks
from tus_wsgi.lockers.lease.lease import name_of
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
    turns = LockQueue()
    holder, late, last = QueueEntry(ignore), QueueEntry(ignore), QueueEntry(ignore)
    late.turn = TooLate()
    ends: list[str] = []

    def wait(ticket: QueueEntry) -> None:
        try:
            turns.wait(A, ticket, timeout=PATIENCE)
            ends.append("served")
        except UploadLocked:
            ends.append("refused")
        finally:
            turns.leave(A, ticket)

    def in_line(length: int) -> Callable[[], bool]:
        return lambda: len(turns._queues[A]) == length

    turns.wait(A, holder, timeout=0)
    threads = [threading.Thread(target=wait, args=(ticket,)) for ticket in (late, last)]
    for length, thread in enumerate(threads, start=2):
        thread.start()
        eventually(in_line(length))
    turns.leave(A, holder)
    for thread in threads:
        thread.join(PATIENCE)
    assert late.turn.is_set()
    assert ends == ["refused", "served"]
    assert len(turns) == 0


def test_a_ticket_that_never_joined_can_leave() -> None:
    turns = LockQueue()
    turns.leave(A, QueueEntry(ignore))
    turns._queues[A] = deque()  # interrupted between making the queue and joining it
    turns.leave(A, QueueEntry(ignore))
    assert len(turns) == 0


def test_leaving_twice_is_leaving_once() -> None:
    turns = LockQueue()
    holder, waiter = QueueEntry(ignore), QueueEntry(ignore)
    turns.wait(A, holder, timeout=0)
    turns.leave(A, holder)
    turns.wait(A, waiter, timeout=0)
    turns.leave(A, holder)
    with pytest.raises(UploadLocked):
        turns.wait(A, QueueEntry(ignore), timeout=0)


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

    ticket = QueueEntry(slow)
    ticket.begin()
    asking = threading.Thread(target=ticket.ask)
    asking.start()
    assert entered.wait(PATIENCE)
    ending = threading.Thread(target=ticket.end)
    ending.start()
    ending.join(0.1)
    assert ending.is_alive()
    leave.set()
    ending.join(PATIENCE)
    asking.join(PATIENCE)
    assert not ending.is_alive()


def test_a_request_may_give_the_lock_back_at_once() -> None:
    def let_go() -> None:
        ticket.end()
        times.append(1)

    times: list[int] = []
    ticket = QueueEntry(let_go)
    ticket.begin()
    ticket.ask()
    ticket.ask()
    assert times == [1]


CROWD = 10


class AskedRecords(MemoryRecords):
    """Remembers who tried to take a lock, once for each try."""

    def __init__(self) -> None:
        super().__init__()
        self.tries: list[object] = []

    def take(self, name: str, claim: Claim) -> LeaseRecord:
        self.tries.append(claim.token)
        return super().take(name, claim)


class AskedLocks(ByteLocks):
    """The same for the kernel's."""

    tries: list[object]

    def take(self, name: int) -> bool:
        self.tries.append(threading.get_ident())
        return super().take(name)


def assert_one_of_a_crowd_tries(
    locker: LeaseLocker | FileLocker, tries: list[object], give_back: Callable[[], None]
) -> None:
    """While somebody elsewhere has the lock; and when it is given back, all have a turn."""
    crowd = [Holder(locker, polite=True).begin() for _ in range(CROWD)]
    queues = locker._process.turns._queues
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
    held = records.take(name_of(A), Claim("other", "elsewhere", "other.1", None, False))
    locker = LeaseLocker(lambda: records, timeout=PATIENCE, times=FAST_TIMING)
    assert_one_of_a_crowd_tries(
        locker, records.tries, lambda: records.release(name_of(A), held, beat="other.end")
    )


def test_one_waiter_of_a_process_goes_to_the_kernel(tmp_path: Path) -> None:
    AskedLocks.tries = []
    elsewhere = ByteLocks(tmp_path)
    assert elsewhere.take(place_of(A))
    locker = FileLocker(tmp_path, timeout=PATIENCE, open_locks=AskedLocks)
    assert_one_of_a_crowd_tries(locker, AskedLocks.tries, elsewhere.close)
