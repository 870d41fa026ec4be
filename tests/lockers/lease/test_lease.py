"""The lease protocol in a simulation with its own time, hosts and network.

Time is simulated, so no test waits, and each example is reproducible.
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
from tus_wsgi.lockers.lease.lease import Lease, record_name
from tus_wsgi.lockers.lease.monitor import LeaseMonitor, LeaseMonitors
from tus_wsgi.lockers.lease.records import Claim, LeaseRecord, LeaseTiming, OutcomeUnknown
from tus_wsgi.lockers.queue import QueueEntry

ID = UploadId("a")
TIMING = LeaseTiming()
CALL_TIMEOUT = 1.0

T = TypeVar("T")


class Simulation:
    """Simulated time, and greenlets that run at given times."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hosts: list[Host] = []
        self._events: list[tuple[float, int, Host | None, greenlet]] = []
        self._numbers = itertools.count()
        self._main = getcurrent()
        self.host: Host | None = None
        # Garbage collection would kill these greenlets and run their `finally` blocks, which no
        # dead process does.
        self._dead: list[greenlet] = []
        self.has_ended = False
        self.after_each_event: Callable[[], None] = lambda: None

    def spawn(self, run: Callable[[], None], *, host: Host | None = None, at: float = 0.0) -> None:
        self._push(at, host, greenlet(run, parent=self._main))

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self._push(self.now + seconds, self.host, getcurrent())
        self._main.switch()

    def run(self, until: float) -> None:
        """Run all greenlets that are due up to this time, in the order of their times.

        The greenlets of a dead host never run. Those of a stopped host wait until it resumes.
        """
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
            self.after_each_event()
        self.now = max(self.now, until)

    def close(self) -> None:
        """Kill all greenlets that have not ended."""
        self.has_ended = True
        self._dead.clear()
        self._events.clear()

    def _push(self, at: float, host: Host | None, task: greenlet) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), host, task))


class Host:
    """A process on a host of its own, with its own clock."""

    def __init__(self, simulation: Simulation, *, offset: float = 0.0, rate: float = 1.0) -> None:
        self.simulation = simulation
        self.stopped_until = 0.0
        self.is_dead = False
        self._offset = offset
        self._rate = rate
        self.waiter_id = f"waiter{len(simulation.hosts)}"
        self.monitors = LeaseMonitors(self.waiter_id, TIMING)
        self.events: list[LockEvent] = []
        self.leases: list[Lease] = []
        simulation.hosts.append(self)

    def clock(self) -> float:
        return self._offset + self.simulation.now * self._rate

    def sleep(self, seconds: float) -> None:
        self.simulation.sleep(seconds / self._rate)

    def kill(self, *, at: float) -> None:
        self.simulation.spawn(lambda: setattr(self, "is_dead", True), at=at)

    def stop(self, *, at: float, until: float) -> None:
        self.simulation.spawn(lambda: setattr(self, "stopped_until", until), at=at)


class Network:
    """Records behind a network with latency that loses calls and responses."""

    def __init__(
        self, simulation: Simulation, rng: random.Random | None = None, fault_rate: float = 0
    ) -> None:
        self.store = MemoryRecords()
        self._simulation = simulation
        self._rng = rng
        self.fault_rate = fault_rate
        self.is_down = False

    @property
    def keeps_fences(self) -> bool:
        return True

    def check(self) -> None:
        pass

    def set_down(self, is_down: bool, *, at: float) -> None:
        self._simulation.spawn(lambda: setattr(self, "is_down", is_down), at=at)

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

    def release(
        self, name: str, held: LeaseRecord, *, heartbeat_id: str, is_needed: bool = True
    ) -> None:
        self._call(
            lambda: self.store.release(name, held, heartbeat_id=heartbeat_id, is_needed=is_needed)
        )

    def _call(self, operation: Callable[[], T]) -> T:
        """Carry out a call, unless the network is down or the call is lost, or carry it out late.

        Raises:
            OutcomeUnknown: there was no response.
        """
        rng, simulation = self._rng, self._simulation
        if simulation.has_ended:
            raise OutcomeUnknown("call")
        if self.is_down:
            simulation.sleep(CALL_TIMEOUT)
            raise OutcomeUnknown("call")
        if rng is None:
            return operation()
        simulation.sleep(rng.random() * 0.05)
        if rng.random() < self.fault_rate:
            fault = rng.choice(["lost", "lost response", "late"])
            if fault == "lost response":
                operation()
            elif fault == "late":
                late_by = rng.random() * 15
                simulation.spawn(lambda: discard_result(operation), at=simulation.now + late_by)
            simulation.sleep(CALL_TIMEOUT)
            raise OutcomeUnknown("call")
        found = operation()
        simulation.sleep(rng.random() * 0.05)
        return found


