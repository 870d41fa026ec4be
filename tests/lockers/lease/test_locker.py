"""The lease lockers on their real services. Each process stands for a host."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.lockers import FAST_TIMING, LEASE_KINDS, LockerSpec, new_locker_spec
from tests.harness.timing import MANY_TRIES, MAX_WAIT, assert_takes_less, wait_until
from tests.lockers.locking import ID, OTHER_ID, ForkServer, Holder, LockerProcess
from tus_wsgi.domain.errors import LockLost
from tus_wsgi.domain.events import LeaseLost, LockEvent, LockTakenOver
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import LeaseTiming
from tus_wsgi.lockers.lease.scheduler import MAX_THREADS, Scheduler

StartProcess = Callable[[], LockerProcess]

LONG_LEASE = LeaseTiming(lease=8.0, heartbeat=0.75, margin=0.5, poll=0.15, reserve=0.5)
"""For holders that must not lose a lock, even if a busy machine delays them for seconds."""

SHORT_LEASE = replace(LONG_LEASE, lease=FAST_TIMING.lease)
"""For tests that wait until a lease expires."""

with_short_lease = pytest.mark.parametrize("timing", [SHORT_LEASE], ids=["short-lease"])

with_fast_heartbeat = pytest.mark.parametrize(
    "timing", [replace(LONG_LEASE, heartbeat=0.1)], ids=["fast-heartbeat"]
)


@pytest.fixture(scope="module")
def threads() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=False)) as fork_server:
        yield fork_server


@pytest.fixture(scope="module")
def greenlets() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=True)) as fork_server:
        yield fork_server


@pytest.fixture
def timing() -> LeaseTiming:
    return LONG_LEASE


@pytest.fixture(params=LEASE_KINDS)
def spec(request: pytest.FixtureRequest, tmp_path: Path, timing: LeaseTiming) -> LockerSpec:
    return new_locker_spec(request.param, request, tmp_path, timing=timing)


@pytest.fixture
def start_process(
    spec: LockerSpec, threads: ForkServer, greenlets: ForkServer
) -> Iterator[StartProcess]:
    """A function that starts a process, with greenlets and with threads in turn.

    All processes share their locks.
    """
    with ExitStack() as stack:
        fork_servers = itertools.cycle([greenlets, threads])

        def start() -> LockerProcess:
            fork_server = next(fork_servers)
            return stack.enter_context(closing(fork_server.start(spec, timeout=MAX_WAIT)))

        yield start


@pytest.fixture
def environ(spec: LockerSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment that lockers in this process need."""
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)


def scheduler_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tus-lock-scheduler"]


def test_processes_exclude_each_other(start_process: StartProcess) -> None:
    first, second = start_process().connection, start_process().connection
    first.send("lock", "a")
    first.expect("locked", "a")
    second.send("lock", "a")
    first.expect("requested", "a")
    second.send("lock", "b")
    second.expect("locked", "b")
    first.send("release", "a")
    first.expect("released", "a")
    second.expect("locked", "a")


def test_heartbeats_keep_a_lock_although_wall_clocks_jump(start_process: StartProcess) -> None:
    """A lock outlives its lease while its holder lives, whatever the time of day is."""
    first, second = start_process().connection, start_process().connection
    first.send("lock", "a")
    first.expect("locked", "a")
    second.send("lock", "b")
    acquired_at = second.expect("locked", "b")
    first.send("shift_clock", "7200")
    second.send("shift_clock", "-50000")
    first.send("lock", "b")
    second.send("lock", "a")
    end = acquired_at + 1.2 * LONG_LEASE.lease
    for holder, waiter, id in ((first, second, "a"), (second, first, "b")):
        while holder.expect("requested", id) < end:
            pass
        holder.send("check", id)
        holder.expect("held", id)
        holder.send("release", id)
        holder.expect("released", id)
        assert waiter.expect("locked", id) > end


def test_a_release_request_reaches_the_holder_with_its_next_heartbeat(
    start_process: StartProcess,
) -> None:
    first, second = start_process().connection, start_process().connection
    ids = map(str, itertools.count())

    def measure_handover() -> float:
        id = next(ids)
        first.send("lock_cooperative", id)
        first.expect("locked", id)
        before = time.monotonic()
        second.send("lock", id)
        first.expect("requested", id)
        first.expect("released", id)
        return second.expect("locked", id) - before

    max_seconds = LONG_LEASE.heartbeat + 2 * LONG_LEASE.poll + 0.2
    assert_takes_less(max_seconds, measure_handover, tries=MANY_TRIES)


@with_short_lease
def test_the_lock_of_a_killed_holder_expires_after_one_lease(start_process: StartProcess) -> None:
    second = start_process().connection
    ids = map(str, itertools.count())

    def measure_takeover() -> float:
        first, id = start_process(), next(ids)
        first.connection.send("lock", id)
        first.connection.expect("locked", id)
        first.kill()
        before = time.monotonic()
        second.send("lock", id)
        waited = second.expect("locked", id) - before
        assert waited > SHORT_LEASE.lease - SHORT_LEASE.heartbeat
        return waited

    assert_takes_less(2 * SHORT_LEASE.lease, measure_takeover, tries=MANY_TRIES)


