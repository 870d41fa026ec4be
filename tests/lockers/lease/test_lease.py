"""The lease protocol in a simulated world: hosts stop, clocks differ, answers get lost.

Nothing waits here: time is simulated, so a second costs nothing, and each example is repeatable.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TypeVar

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.records import MemoryRecords
from tus_wsgi.domain.errors import LockerUnavailable, LockLost, UploadLocked
from tus_wsgi.domain.events import LeaseLost, LockEvent, LockTakenOver
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease import lease as module
from tus_wsgi.lockers.lease.lease import Lease
from tus_wsgi.lockers.lease.monitor import LeaseMonitor, LeaseMonitors
from tus_wsgi.lockers.lease.records import Claim, LeaseRecord, LeaseTiming, OutcomeUnknown
from tus_wsgi.lockers.queue import QueueEntry

ID = UploadId("a")
TIMES = LeaseTiming()
CALL_TIMEOUT = 1.0

T = TypeVar("T")


class World:
    """Simulated time, and what happens in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hosts: list[Host] = []
        self._events: list[tuple[float, int, Host | None, greenlet]] = []
        self._numbers = itertools.count()
        self._hub = getcurrent()
        self.host: Host | None = None
        # Whoever forgets a greenlet kills it, and it would tidy up, as no dead process does.
        self._dead: list[greenlet] = []
        self.is_over = False
        self.after_each: Callable[[], None] = lambda: None

    def spawn(self, run: Callable[[], None], *, host: Host | None = None, at: float = 0.0) -> None:
        self._push(at, host, greenlet(run, parent=self._hub))

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self._push(self.now + seconds, self.host, getcurrent())
        self._hub.switch()

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            at, _, host, task = heapq.heappop(self._events)
            self.now = max(self.now, at)
            if host is not None and host.is_dead:
                self._dead.append(task)
                continue
            if host is not None and host.stopped_until > self.now:
                self._push(host.stopped_until, host, task)
                continue
            self.host = host
            task.switch()
            self.host = None
            self.after_each()
        self.now = max(self.now, until)

    def close(self) -> None:
        """End all that has not ended."""
        self.is_over = True
        self._dead.clear()
        self._events.clear()

    def _push(self, at: float, host: Host | None, task: greenlet) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), host, task))


class Host:
    """A process on a host of its own, with a clock that nobody else has."""

    def __init__(self, world: World, *, offset: float = 0.0, rate: float = 1.0) -> None:
        self.world = world
        self.stopped_until = 0.0
        self.is_dead = False
        self._offset = offset
        self._rate = rate
        self.waiter_id = f"seat{len(world.hosts)}"
        self.monitors = LeaseMonitors(self.waiter_id, TIMES)
        self.told: list[LockEvent] = []
        self.leases: list[Lease] = []
        world.hosts.append(self)

    def clock(self) -> float:
        return self._offset + self.world.now * self._rate

    def sleep(self, seconds: float) -> None:
        self.world.sleep(seconds / self._rate)


