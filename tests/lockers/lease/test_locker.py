"""The lockers for many hosts, on their real services. Each process stands for a host."""

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
from tests.harness.timing import MANY_TRIES, assert_takes_less
from tests.lockers.locking import (
    PATIENCE,
    A,
    B,
    ForkServer,
    Holder,
    Peer,
    eventually,
)
from tus_wsgi.domain.errors import LockLost
from tus_wsgi.domain.events import LeaseLost, LockEvent, LockTakenOver
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import LeaseTiming
from tus_wsgi.lockers.lease.scheduler import MAX_THREADS, Scheduler

MakePeer = Callable[..., Peer]

SURE = LeaseTiming(lease=8.0, heartbeat=0.75, margin=0.5, poll=0.15, reserve=0.5)
"""For holders that must not lose a lock, although the machine lets them wait for seconds."""

DYING = replace(SURE, lease=FAST_TIMING.lease)

where_somebody_dies = pytest.mark.parametrize("timing", [DYING], ids=["dying"])
"""Or stands still: its successor need not wait for so long."""


@pytest.fixture(scope="module")
def threads() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=False)) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def greenlets() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=True)) as nursery:
        yield nursery


@pytest.fixture
def timing() -> LeaseTiming:
    return SURE


@pytest.fixture(params=LEASE_KINDS)
def spec(request: pytest.FixtureRequest, tmp_path: Path, timing: LeaseTiming) -> LockerSpec:
    return new_locker_spec(request.param, request, tmp_path, timing=timing)


@pytest.fixture
def make_peer(spec: LockerSpec, threads: ForkServer, greenlets: ForkServer) -> Iterator[MakePeer]:
    """Starts processes that share the place, with threads and with greenlets in turn."""
    with ExitStack() as stack:
        nurseries = [threads, greenlets]

        def make() -> Peer:
            nurseries.reverse()
            return stack.enter_context(closing(nurseries[0].peer(spec, timeout=PATIENCE)))

        yield make


