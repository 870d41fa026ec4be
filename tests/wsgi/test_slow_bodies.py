"""Slow clients cannot take all connections of a process."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from tests.harness.timing import wait_until
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.wsgi import worker
from tus_wsgi.wsgi.connection import LingeringConnection
from tus_wsgi.wsgi.draining import LiveBodies
from tus_wsgi.wsgi.slow_bodies import MIN_CONNECTIONS, SLOW_RATE, SlowBodyLimit

FAST = float("inf")


class FakeBody:
    """A body of a rate, which ends as soon as it is interrupted."""

    def __init__(self, bodies: LiveBodies, rate: float) -> None:
        self.ends: list[BodyEnd] = []
        self.cut_short: BodyEnd | None = None
        self._bodies = bodies
        self._rate = rate
        bodies.add(self)

    def rate(self) -> float | None:
        return None if self.ends else self._rate

    def interrupt(self, end: BodyEnd, /) -> None:
        self.ends.append(end)
        self._bodies.remove(self)


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> LiveBodies:
    monkeypatch.setattr("tus_wsgi.wsgi.slow_bodies.INTERVAL", 0.01)
    bodies = LiveBodies()
    bodies.limit_slow(8)
    return bodies


def is_watching(bodies: LiveBodies) -> bool:
    return bodies._slow._is_watching


def test_the_slowest_bodies_end_until_a_quarter_of_the_connections_is_free(
    bodies: LiveBodies,
) -> None:
    made = [FakeBody(bodies, rate) for rate in (3, FAST, 2, 5, FAST, 1, 4, 6)]
    wait_until(lambda: not is_watching(bodies))
    assert [body._rate for body in made if body.ends] == [2, 1]
    assert made[2].ends == [BodyEnd.STALLED]


def test_fast_bodies_may_take_all_connections(bodies: LiveBodies) -> None:
    made = [FakeBody(bodies, rate) for rate in [FAST, SLOW_RATE, 10 * SLOW_RATE] * 3]
    assert is_watching(bodies)
    bodies._slow._end_slowest()
    assert not any(body.ends for body in made)
    for body in made[:3]:
        bodies.remove(body)
    wait_until(lambda: not is_watching(bodies))


def test_a_body_that_becomes_slow_ends_too(bodies: LiveBodies) -> None:
    made = [FakeBody(bodies, FAST) for _ in range(7)]
    made[4]._rate = 1
    wait_until(lambda: made[4].ends)
    wait_until(lambda: not is_watching(bodies))
    assert sum(bool(body.ends) for body in made) == 1


@pytest.mark.parametrize("connections", [None, MIN_CONNECTIONS - 1])
def test_without_known_connections_no_body_ends(connections: int | None) -> None:
    bodies = LiveBodies()
    bodies.limit_slow(connections)
    for _ in range(20):
        FakeBody(bodies, 0)
    assert not is_watching(bodies)


def test_few_bodies_start_no_thread(bodies: LiveBodies) -> None:
    for _ in range(6):
        FakeBody(bodies, 0)
    assert not is_watching(bodies)


def test_slow_bodies_end_after_no_thread_could_be_started(
    bodies: LiveBodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        made = [FakeBody(bodies, 1) for _ in range(7)]
    assert not is_watching(bodies)
    made.append(FakeBody(bodies, 1))
    wait_until(lambda: not is_watching(bodies))
    assert sum(bool(body.ends) for body in made) == 2


def test_the_limit_follows_from_the_worker() -> None:
    assert SlowBodyLimit(1000, list).limit == 750
    config = SimpleNamespace(worker_connections=1000, threads=16)
    for name, expected in [("GeventWorker", 1000), ("ThreadWorker", 16), ("SyncWorker", None)]:
        kind: Any = type(name, (), {"cfg": config, "alive": True})
        assert worker._connections_of(kind()) == expected
    assert worker._connections_of(None) is None


def test_a_lingering_connection_counts_as_slow() -> None:
    """A client of refused requests could otherwise take all connections, 30 seconds each."""
    server, client = socket.socketpair()
    with closing(server), closing(client):
        lingering = LingeringConnection(server, live=LiveBodies())
        assert lingering.rate() == FAST
        wait_until(lambda: lingering.rate() == 0)
        lingering.interrupt(BodyEnd.STALLED)
        assert lingering.rate() is None