class Network:
    """Records behind a network with a latency, on which calls and answers get lost."""

    def __init__(
        self, world: World, chance: random.Random | None = None, faults: float = 0
    ) -> None:
        self.store = MemoryRecords()
        self._world = world
        self._chance = chance
        self._faults = faults
        self.is_down = False

    @property
    def keeps_fences(self) -> bool:
        return True

    def check(self) -> None:
        pass

    def try_acquire(self, name: str, claim: Claim) -> LeaseRecord:
        return self._call(lambda: self.store.try_acquire(name, claim))

    def renew(self, name: str, held: LeaseRecord, *, heartbeat_id: str) -> LeaseRecord:
        return self._call(lambda: self.store.renew(name, held, heartbeat_id=heartbeat_id))

    def request_release(
        self, name: str, seen: LeaseRecord, *, waiter_id: str, unchanged_for: float
    ) -> LeaseRecord:
        return self._call(
            lambda: self.store.request_release(
                name, seen, waiter_id=waiter_id, unchanged_for=unchanged_for
            )
        )

    def release(self, name: str, held: LeaseRecord, *, heartbeat_id: str) -> None:
        self._call(lambda: self.store.release(name, held, heartbeat_id=heartbeat_id))

    def _call(self, work: Callable[[], T]) -> T:
        chance, world = self._chance, self._world
        if world.is_over:
            raise OutcomeUnknown("call")
        if self.is_down:
            world.sleep(CALL_TIMEOUT)
            raise OutcomeUnknown("call")
        if chance is None:
            return work()
        world.sleep(chance.random() * 0.05)
        if chance.random() < self._faults:
            what = chance.choice(["lost", "lost answer", "late"])
            if what == "lost answer":
                work()
            elif what == "late":
                world.spawn(lambda: void(work), at=world.now + chance.random() * 15)
            world.sleep(CALL_TIMEOUT)
            raise OutcomeUnknown("call")
        found = work()
        world.sleep(chance.random() * 0.05)
        return found


def void(work: Callable[[], object]) -> None:
    work()


@pytest.fixture
def world() -> Iterator[World]:
    with simulated() as world:
        yield world