@with_short_lease
def test_a_stopped_holder_detects_that_it_lost_the_lock(start_process: StartProcess) -> None:
    first, second = start_process(), start_process().connection
    first.connection.send("lock", "a")
    first.connection.expect("locked", "a")
    first.stop()
    second.send("lock", "a")
    second.expect("locked", "a")
    first.resume()
    first.connection.send("check", "a")
    first.connection.expect("lost", "a")
    # Its release does not affect the lock of its successor.
    first.connection.send("release", "a")
    first.connection.expect("released", "a")
    second.send("check", "a")
    second.expect("held", "a")


def test_the_child_of_a_fork_has_locks_of_its_own(start_process: StartProcess) -> None:
    parent = start_process()
    parent.connection.send("lock", "a")
    parent.connection.expect("locked", "a")
    child = parent.fork()
    child.send("lock", "a")
    parent.connection.expect("requested", "a")
    parent.connection.send("release", "a")
    parent.connection.expect("released", "a")
    child.expect("locked", "a")


@with_fast_heartbeat
def test_the_child_of_a_fork_renews_no_lock_of_its_parent(spec: LockerSpec, environ: None) -> None:
    """The parent's greenlets continue in the child: their heartbeats would outlive the parent."""
    locker = spec.locker(MAX_WAIT)
    assert isinstance(locker, LeaseLocker)
    wait_until(lambda: not scheduler_threads())  # of other tests
    with Holder(locker):
        assert scheduler_threads()
        locker.reset()
        wait_until(lambda: not scheduler_threads())


def test_a_busy_process_does_not_starve_another(start_process: StartProcess) -> None:
    first, second = start_process().connection, start_process().connection
    first.send("contend", "a")

    def measure_hold() -> float:
        before = time.monotonic()
        second.send("lock", "a")
        waited = second.expect("locked", "a") - before
        second.send("release", "a")
        second.expect("released", "a")
        return waited

    assert_takes_less(6.0, measure_hold, tries=MANY_TRIES)


def test_a_killed_greenlet_leaves_no_waiter_behind(start_process: StartProcess) -> None:
    greenlet, thread = start_process().connection, start_process().connection
    thread.send("lock", "a")
    thread.expect("locked", "a")
    greenlet.send("lock", "a")
    thread.expect("requested", "a")
    greenlet.send("cancel", "a")
    greenlet.expect("cancelled", "a")
    thread.send("release", "a")
    thread.expect("released", "a")
    thread.send("lock", "a")
    thread.expect("locked", "a")


@with_short_lease
def test_a_takeover_and_a_loss_are_reported_as_events(spec: LockerSpec, environ: None) -> None:
    events: list[LockEvent] = []
    first, second = spec.locker(MAX_WAIT, events.append), spec.locker(MAX_WAIT, events.append)
    assert isinstance(first, LeaseLocker)
    requested = threading.Event()
    with first.lock(ID, on_release_request=requested.set) as lock:
        events.clear()  # a killed process of an earlier test may have left the lock behind
        first._process.scheduler._queue.clear()  # no more heartbeats, as if the process was stopped
        with Holder(second):
            assert [type(event) for event in events] == [LockTakenOver]
            with pytest.raises(LockLost):
                lock.assert_held()
            assert requested.is_set(), "the request's body was not interrupted"
    assert events[1:] == [LeaseLost(ID, "the lock could not be renewed in time")]


@with_fast_heartbeat
def test_the_scheduler_runs_only_while_locks_are_held(
    spec: LockerSpec, environ: None, timing: LeaseTiming
) -> None:
    locker = spec.locker(MAX_WAIT)
    wait_until(lambda: not scheduler_threads())
    for _ in range(2):
        with Holder(locker, ID), Holder(locker, OTHER_ID):
            time.sleep(5 * timing.heartbeat)
            assert 1 <= len(scheduler_threads()) <= 2
        wait_until(lambda: not scheduler_threads())


def test_a_task_that_hangs_delays_no_other() -> None:
    wait_until(lambda: not scheduler_threads())  # of other tests
    scheduler = Scheduler()
    finish = threading.Event()
    calls: list[int] = []

    def hang() -> None:
        finish.wait(MAX_WAIT)

    for _ in range(MAX_THREADS - 1):
        scheduler.schedule(hang, after=0.0)
    scheduler.schedule(lambda: calls.append(1), after=0.1)
    wait_until(lambda: bool(calls))
    for _ in range(30):
        scheduler.schedule(hang, after=0.0)
    time.sleep(0.2)
    assert len(scheduler_threads()) <= MAX_THREADS
    finish.set()
    wait_until(lambda: not scheduler_threads())


def test_the_scheduler_uses_one_thread_per_running_task_and_one_that_waits() -> None:
    wait_until(lambda: not scheduler_threads())  # of other tests
    scheduler = Scheduler()
    thread_counts: list[int] = []

    def task() -> float | None:
        thread_counts.append(len(scheduler_threads()))
        return 0.001 if len(thread_counts) < 100 else None

    scheduler.schedule(task, after=0.0)
    wait_until(lambda: not scheduler_threads())
    assert max(thread_counts) == 1
    scheduler.schedule(task, after=0.05)
    scheduler.schedule(task, after=1.0)
    wait_until(lambda: not scheduler_threads())
    assert max(thread_counts) <= 2
