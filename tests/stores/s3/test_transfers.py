"""The parts of one request on their way to S3: several at once, and none after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.harness.bodies import PATIENCE
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.transfers import MAX_PARTS_IN_FLIGHT, PartPipeline

BUDGET = 1000


class Road:
    """Where parts go, under the control of the test.

    Attributes:
        begun: the numbers of the parts that S3 was asked to take, in order.
        most: how many were on their way at once.
        told: the numbers of the parts that the request was told S3 has, each time.
    """

    def __init__(self) -> None:
        self.spool = Spool(BUDGET)
        self.begun: list[int] = []
        self.most = 0
        self.failures: dict[int, BaseException] = {}
        self.gates: dict[int, threading.Event] = {}
        self.told: list[list[int]] = []
        self._running = 0
        self._mutex = threading.Lock()

    def pipeline(self, executor: ThreadPoolExecutor) -> PartPipeline:
        def on_parts(parts: list[Part]) -> None:
            self.told.append([part.number for part in parts])

        return PartPipeline(executor, self.upload, on_parts)

    def upload(self, number: int, part: SpooledPart) -> Part:
        with self._mutex:
            self.begun.append(number)
            self._running += 1
            self.most = max(self.most, self._running)
        if number in self.gates:
            assert self.gates[number].wait(PATIENCE)
        with self._mutex:
            self._running -= 1
        if number in self.failures:
            raise self.failures[number]
        return Part(number, part.size, f'"{bytes(part.content())!r}"')  # type: ignore[arg-type]

    def gate(self, *numbers: int) -> threading.Event:
        """Hold these parts until the event is set."""
        event = threading.Event()
        self.gates |= dict.fromkeys(numbers, event)
        return event

    def part(self, size: int = 10) -> SpooledPart:
        part = self.spool.part(size, size)
        part.write(b"x" * size)
        return part

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)


def submit_all(pipeline: PartPipeline, road: Road, numbers: range) -> None:
    for number in numbers:
        pipeline.submit(number, road.part())


@pytest.fixture
def road() -> Iterator[Road]:
    road = Road()
    yield road
    for event in road.gates.values():
        event.set()
    road.wait_for(lambda: road.spool.memory.available == BUDGET)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * MAX_PARTS_IN_FLIGHT) as executor:
        yield executor


def test_parts_are_told_in_the_order_of_their_numbers(
    road: Road, executor: ThreadPoolExecutor
) -> None:
    first = road.gate(1)
    with road.pipeline(executor) as pipeline:
        for number in (1, 2, 3):
            pipeline.submit(number, road.part(number))
        road.wait_for(lambda: len(road.begun) == 3)
        first.set()
        parts = pipeline.wait()
    assert [(part.number, part.size) for part in parts] == [(1, 1), (2, 2), (3, 3)]


def test_without_parts_there_is_nothing_to_wait_for(
    road: Road, executor: ThreadPoolExecutor
) -> None:
    with road.pipeline(executor) as pipeline:
        assert pipeline.wait() == []


def test_no_more_than_a_fair_share_is_on_its_way(road: Road, executor: ThreadPoolExecutor) -> None:
    """Beyond it the client has to wait: that is the back-pressure."""
    gate = road.gate(*range(1, MAX_PARTS_IN_FLIGHT + 1))
    with road.pipeline(executor) as pipeline:
        for number in range(1, MAX_PARTS_IN_FLIGHT + 1):
            pipeline.submit(number, road.part())
        late = threading.Thread(target=pipeline.submit, args=(MAX_PARTS_IN_FLIGHT + 1, road.part()))
        late.start()
        late.join(0.1)
        assert late.is_alive()
        gate.set()
        late.join(PATIENCE)
        assert len(pipeline.wait()) == MAX_PARTS_IN_FLIGHT + 1
    assert road.most <= MAX_PARTS_IN_FLIGHT


def test_one_upload_leaves_slots_to_another(road: Road) -> None:
    """However much it has to send, and however slow S3 is with it."""
    gate = road.gate(*range(1, MAX_PARTS_IN_FLIGHT + 2))
    with ThreadPoolExecutor(MAX_PARTS_IN_FLIGHT + 1) as executor, road.pipeline(executor) as greedy:
        numbers = range(1, MAX_PARTS_IN_FLIGHT + 2)
        sender = threading.Thread(target=submit_all, args=(greedy, road, numbers))
        sender.start()
        road.wait_for(lambda: len(road.begun) == MAX_PARTS_IN_FLIGHT)
        with road.pipeline(executor) as modest:
            for number in (100, 101, 102):
                modest.submit(number, road.part())
            assert [part.number for part in modest.wait()] == [100, 101, 102]
        assert sorted(road.begun)[:-3] == list(range(1, MAX_PARTS_IN_FLIGHT + 1))
        gate.set()
        sender.join(PATIENCE)
        assert len(greedy.wait()) == MAX_PARTS_IN_FLIGHT + 1


def test_uploads_take_turns_where_slots_are_few(road: Road) -> None:
    """A part waits for those that were there before it, and for no more of the same upload."""
    gate = road.gate(1)
    with (
        ThreadPoolExecutor(1) as narrow,
        road.pipeline(narrow) as greedy,
        road.pipeline(narrow) as modest,
    ):
        submit_all(greedy, road, range(1, MAX_PARTS_IN_FLIGHT + 1))
        later = range(MAX_PARTS_IN_FLIGHT + 1, 2 * MAX_PARTS_IN_FLIGHT)
        sender = threading.Thread(target=submit_all, args=(greedy, road, later))
        sender.start()
        modest.submit(100, road.part())
        gate.set()
        modest.wait()
        assert road.begun.index(100) == MAX_PARTS_IN_FLIGHT
        sender.join(PATIENCE)
        greedy.wait()


def test_each_part_is_closed_when_it_has_arrived(road: Road, executor: ThreadPoolExecutor) -> None:
    gate = road.gate(2)
    with road.pipeline(executor) as pipeline:
        pipeline.submit(1, road.part(100))
        pipeline.submit(2, road.part(50))
        road.wait_for(lambda: road.spool.memory.available == BUDGET - 50)
        gate.set()
        pipeline.wait()
    assert road.spool.memory.available == BUDGET


@pytest.mark.parametrize("error", [StoreUnavailable("UploadPart"), LockLost("gone"), OSError()])
def test_after_a_failure_nothing_more_is_begun(
    road: Road, executor: ThreadPoolExecutor, error: Exception
) -> None:
    road.failures = {1: error}
    with road.pipeline(executor) as pipeline:
        pipeline.submit(1, road.part())
        road.wait_for(pipeline._failed.is_set)
        with pytest.raises(type(error)) as caught:
            submit_all(pipeline, road, range(2, 20))
    assert caught.value is error
    assert road.begun == [1]
    assert road.spool.memory.available == BUDGET


def test_the_first_failure_is_the_news(road: Road, executor: ThreadPoolExecutor) -> None:
    """And not that later parts were not begun because of it."""
    error = StoreUnavailable("UploadPart")
    road.failures = {2: error}
    gate = road.gate(2)
    with road.pipeline(executor) as pipeline:
        submit_all(pipeline, road, range(1, MAX_PARTS_IN_FLIGHT + 1))
        gate.set()
        with pytest.raises(StoreUnavailable) as caught:
            pipeline.wait()
    assert caught.value is error


def test_the_request_is_told_how_far_the_parts_are_without_a_gap(
    road: Road, executor: ThreadPoolExecutor
) -> None:
    gate = road.gate(6)
    with road.pipeline(executor) as pipeline:
        submit_all(pipeline, road, range(5, 9))
        road.wait_for(lambda: road.spool.memory.available == BUDGET - 10)
        pipeline.submit(9, road.part())
        assert set(map(tuple, road.told)) <= {(5,)}
        gate.set()
        pipeline.wait()
    assert road.told[-1] == [5, 6, 7, 8, 9]


def test_the_request_is_told_nothing_while_the_first_part_is_missing(
    road: Road, executor: ThreadPoolExecutor
) -> None:
    """R-42: no parts would reach less far than the tail that the first one swallows."""
    gate = road.gate(5)
    with road.pipeline(executor) as pipeline:
        submit_all(pipeline, road, range(5, 9))
        road.wait_for(lambda: road.spool.memory.available == BUDGET - 10)
        pipeline.submit(9, road.part())
        assert road.told == []
        gate.set()
        pipeline.wait()
    assert road.told[-1] == [5, 6, 7, 8, 9]


def test_leaving_waits_for_what_has_begun(road: Road, executor: ThreadPoolExecutor) -> None:
    """Otherwise a part could arrive after the upload's lock has passed on."""
    gate = road.gate(1)
    left = threading.Event()

    def use() -> None:
        with suppress(ValueError), road.pipeline(executor) as pipeline:
            pipeline.submit(1, road.part())
            raise ValueError
        left.set()

    thread = threading.Thread(target=use)
    thread.start()
    road.wait_for(lambda: road.begun == [1])
    assert not left.wait(0.05)
    gate.set()
    thread.join(PATIENCE)
    assert left.is_set()


def test_what_is_queued_when_the_request_fails_is_not_begun(road: Road) -> None:
    gate = road.gate(1)
    with ThreadPoolExecutor(1) as narrow:
        with suppress(ValueError), road.pipeline(narrow) as pipeline:
            pipeline.submit(1, road.part())
            pipeline.submit(2, road.part())
            road.wait_for(lambda: road.begun == [1])
            threading.Timer(0.05, gate.set).start()
            raise ValueError
        assert road.begun == [1]
        assert road.spool.memory.available == BUDGET


def test_slots_are_shared_and_a_stalled_request_holds_none(road: Road) -> None:
    """Ten idle uploads do not block an eleventh: a slot is held only while S3 is talked to."""
    with ThreadPoolExecutor(1) as narrow:
        idle = [road.pipeline(narrow) for _ in range(10)]
        for number, pipeline in enumerate(idle):
            pipeline.submit(number, road.part())
        with road.pipeline(narrow) as busy:
            busy.submit(100, road.part())
            assert [part.number for part in busy.wait()] == [100]
        for pipeline in idle:
            pipeline.wait()