def discard_result(operation: Callable[[], object]) -> None:
    operation()


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with new_simulation() as simulation:
        yield simulation


@contextmanager
def new_simulation() -> Iterator[Simulation]:
    """Create a simulation, and replace the clocks of leases by those of its hosts."""
    simulation = Simulation()

    def current_host() -> Host:
        host = simulation.hosts[0] if simulation.has_ended else simulation.host
        assert host is not None
        return host

    clock = SimpleNamespace(
        monotonic=lambda: current_host().clock(),
        sleep=lambda seconds: current_host().sleep(seconds),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        patch.setattr(module, "uptime", lambda: current_host().clock())
        yield simulation
        simulation.close()


class Request:
    """A request on a host that acquires the lock, holds it, and releases it.

    Args:
        host: runs the request.
        network: connects it to the records.
        hold: seconds for which it holds the lock.
        releases_on_request: whether a release request ends the hold earlier.
        timeout: seconds for which it waits for the lock.
        finds_nothing: whether the upload does not exist, so that its lock needs no record.
    """

    def __init__(
        self,
        host: Host,
        network: Network,
        *,
        hold: float = 0.0,
        releases_on_request: bool = True,
        timeout: float = 5.0,
        finds_nothing: bool = False,
    ) -> None:
        self.host = host
        self.finds_nothing = finds_nothing
        self.releases_on_request = releases_on_request
        self.hold = hold
        self.timeout = timeout
        self.requested_at: list[float] = []
        self.acquired_at = -1.0
        self.ended_at = -1.0
        self.error: Exception | None = None
        self.entry = QueueEntry(lambda: self.requested_at.append(host.simulation.now))
        self.lease = Lease(
            ID,
            self.entry,
            network,
            waiter_id=host.waiter_id,
            timing=TIMING,
            on_event=host.events.append,
        )
        host.leases.append(self.lease)

    def start(self, at: float = 0.0) -> Request:
        self.host.simulation.spawn(self.run, host=self.host, at=at)
        return self

    def run(self) -> None:
        """Acquire the lock, hold it for a while or until a request asks for it, and release it."""
        host, simulation, lease = self.host, self.host.simulation, self.lease
        try:
            with host.monitors.monitor(ID) as monitor:
                lease.acquire(host.clock() + self.timeout, monitor)
            self.acquired_at = simulation.now
            schedule(host, lease.renew, lease.next_renewal())
            self.entry.mark_held()
            end = simulation.now + self.hold
            while simulation.now < end:
                if self.releases_on_request and self.requested_at:
                    break
                host.sleep(0.1)
                lease.assert_held()
            if self.finds_nothing:
                lease.mark_unused()
        except (UploadLocked, LockerUnavailable, LockLost) as error:
            self.error = error
        finally:
            self.entry.mark_released()
            if not lease.release():
                schedule(host, lease.release_again, TIMING.poll)
            self.ended_at = simulation.now


def schedule(host: Host, task: Callable[[], float | None], after: float) -> None:
    """Run a task repeatedly, as `Scheduler` does."""

    def run() -> None:
        pause: float | None = after
        while pause is not None:
            host.sleep(pause)
            pause = task()

    host.simulation.spawn(run, host=host, at=host.simulation.now)


def is_valid(lease: Lease, host: Host) -> bool:
    return (
        lease._entry._held
        and lease._lost is None
        and not lease._has_ended
        and host.clock() < lease._valid_until
    )


def check_exclusion(simulation: Simulation) -> None:
    """Assert after each further event that at most one lease is valid."""

    def check() -> None:
        valid = [
            (host.waiter_id, lease.fence)
            for host in simulation.hosts
            for lease in host.leases
            if not host.is_dead and is_valid(lease, host)
        ]
        assert len(valid) <= 1, valid

    simulation.after_each_event = check


def test_a_stalled_holder_releases_the_lock_within_two_seconds(simulation: Simulation) -> None:
    network = Network(simulation)
    first = Request(Host(simulation), network, hold=60).start()
    second = Request(Host(simulation, offset=1e6), network).start(at=10.01)
    simulation.run(30)
    assert first.error is second.error is None
    assert second.acquired_at - 10.01 <= TIMING.heartbeat + TIMING.poll + 0.05
    assert second.lease.fence == 2


def test_a_holder_without_waiters_keeps_the_lock(simulation: Simulation) -> None:
    network = Network(simulation)
    first = Request(Host(simulation), network, hold=600).start()
    simulation.run(599)
    assert first.ended_at < 0
    assert not first.requested_at
    simulation.run(700)
    assert first.error is None
    assert network.store.records[record_name(ID)].holder == ""


def test_the_lock_of_a_dead_holder_expires_after_one_lease(simulation: Simulation) -> None:
    network = Network(simulation)
    dying, other = Host(simulation), Host(simulation, offset=-1e5)
    Request(dying, network, hold=60).start()
    dying.kill(at=20.0)
    second = Request(other, network, timeout=30).start(at=20.1)
    simulation.run(60)
    assert TIMING.lease - TIMING.heartbeat < second.acquired_at - 20.1
    assert second.acquired_at - 20.1 <= TIMING.lease + TIMING.poll
    assert other.events == [LockTakenOver(ID, 2)]


def test_a_waiter_on_another_host_continues_from_the_observation_of_the_last_one(
    simulation: Simulation,
) -> None:
    """Clients time out after five seconds, and retry on another host."""
    network = Network(simulation)
    dying = Host(simulation)
    Request(dying, network, hold=60).start()
    dying.kill(at=20.0)
    first = Request(Host(simulation), network).start(at=20.1)
    second = Request(Host(simulation), network).start(at=26.1)
    simulation.run(60)
    assert isinstance(first.error, UploadLocked)
    assert second.acquired_at - 20.1 < 7.5


def test_a_stopped_holder_detects_the_loss_before_it_does_anything(
    simulation: Simulation,
) -> None:
    network = Network(simulation)
    stopped = Host(simulation)
    first = Request(stopped, network, hold=60).start()
    stopped.stop(at=20.0, until=30.0)
    second = Request(Host(simulation), network, hold=60, timeout=30).start(at=20.5)
    check_exclusion(simulation)
    simulation.run(40)
    assert 26 < second.acquired_at < 27
    assert isinstance(first.error, LockLost)
    assert first.ended_at == 30.0
    assert stopped.events == [LeaseLost(ID, "the lock could not be renewed in time")]
    assert second.ended_at < 0, "the release of the first request released the second one's lock"


def test_a_holder_without_heartbeats_detects_the_loss(simulation: Simulation) -> None:
    network = Network(simulation)
    request = Request(Host(simulation), network, hold=60)
    request.lease.renew = lambda: None  # type: ignore[method-assign]
    request.start()
    simulation.run(30)
    assert isinstance(request.error, LockLost)
    expiry = TIMING.lease - TIMING.margin
    assert expiry <= request.ended_at <= expiry + 0.1


def test_a_holder_that_cannot_reach_the_service_stops_before_the_lease_ends(
    simulation: Simulation,
) -> None:
    network = Network(simulation)
    request = Request(Host(simulation), network, hold=60).start()
    network.set_down(True, at=10.0)
    simulation.run(30)
    assert isinstance(request.error, LockLost)
    assert request.ended_at - 10.0 < TIMING.lease - TIMING.margin + 1.1
    assert request.requested_at, "its body was not interrupted"


@pytest.mark.parametrize(
    "found", [LeaseRecord(), LeaseRecord(holder="another", heartbeat_id="b", fence=9)]
)
def test_a_holder_whose_record_changed_has_lost_the_lock(
    simulation: Simulation, found: LeaseRecord
) -> None:
    network = Network(simulation)
    request = Request(Host(simulation), network, hold=60).start()
    simulation.spawn(lambda: network.store.records.update({record_name(ID): found}), at=3.1)
    simulation.run(30)
    assert isinstance(request.error, LockLost)
    assert request.error.reason == "the lock has passed to another holder"
    assert 3.1 < request.ended_at <= 4.6
    assert network.store.records[record_name(ID)] == found


def test_a_waiter_that_cannot_reach_the_service_fails(simulation: Simulation) -> None:
    network = Network(simulation)
    network.is_down = True
    request = Request(Host(simulation), network).start()
    simulation.run(30)
    assert isinstance(request.error, LockerUnavailable)


def test_an_acquisition_whose_response_was_lost_is_recognized(simulation: Simulation) -> None:
    network = Network(simulation)
    try_acquire = network.store.try_acquire
    claims: list[Claim] = []

    def lose_first_response(name: str, claim: Claim) -> LeaseRecord:
        claims.append(claim)
        found = try_acquire(name, claim)
        if len(claims) == 1:
            simulation.sleep(CALL_TIMEOUT)
            raise OutcomeUnknown("try_acquire")
        return found

    network.store.try_acquire = lose_first_response  # type: ignore[method-assign]
    request = Request(Host(simulation), network, hold=0.3).start()
    simulation.run(10)
    assert request.error is None
    assert len(claims) == 2
    assert request.acquired_at < CALL_TIMEOUT + 0.1
    # The lease starts when the first call was sent.
    assert request.lease._valid_until == TIMING.lease - TIMING.margin


def test_a_lock_that_may_have_been_acquired_is_released(simulation: Simulation) -> None:
    network = Network(simulation)
    try_acquire = network.store.try_acquire

    def lose_response(name: str, claim: Claim) -> LeaseRecord:
        try_acquire(name, claim)
        simulation.sleep(CALL_TIMEOUT)
        raise OutcomeUnknown("try_acquire")

    network.store.try_acquire = lose_response  # type: ignore[method-assign]
    request = Request(Host(simulation), network, timeout=0.5).start()
    simulation.run(10)
    assert isinstance(request.error, LockerUnavailable)
    assert network.store.records[record_name(ID)].holder == ""


def test_a_failed_release_is_retried(simulation: Simulation) -> None:
    network = Network(simulation)
    first = Request(Host(simulation), network, hold=1).start()
    network.set_down(True, at=0.9)
    network.set_down(False, at=2.5)
    second = Request(Host(simulation), network).start(at=2.6)
    simulation.run(10)
    assert first.error is second.error is None
    assert second.acquired_at < 4


def test_a_busy_process_does_not_starve_another(simulation: Simulation) -> None:
    """A released lock is reserved for the waiter that requested it."""
    network = Network(simulation)
    busy = Host(simulation)

    def run_requests() -> None:
        for _ in range(200):
            Request(busy, network, hold=0.1, timeout=60).run()

    simulation.spawn(run_requests, host=busy)
    second = Request(Host(simulation), network, hold=0.1).start(at=5.0)
    simulation.run(30)
    assert second.error is None
    assert second.acquired_at - 5.0 < 1.0


@pytest.mark.parametrize("timeout", [0.0, 1.0, 2.5])
def test_waiters_with_a_short_timeout_take_over_from_a_dead_holder(
    simulation: Simulation, timeout: float
) -> None:
    """`TUS_ACQUIRE_LOCK_TIMEOUT` may be shorter than a lease."""
    network, dying, other = Network(simulation), Host(simulation), Host(simulation)
    Request(dying, network, hold=100).start()
    dying.kill(at=1.0)
    requests = [Request(other, network, timeout=timeout).start(at=2 + 3 * n) for n in range(6)]
    simulation.run(30)
    acquired_at = [request.acquired_at for request in requests if request.error is None]
    assert TIMING.lease < acquired_at[0] < 1 + TIMING.lease + 2 * 3
    assert [type(event) for event in other.events] == [LockTakenOver]


def test_a_free_lock_is_not_taken_over(simulation: Simulation) -> None:
    network, other = Network(simulation), Host(simulation)
    Request(Host(simulation), network, hold=10, releases_on_request=False).start()
    first = Request(other, network, timeout=0.0).start(at=1.0)
    second = Request(other, network, timeout=0.0).start(at=20.0)
    simulation.run(30)
    assert isinstance(first.error, UploadLocked)
    assert second.error is None
    assert other.events == []


def test_the_oldest_monitors_are_evicted() -> None:
    monitors = LeaseMonitors("waiter", TIMING, max_count=2)
    for id in ("a", "b", "c"):
        with suppress(UploadLocked), monitors.monitor(UploadId(id)) as monitor:
            monitor.observe(LeaseRecord(holder="x", heartbeat_id="x.1"), 1.0)
            raise UploadLocked
    is_kept = []
    for id in ("a", "b", "c"):
        with monitors.monitor(UploadId(id)) as monitor:
            is_kept.append(monitor.seen is not None)
    assert is_kept == [False, True, True]


def test_a_reservation_expires(simulation: Simulation) -> None:
    network = Network(simulation)
    waiting = Host(simulation)
    Request(Host(simulation), network, hold=2).start()
    Request(waiting, network).start(at=0.1)
    waiting.kill(at=0.3)
    third = Request(Host(simulation), network).start(at=1.0)
    simulation.run(30)
    assert third.error is None
    assert third.acquired_at < 2 + TIMING.reserve + 2 * TIMING.poll


def test_the_age_of_a_heartbeat_counts_from_the_first_response_that_contains_it() -> None:
    monitor = LeaseMonitor("waiter", TIMING)
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
def test_two_leases_are_never_valid_at_the_same_time(seed: int) -> None:
    """Whatever host stops or dies, whatever call is late or lost, at any speed of the clocks."""
    rng = random.Random(seed)
    with new_simulation() as simulation:
        network = Network(simulation, rng, fault_rate=rng.choice([0.0, 0.05, 0.3]))
        check_exclusion(simulation)
        requests = []
        for _ in range(4):
            host = Host(simulation, offset=rng.uniform(-1e6, 1e6), rate=rng.uniform(0.98, 1.02))
            for _ in range(5):
                request = Request(
                    host,
                    network,
                    hold=rng.choice([0.1, 1.0, 10.0]),
                    releases_on_request=rng.random() < 0.7,
                    timeout=rng.choice([1.0, 5.0, 20.0]),
                    finds_nothing=rng.random() < 0.5,
                )
                requests.append(request.start(at=rng.uniform(0, 60)))
            for _ in range(rng.randrange(3)):
                at = rng.uniform(0, 60)
                host.stop(at=at, until=at + rng.uniform(0, 15))
        dying = rng.choice(simulation.hosts)
        dying.kill(at=rng.uniform(0, 120))
        simulation.run(200)
        survivors = [request for request in requests if request.host is not dying]
        assert all(request.ended_at >= 0 for request in survivors), "a request hangs"
        # Without faults the lock can be acquired again.
        simulation.after_each_event = lambda: None
        network.fault_rate = 0
        last = Request(Host(simulation), network, timeout=20).start(at=simulation.now)
        simulation.run(simulation.now + 30)
        assert last.error is None