@pytest.fixture
def environ(spec: LockerSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lockers in this very process need."""
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)


def hearts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tus-lock-scheduler"]


def test_processes_exclude_each_other(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    one.say("lock", "a")
    one.hear("locked", "a")
    two.say("lock", "a")
    one.hear("asked", "a")
    two.say("lock", "b")
    two.hear("locked", "b")
    one.say("release", "a")
    one.hear("released", "a")
    two.hear("locked", "a")


def test_a_lock_outlives_its_lease_while_its_holder_lives(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    one.say("lock", "a")
    began = one.hear("locked", "a")
    two.say("lock", "a")
    while one.hear("asked", "a") - began < 1.2 * SURE.lease:
        pass
    one.say("check", "a")
    one.hear("held", "a")
    one.say("release", "a")
    assert two.hear("locked", "a") > began + 1.2 * SURE.lease


def test_a_release_request_crosses_hosts_with_the_next_heartbeat(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    ids = map(str, itertools.count())

    def pass_on() -> float:
        id = next(ids)
        one.say("polite", id)
        one.hear("locked", id)
        before = time.monotonic()
        two.say("lock", id)
        one.hear("asked", id)
        one.hear("released", id)
        return two.hear("locked", id) - before

    assert_takes_less(SURE.heartbeat + 2 * SURE.poll + 0.2, pass_on, tries=MANY_TRIES)


@where_somebody_dies
def test_a_killed_holder_is_succeeded_after_one_lease(make_peer: MakePeer) -> None:
    two = make_peer().talk
    ids = map(str, itertools.count())

    def be_killed() -> float:
        one, id = make_peer(), next(ids)
        one.talk.say("lock", id)
        one.talk.hear("locked", id)
        one.kill()
        before = time.monotonic()
        two.say("lock", id)
        waited = two.hear("locked", id) - before
        assert waited > DYING.lease - DYING.heartbeat
        return waited

    assert_takes_less(2 * DYING.lease, be_killed, tries=MANY_TRIES)


@where_somebody_dies
def test_a_stopped_holder_knows_that_it_lost_the_lock(make_peer: MakePeer) -> None:
    one, two = make_peer(), make_peer().talk
    one.talk.say("lock", "a")
    one.talk.hear("locked", "a")
    one.stop()
    two.say("lock", "a")
    two.hear("locked", "a")
    one.go_on()
    one.talk.say("check", "a")
    one.talk.hear("lost", "a")
    # And its end is not that of its successor.
    one.talk.say("release", "a")
    one.talk.hear("released", "a")
    two.say("check", "a")
    two.hear("held", "a")


def test_a_wall_clock_that_jumps_changes_nothing(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    for id, jump in (("a", "7200"), ("b", "-50000")):
        one.say("lock", id)
        one.hear("locked", id)
        one.say("jump", jump)
        two.say("jump", jump)
        two.say("lock", id)
        one.hear("asked", id)
        time.sleep(SURE.lease)
        one.say("check", id)
        one.hear("held", id)
        one.say("release", id)
        one.hear("released", id)
        two.hear("locked", id)


def test_a_child_of_a_fork_has_locks_of_its_own(make_peer: MakePeer) -> None:
    parent = make_peer()
    parent.talk.say("lock", "a")
    parent.talk.hear("locked", "a")
    child = parent.fork()
    child.say("lock", "a")
    parent.talk.hear("asked", "a")
    parent.talk.say("release", "a")
    parent.talk.hear("released", "a")
    child.hear("locked", "a")


def test_a_busy_process_does_not_starve_another(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    one.say("busy", "a")

    def have_a_turn() -> float:
        before = time.monotonic()
        two.say("lock", "a")
        took = two.hear("locked", "a") - before
        two.say("release", "a")
        two.hear("released", "a")
        return took

    assert_takes_less(6.0, have_a_turn, tries=MANY_TRIES)


def test_killing_a_greenlet_that_waits_leaves_no_trace(make_peer: MakePeer) -> None:
    peers = [make_peer(), make_peer()]
    greenlet, thread = (peer.talk for peer in peers)
    thread.say("lock", "a")
    thread.hear("locked", "a")
    greenlet.say("lock", "a")
    thread.hear("asked", "a")
    greenlet.say("cancel", "a")
    greenlet.hear("cancelled", "a")
    thread.say("release", "a")
    thread.hear("released", "a")
    thread.say("lock", "a")
    thread.hear("locked", "a")


@where_somebody_dies
def test_observers_learn_of_takeover_and_loss(spec: LockerSpec, environ: None) -> None:
    told: list[LockEvent] = []
    first, second = spec.locker(PATIENCE, told.append), spec.locker(PATIENCE, told.append)
    assert isinstance(first, LeaseLocker)
    asked = threading.Event()
    with first.lock(A, on_release_request=asked.set) as lock:
        told.clear()  # a killed process of an earlier test may have left the lock
        first._process.scheduler._queue.clear()  # as if this process stood still
        with Holder(second):
            assert [type(one) for one in told] == [LockTakenOver]
            with pytest.raises(LockLost):
                lock.assert_held()
            assert asked.is_set(), "nobody ended the request's body"
    assert told[1:] == [LeaseLost(A, "the lock could not be renewed in time")]


def test_the_heart_beats_while_locks_are_held(spec: LockerSpec, environ: None) -> None:
    locker = spec.locker(PATIENCE)
    eventually(lambda: not hearts())
    for _ in range(2):
        with Holder(locker, A), Holder(locker, B):
            time.sleep(2 * SURE.heartbeat)
            assert 1 <= len(hearts()) <= 2
        eventually(lambda: not hearts())


def test_a_call_that_hangs_delays_no_other() -> None:
    eventually(lambda: not hearts())  # those of other tests
    scheduler = Scheduler()
    stuck = threading.Event()
    done: list[int] = []
    for _ in range(MAX_THREADS - 1):
        scheduler.schedule(lambda: void(stuck.wait(PATIENCE)), after=0.0)
    scheduler.schedule(lambda: done.append(1), after=0.1)
    eventually(lambda: bool(done))
    for _ in range(30):
        scheduler.schedule(lambda: void(stuck.wait(PATIENCE)), after=0.0)
    time.sleep(0.2)
    assert len(hearts()) <= MAX_THREADS
    stuck.set()
    eventually(lambda: not hearts())


def test_one_thread_works_and_one_looks_out_while_all_goes_well() -> None:
    eventually(lambda: not hearts())  # those of other tests
    scheduler = Scheduler()
    beats: list[int] = []

    def heartbeat_id() -> float | None:
        beats.append(len(hearts()))
        return 0.001 if len(beats) < 100 else None

    scheduler.schedule(heartbeat_id, after=0.0)
    eventually(lambda: not hearts())
    assert max(beats) == 1
    scheduler.schedule(heartbeat_id, after=0.05)
    scheduler.schedule(heartbeat_id, after=1.0)
    eventually(lambda: not hearts())
    assert max(beats) <= 2


def void(_: object) -> None:
    pass
