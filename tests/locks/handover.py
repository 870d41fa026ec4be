"""How long a request waits for a lock whose holder is at work, or silent, or dead, or stopped.

It is what a client sees that does as it is told: refused after `TIMEOUT`, it comes again a second
later, and reaches the next host. Each process stands for a host. Seconds are `float`.
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
from tests.lockers.locking import ForkServer, Peer

TIMEOUT = 5.0
"""The default of `TUS_ACQUIRE_LOCK_TIMEOUT`."""

RETRY_AFTER = 1.0
"""What a refused client is told."""

PATIENCE = 120.0

BATCH = 5


class Holder(StrEnum):
    """What has become of the one who has the lock."""

    HEALTHY = "healthy"
    """At work: it ends as soon as it is asked."""
    STALLED = "stalled"
    """Waiting for a client that sends nothing."""
    KILLED = "killed"
    """Dead, by kill -9."""
    STOPPED = "stopped"
    """Standing still, by SIGSTOP."""


class Host:
    """A process with a locker, and all that it has said."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._heard = threading.Condition()
        self._said: dict[tuple[str, str], float] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._peer.pid

    def say(self, *words: str) -> None:
        self._peer.talk.say(*words)

    def hear(self, id: str, *verbs: str) -> tuple[str, float]:
        """The first of the verbs that was said of `id`, and when; it is then forgotten."""
        deadline = time.monotonic() + PATIENCE
        with self._heard:
            while True:
                for verb in verbs:
                    if (verb, id) in self._said:
                        return verb, self._said.pop((verb, id))
                assert time.monotonic() < deadline, f"no {verbs} of {id}"
                self._heard.wait(1)

    def _read(self) -> None:
        for line in self._peer.talk.lines():
            verb, *middle, number = line.split()
            if middle:
                with self._heard:
                    self._said[verb, middle[0]] = float(number)
                    self._heard.notify_all()


@contextmanager
def hosts(spec: LockerSpec, count: int, nursery: ForkServer) -> Iterator[list[Host]]:
    with ExitStack() as stack:
        peers = [
            stack.enter_context(closing(nursery.peer(spec, timeout=TIMEOUT))) for _ in range(count)
        ]
        for peer in peers:
            peer.talk.set_patience(None)
        yield [Host(peer) for peer in peers]


def targets(kind: str) -> dict[Holder, float]:
    """Seconds until a lock has passed on, by what has become of its holder."""
    if kind in LEASE_KINDS:
        return {
            Holder.HEALTHY: 2.5,
            Holder.STALLED: 2.5,
            Holder.KILLED: 9.0,
            Holder.STOPPED: 9.0,
        }
    alive = {Holder.HEALTHY: 0.5, Holder.STALLED: 0.5}
    # A stopped process keeps the kernel's locks, and memory dies with its only one.
    return alive if kind == "memory" else {**alive, Holder.KILLED: 0.2}


def side_by_side(kind: str) -> list[tuple[Holder, ...]]:
    """What is measured at the same time. With leases most of it is waiting."""
    if kind in LEASE_KINDS:
        return [(Holder.HEALTHY, Holder.STALLED), (Holder.KILLED, Holder.STOPPED)]
    return [(holder,) for holder in targets(kind)]


def measure_all(
    spec: LockerSpec, holders: Collection[Holder], nursery: ForkServer, *, samples: int
) -> dict[Holder, list[float]]:
    """`load_offset` for several holders at the same time."""
    with ThreadPoolExecutor(len(holders)) as executor:
        work = {
            holder: executor.submit(load_offset, spec, holder, nursery, samples=samples)
            for holder in holders
        }
    return {holder: future.result() for holder, future in work.items()}


def load_offset(
    spec: LockerSpec, holder: Holder, nursery: ForkServer, *, samples: int
) -> list[float]:
    """Seconds from a successor's request to its turn, in ascending order.

    A few locks are measured side by side, and no more: the machine's speed is not what is asked.
    """
    waited: list[float] = []
    while len(waited) < samples:
        waited += _measure(spec, holder, nursery, min(BATCH, samples - len(waited)))
    return sorted(waited)


def _measure(spec: LockerSpec, holder: Holder, nursery: ForkServer, samples: int) -> list[float]:
    # Memory is one process's own, and so are its requests.
    count = 1 if spec.kind == "memory" else 3
    with hosts(spec, count, nursery) as [first, *others]:
        ids = [f"{holder}-{secrets.token_hex(4)}" for _ in range(samples)]
        verb = "stalled" if holder is Holder.STALLED else "polite"
        for id in ids:
            first.say(verb, id)
            if spec.kind in LEASE_KINDS:
                time.sleep(random.random() * 0.5)  # so that their heartbeats differ
        for id in ids:
            first.hear(id, "locked")
        if holder is Holder.KILLED:
            os.kill(first.pid, signal.SIGKILL)
        elif holder is Holder.STOPPED:
            os.kill(first.pid, signal.SIGSTOP)
        try:
            return _succeed(ids, others or [first])
        finally:
            if holder is Holder.STOPPED:
                os.kill(first.pid, signal.SIGKILL)


def _succeed(ids: list[str], hosts: list[Host]) -> list[float]:
    waited: dict[str, float] = {}

    def run(id: str) -> None:
        delay = random.random() * 2
        time.sleep(delay)
        began = time.monotonic()
        turn = random.randrange(len(hosts))
        while True:
            host = hosts[turn % len(hosts)]
            host.say("lock", id)
            verb, when = host.hear(id, "locked", "refused")
            if verb == "locked":
                waited[id] = when - began
                host.say("release", id)
                return
            time.sleep(RETRY_AFTER)
            turn += 1

    threads = [threading.Thread(target=run, args=(id,)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waited) == len(ids), "somebody never had a turn"
    return list(waited.values())


def percentile(sorted_values: list[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    index = -(-len(sorted_values) * percent // 100)
    return sorted_values[max(0, index - 1)]