@contextmanager
def simulated() -> Iterator[World]:
    """A world whose time is the one that leases see."""
    world = World()

    def here() -> Host:
        host = world.hosts[0] if world.is_over else world.host
        assert host is not None
        return host

    clock = SimpleNamespace(
        monotonic=lambda: here().clock(), sleep=lambda seconds: here().sleep(seconds)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        patch.setattr(module, "uptime", lambda: here().clock())
        yield world
        world.close()


class Request:
    """A request on a host that takes the lock, keeps it, and gives it back."""

    def __init__(
        self,
        host: Host,
        network: Network,
        *,
        hold: float = 0.0,
        polite: bool = True,
        timeout: float = 5.0,
    ) -> None:
        self.host = host
        self.polite = polite
        self.hold = hold
        self.timeout = timeout
        self.asked_at: list[float] = []
        self.entered_at = -1.0
        self.left_at = -1.0
        self.error: Exception | None = None
        self.entry = QueueEntry(lambda: self.asked_at.append(host.world.now))
        self.lease = Lease(
            ID,
            self.entry,
            network,
            waiter_id=host.waiter_id,
            timing=TIMES,
            on_event=host.told.append,
        )
        host.leases.append(self.lease)

    def start(self, at: float = 0.0) -> Request:
        self.host.world.spawn(self._run, host=self.host, at=at)
        return self

    def _run(self) -> None:
        host, world, lease = self.host, self.host.world, self.lease
        try:
            with host.monitors.monitor(ID) as monitor:
                lease.acquire(host.clock() + self.timeout, monitor)
            self.entered_at = world.now
            world.spawn(
                lambda: repeat(host, lease.renew, lease.next_renewal()), host=host, at=world.now
            )
            self.entry.mark_held()
            end = world.now + self.hold
            while world.now < end and not (self.polite and self.asked_at):
                host.sleep(0.1)
                lease.assert_held()
        except (UploadLocked, LockerUnavailable, LockLost) as error:
            self.error = error
        finally:
            self.entry.mark_released()
            if not lease.release():
                world.spawn(
                    lambda: repeat(host, lease.release_again, TIMES.poll), host=host, at=world.now
                )
            self.left_at = world.now


def repeat(host: Host, heartbeat_id: Callable[[], float | None], after: float | None) -> None:
    """What the heart does."""
    while after is not None:
        host.sleep(after)
        after = heartbeat_id()


def is_valid(lease: Lease, host: Host) -> bool:
    return (
        lease._entry._held
        and lease._lost is None
        and not lease._has_ended
        and host.clock() < lease._valid_until
    )


def watch_over(world: World) -> None:
    """From now on, two valid leases at any instant are a failure."""

    def check() -> None:
        valid = [
            (host.waiter_id, lease.fence)
            for host in world.hosts
            for lease in host.leases
            if not host.is_dead and is_valid(lease, host)
        ]
        assert len(valid) <= 1, valid

    world.after_each = check


def test_a_stalled_holder_lets_go_within_two_seconds(world: World) -> None:
    network = Network(world)
    first = Request(Host(world), network, hold=60).start()
    second = Request(Host(world, offset=1e6), network).start(at=10.01)
    world.run(30)
    assert first.error is second.error is None
    assert second.entered_at - 10.01 <= TIMES.heartbeat + TIMES.poll + 0.05
    assert second.lease.fence == 2


def test_a_holder_that_is_not_asked_keeps_the_lock(world: World) -> None:
    network = Network(world)
    first = Request(Host(world), network, hold=600).start()
    world.run(599)
    assert first.left_at < 0
    assert not first.asked_at
    world.run(700)
    assert first.error is None
    assert network.store.records[module.record_name(ID)].holder == ""


def test_a_dead_holder_is_succeeded_after_one_lease(world: World) -> None:
    network = Network(world)
    one, two = Host(world), Host(world, offset=-1e5)
    Request(one, network, hold=60).start()
    world.spawn(lambda: setattr(one, "is_dead", True), at=20.0)
    second = Request(two, network, timeout=30).start(at=20.1)
    world.run(60)
    assert TIMES.lease - TIMES.heartbeat < second.entered_at - 20.1 <= TIMES.lease + TIMES.poll
    assert two.told == [LockTakenOver(ID, 2)]


def test_what_a_waiter_has_seen_counts_for_the_next_one_elsewhere(world: World) -> None:
    """Clients are refused after five seconds, and come back to another host."""
    network = Network(world)
    one = Host(world)
    Request(one, network, hold=60).start()
    world.spawn(lambda: setattr(one, "is_dead", True), at=20.0)
    refused = Request(Host(world), network).start(at=20.1)
    second = Request(Host(world), network).start(at=26.1)
    world.run(60)
    assert isinstance(refused.error, UploadLocked)
    assert second.entered_at - 20.1 < 7.5


def test_a_stopped_holder_notices_before_it_does_anything(world: World) -> None:
    network = Network(world)
    one = Host(world)
    first = Request(one, network, hold=60).start()
    world.spawn(lambda: setattr(one, "stopped_until", 30.0), at=20.0)
    second = Request(Host(world), network, hold=60, timeout=30).start(at=20.5)
    watch_over(world)
    world.run(40)
    assert 26 < second.entered_at < 27
    assert isinstance(first.error, LockLost)
    assert first.left_at == 30.0
    assert one.told == [LeaseLost(ID, "the lock could not be renewed in time")]
    assert second.left_at < 0, "the first one's release was the second one's"


def test_a_holder_whose_heart_is_starved_notices_as_well(world: World) -> None:
    network = Network(world)
    first = Request(Host(world), network, hold=60)
    first.lease.renew = lambda: None  # type: ignore[method-assign]
    first.start()
    world.run(30)
    assert isinstance(first.error, LockLost)
    assert TIMES.lease - TIMES.margin <= first.left_at <= TIMES.lease - TIMES.margin + 0.1


def test_a_holder_without_the_service_lets_go_before_the_lease_ends(world: World) -> None:
    network = Network(world)
    first = Request(Host(world), network, hold=60).start()
    world.spawn(lambda: setattr(network, "is_down", True), at=10.0)
    world.run(30)
    assert isinstance(first.error, LockLost)
    assert first.left_at - 10.0 < TIMES.lease - TIMES.margin + 1.1
    assert first.asked_at, "its body was not interrupted"


@pytest.mark.parametrize(
    "found", [LeaseRecord(), LeaseRecord(holder="another", heartbeat_id="b", fence=9)]
)
def test_a_holder_whose_record_is_another_has_lost_the_lock(
    world: World, found: LeaseRecord
) -> None:
    network = Network(world)
    first = Request(Host(world), network, hold=60).start()
    world.spawn(lambda: network.store.records.update({module.record_name(ID): found}), at=3.1)
    world.run(30)
    assert isinstance(first.error, LockLost)
    assert first.error.reason == "the lock has passed to another holder"
    assert 3.1 < first.left_at <= 4.6
    assert network.store.records[module.record_name(ID)] == found


def test_who_cannot_reach_the_service_is_told_so(world: World) -> None:
    network = Network(world)
    network.is_down = True
    first = Request(Host(world), network).start()
    world.run(30)
    assert isinstance(first.error, LockerUnavailable)


def test_a_taken_lock_whose_answer_was_lost_is_recognised(world: World) -> None:
    network = Network(world)
    try_acquire, tries = network.store.try_acquire, []

    def lose_one(name: str, claim: Claim) -> LeaseRecord:
        tries.append(claim)
        found = try_acquire(name, claim)
        if len(tries) == 1:
            world.sleep(CALL_TIMEOUT)
            raise OutcomeUnknown("take")
        return found

    network.store.try_acquire = lose_one  # type: ignore[method-assign]
    first = Request(Host(world), network, hold=0.3).start()
    world.run(10)
    assert first.error is None
    assert len(tries) == 2
    assert first.entered_at < CALL_TIMEOUT + 0.1
    # The lease counts from when the first call was sent.
    assert first.lease._valid_until == TIMES.lease - TIMES.margin


def test_a_lock_that_may_be_ours_is_given_back(world: World) -> None:
    network = Network(world)
    try_acquire = network.store.try_acquire

    def lose(name: str, claim: Claim) -> LeaseRecord:
        try_acquire(name, claim)
        world.sleep(CALL_TIMEOUT)
        raise OutcomeUnknown("take")

    network.store.try_acquire = lose  # type: ignore[method-assign]
    first = Request(Host(world), network, timeout=0.5).start()
    world.run(10)
    assert isinstance(first.error, LockerUnavailable)
    assert network.store.records[module.record_name(ID)].holder == ""


def test_a_release_that_fails_is_repeated(world: World) -> None:
    network = Network(world)
    first = Request(Host(world), network, hold=1).start()
    world.spawn(lambda: setattr(network, "is_down", True), at=0.9)
    world.spawn(lambda: setattr(network, "is_down", False), at=2.5)
    second = Request(Host(world), network).start(at=2.6)
    world.run(10)
    assert first.error is second.error is None
    assert second.entered_at < 4


def test_a_busy_process_does_not_starve_another(world: World) -> None:
    """A lock that is given back is for whoever had asked for it."""
    network = Network(world)
    busy = Host(world)

    def requests() -> None:
        for _ in range(200):
            Request(busy, network, hold=0.1, timeout=60)._run()

    world.spawn(requests, host=busy)
    second = Request(Host(world), network, hold=0.1).start(at=5.0)
    world.run(30)
    assert second.error is None
    assert second.entered_at - 5.0 < 1.0


@pytest.mark.parametrize("timeout", [0.0, 1.0, 2.5])
def test_waiters_that_never_wait_for_long_succeed_a_dead_holder(
    world: World, timeout: float
) -> None:
    """`TUS_ACQUIRE_LOCK_TIMEOUT` may be shorter than it takes to see that somebody is silent."""
    network, dying, other = Network(world), Host(world), Host(world)
    Request(dying, network, hold=100).start()
    world.spawn(lambda: setattr(dying, "is_dead", True), at=1.0)
    requests = [Request(other, network, timeout=timeout).start(at=2 + 3 * n) for n in range(6)]
    world.run(30)
    entered = [one.entered_at for one in requests if one.error is None]
    assert TIMES.lease < entered[0] < 1 + TIMES.lease + 2 * 3
    assert [type(one) for one in other.told] == [LockTakenOver]


def test_who_comes_again_takes_a_free_lock_over_from_nobody(world: World) -> None:
    network, other = Network(world), Host(world)
    Request(Host(world), network, hold=10, polite=False).start()
    refused = Request(other, network, timeout=0.0).start(at=1.0)
    served = Request(other, network, timeout=0.0).start(at=20.0)
    world.run(30)
    assert isinstance(refused.error, UploadLocked)
    assert served.error is None
    assert other.told == []


def test_what_waiters_have_seen_is_remembered_of_a_few_locks() -> None:
    monitors = LeaseMonitors("me", TIMES, max_count=2)
    for id in ("a", "b", "c"):
        with suppress(UploadLocked), monitors.monitor(UploadId(id)) as monitor:
            monitor.observe(LeaseRecord(holder="x", heartbeat_id="x.1"), 1.0)
            raise UploadLocked
    seen = []
    for id in ("a", "b", "c"):
        with monitors.monitor(UploadId(id)) as monitor:
            seen.append(monitor.seen is not None)
    assert seen == [False, True, True]


def test_a_lock_is_not_reserved_for_ever(world: World) -> None:
    network = Network(world)
    waiting = Host(world)
    Request(Host(world), network, hold=2).start()
    Request(waiting, network).start(at=0.1)
    world.spawn(lambda: setattr(waiting, "is_dead", True), at=0.3)
    third = Request(Host(world), network).start(at=1.0)
    world.run(30)
    assert third.error is None
    assert third.entered_at < 2 + TIMES.reserve + 2 * TIMES.poll


def test_durations_are_measured_from_the_answer_to_the_next_call() -> None:
    monitor = LeaseMonitor("me", TIMES)
    held = LeaseRecord(holder="x", heartbeat_id="x.1")
    monitor.observe(held, 100.0)
    assert not monitor.has_expired(105.9)
    assert monitor.has_expired(106.0)
    monitor.observe(LeaseRecord(holder="x", heartbeat_id="x.2"), 105.0)
    assert not monitor.has_expired(110.9)
    monitor.observe(LeaseRecord(holder="x", heartbeat_id="x.2", unchanged_for=4.5), 106.0)
    monitor.observe(LeaseRecord(holder="x", heartbeat_id="x.2", unchanged_for=4.5), 106.5)
    assert not monitor.has_expired(107.4)
    assert monitor.has_expired(107.5)


@pytest.mark.property
@given(seed=st.integers(0, 2**32))
def test_no_two_leases_are_ever_valid(seed: int) -> None:
    """Whatever stops, dies, arrives late or gets lost, and however the clocks run."""
    chance = random.Random(seed)
    with simulated() as world:
        network = Network(world, chance, faults=chance.choice([0.0, 0.05, 0.3]))
        watch_over(world)
        requests = []
        for _ in range(4):
            host = Host(world, offset=chance.uniform(-1e6, 1e6), rate=chance.uniform(0.98, 1.02))
            for _ in range(5):
                request = Request(
                    host,
                    network,
                    hold=chance.choice([0.1, 1.0, 10.0]),
                    polite=chance.random() < 0.7,
                    timeout=chance.choice([1.0, 5.0, 20.0]),
                )
                requests.append(request.start(at=chance.uniform(0, 60)))
            for _ in range(chance.randrange(3)):
                at = chance.uniform(0, 60)
                until = at + chance.uniform(0, 15)
                world.spawn(lambda h=host, u=until: setattr(h, "stopped_until", u), at=at)  # type: ignore[misc]
        dying = chance.choice(world.hosts)
        world.spawn(lambda: setattr(dying, "is_dead", True), at=chance.uniform(0, 120))
        world.run(200)
        survivors = [one for one in requests if one.host is not dying]
        assert all(one.left_at >= 0 for one in survivors), "somebody hangs"
        # Once all is quiet, the lock can be had.
        world.after_each = lambda: None
        network._faults = 0
        last = Request(Host(world), network, timeout=20).start(at=world.now)
        world.run(world.now + 30)
        assert last.error is None
