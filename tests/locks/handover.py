"""Measures how long a request waits for a lock whose holder works, stalls, is killed or is stopped.

The waiting client behaves as the responses tell it: after a timeout (`TIMEOUT`) it retries a second
later, on the next host. Each process stands for a host. All times are seconds.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum

from tests.harness.lockers import LEASE_KINDS, LockerSpec
from tests.lockers.locking import ForkServer, LockerProcess

TIMEOUT = 5.0
"""The default of `TUS_ACQUIRE_LOCK_TIMEOUT`."""

RETRY_AFTER = 1.0
"""The value of the `Retry-After` header field in a 423 response."""

MAX_WAIT = 120.0

MAX_CONCURRENT_SAMPLES = 5


class HolderState(StrEnum):
    """The state of the request that holds the lock."""

    HEALTHY = "healthy"
    """At work: it releases the lock as soon as it is asked."""
    STALLED = "stalled"
    """Blocked in a read from a client that sends nothing."""
    KILLED = "killed"
    """Killed with SIGKILL."""
    STOPPED = "stopped"
    """Stopped with SIGSTOP."""


class Host:
    """A process with a locker, and all its replies."""

    def __init__(self, process: LockerProcess) -> None:
        self._process = process
        self._changed = threading.Condition()
        self._replies: dict[tuple[str, str], float] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, *words: str) -> None:
        self._process.connection.send(*words)

    def expect(self, id: str, *kinds: str) -> tuple[str, float]:
        """Remove and return the first reply of these kinds about `id`, with its time."""
        deadline = time.monotonic() + MAX_WAIT
        with self._changed:
            while True:
                for kind in kinds:
                    if (kind, id) in self._replies:
                        return kind, self._replies.pop((kind, id))
                assert time.monotonic() < deadline, f"no reply {kinds} about {id}"
                self._changed.wait(1)

    def _read(self) -> None:
        for line in self._process.connection.lines():
            kind, *ids, number = line.split()
            if ids:
                with self._changed:
                    self._replies[kind, ids[0]] = float(number)
                    self._changed.notify_all()


@contextmanager
def running_hosts(spec: LockerSpec, count: int, fork_server: ForkServer) -> Iterator[list[Host]]:
    """Run processes with lockers until the block ends."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(closing(fork_server.start(spec, timeout=TIMEOUT)))
            for _ in range(count)
        ]
        for process in processes:
            process.connection.set_timeout(None)
        yield [Host(process) for process in processes]


def targets(kind: str) -> dict[HolderState, float]:
    """Return the seconds within which a lock should pass on, by the state of its holder."""
    if kind in LEASE_KINDS:
        return {
            HolderState.HEALTHY: 2.5,
            HolderState.STALLED: 2.5,
            HolderState.KILLED: 9.0,
            HolderState.STOPPED: 9.0,
        }
    alive = {HolderState.HEALTHY: 0.5, HolderState.STALLED: 0.5}
    # A stopped process keeps its kernel locks, and locks in memory die with the only process.
    return alive if kind == "memory" else {**alive, HolderState.KILLED: 0.2}


def concurrent_states(kind: str) -> list[tuple[HolderState, ...]]:
    """Return groups of states. The states of a group are measured at the same time.

    With leases, a group has two states, because a measurement mostly waits.
    """
    if kind in LEASE_KINDS:
        return [
            (HolderState.HEALTHY, HolderState.STALLED),
            (HolderState.KILLED, HolderState.STOPPED),
        ]
    return [(state,) for state in targets(kind)]


def measure_concurrently(
    spec: LockerSpec, states: Collection[HolderState], fork_server: ForkServer, *, samples: int
) -> dict[HolderState, list[float]]:
    """Call `measure` for several states at the same time."""
    with ThreadPoolExecutor(len(states)) as executor:
        futures = {
            state: executor.submit(measure, spec, state, fork_server, samples=samples)
            for state in states
        }
    return {state: future.result() for state, future in futures.items()}


def measure(
    spec: LockerSpec, state: HolderState, fork_server: ForkServer, *, samples: int
) -> list[float]:
    """Return the seconds from a waiter's first attempt to its acquisition, in ascending order.

    Only a few locks are measured at the same time, so that the machine's speed matters little.
    """
    waits: list[float] = []
    while len(waits) < samples:
        count = min(MAX_CONCURRENT_SAMPLES, samples - len(waits))
        waits += _measure_batch(spec, state, fork_server, count)
    return sorted(waits)


def _measure_batch(
    spec: LockerSpec, state: HolderState, fork_server: ForkServer, samples: int
) -> list[float]:
    """Bring holders of `samples` locks into a state, and measure the waits for these locks."""
    # Locks in memory are those of one process.
    count = 1 if spec.kind == "memory" else 3
    with running_hosts(spec, count, fork_server) as [first, *others]:
        ids = [f"{state}-{secrets.token_hex(4)}" for _ in range(samples)]
        command = "lock_stalled" if state is HolderState.STALLED else "lock_cooperative"
        for id in ids:
            first.send(command, id)
            if spec.kind in LEASE_KINDS:
                time.sleep(random.random() * 0.5)  # so that their heartbeats differ
        for id in ids:
            first.expect(id, "locked")
        if state is HolderState.KILLED:
            os.kill(first.pid, signal.SIGKILL)
        elif state is HolderState.STOPPED:
            os.kill(first.pid, signal.SIGSTOP)
        try:
            return _measure_waits(ids, others or [first])
        finally:
            if state is HolderState.STOPPED:
                os.kill(first.pid, signal.SIGKILL)


def _measure_waits(ids: list[str], hosts: list[Host]) -> list[float]:
    """Return the seconds after which each lock is acquired. The hosts take turns to try it."""
    waits: dict[str, float] = {}

    def run(id: str) -> None:
        """Acquire a lock, with retries through the hosts in turn, note the wait, and release it."""
        time.sleep(random.random() * 2)
        started = time.monotonic()
        attempt = random.randrange(len(hosts))
        while True:
            host = hosts[attempt % len(hosts)]
            host.send("lock", id)
            kind, at = host.expect(id, "locked", "timed_out")
            if kind == "locked":
                waits[id] = at - started
                host.send("release", id)
                return
            time.sleep(RETRY_AFTER)
            attempt += 1

    threads = [threading.Thread(target=run, args=(id,)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waits) == len(ids), "a waiter never acquired its lock"
    return list(waits.values())


def percentile(sorted_values: list[float], percent: int) -> float:
    """Return the smallest value that so many percent of the values do not exceed."""
    index = -(-len(sorted_values) * percent // 100)
    return sorted_values[max(0, index - 1)]
