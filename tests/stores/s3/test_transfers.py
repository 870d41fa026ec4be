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


class FakeUploader:
    """Where parts go, under the control of the test.

    Attributes:
        begun: the numbers of the parts that S3 was asked to take, in order.
        most: how many were on their way at once.
        told: the numbers of the parts that the request was told S3 has, each time.
    """

    def __init__(self) -> None:
        self.spool = Spool(BUDGET)
        self.started: list[int] = []
        self.max_running = 0
        self.errors: dict[int, BaseException] = {}
        self._gates: dict[int, threading.Event] = {}
        self.reported: list[list[int]] = []
        self._running_count = 0
        self._mutex = threading.Lock()

    def pipeline(self, executor: ThreadPoolExecutor) -> PartPipeline:
        def on_parts(parts: list[Part]) -> None:
            self.reported.append([part.number for part in parts])

        return PartPipeline(executor, self.upload, on_parts)

    def upload(self, number: int, part: SpooledPart) -> Part:
        with self._mutex:
            self.started.append(number)
            self._running_count += 1
            self.max_running = max(self.max_running, self._running_count)
        if number in self._gates:
            assert self._gates[number].wait(PATIENCE)
        with self._mutex:
            self._running_count -= 1
        if number in self.errors:
            raise self.errors[number]
        return Part(number, part.size, f'"{bytes(part.content())!r}"')  # type: ignore[arg-type]

    def gate(self, *numbers: int) -> threading.Event:
        """Hold these parts until the event is set."""
        event = threading.Event()
        self._gates |= dict.fromkeys(numbers, event)
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


def submit_all(pipeline: PartPipeline, uploader: FakeUploader, numbers: range) -> None:
    for number in numbers:
        pipeline.submit(number, uploader.part())


@pytest.fixture
def uploader() -> Iterator[FakeUploader]:
    uploader = FakeUploader()
    yield uploader
    for event in uploader._gates.values():
        event.set()
    uploader.wait_for(lambda: uploader.spool.memory.available == BUDGET)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * MAX_PARTS_IN_FLIGHT) as executor:
        yield executor


def test_parts_are_told_in_the_order_of_their_numbers(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    first = uploader.gate(1)
    with uploader.pipeline(executor) as pipeline:
        for number in (1, 2, 3):
            pipeline.submit(number, uploader.part(number))
        uploader.wait_for(lambda: len(uploader.started) == 3)
        first.set()
        parts = pipeline.wait()
    assert [(part.number, part.size) for part in parts] == [(1, 1), (2, 2), (3, 3)]


def test_without_parts_there_is_nothing_to_wait_for(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    with uploader.pipeline(executor) as pipeline:
        assert pipeline.wait() == []


def test_no_more_than_a_fair_share_is_on_its_way(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """Beyond it the client has to wait: that is the back-pressure."""
    gate = uploader.gate(*range(1, MAX_PARTS_IN_FLIGHT + 1))
    with uploader.pipeline(executor) as pipeline:
        for number in range(1, MAX_PARTS_IN_FLIGHT + 1):
            pipeline.submit(number, uploader.part())
        late = threading.Thread(
            target=pipeline.submit, args=(MAX_PARTS_IN_FLIGHT + 1, uploader.part())
        )
        late.start()
        late.join(0.1)
        assert late.is_alive()
        gate.set()
        late.join(PATIENCE)
        assert len(pipeline.wait()) == MAX_PARTS_IN_FLIGHT + 1
    assert uploader.max_running <= MAX_PARTS_IN_FLIGHT


def test_one_upload_leaves_slots_to_another(uploader: FakeUploader) -> None:
    """However much it has to send, and however slow S3 is with it."""
    gate = uploader.gate(*range(1, MAX_PARTS_IN_FLIGHT + 2))
    with (
        ThreadPoolExecutor(MAX_PARTS_IN_FLIGHT + 1) as executor,
        uploader.pipeline(executor) as greedy,
    ):
        numbers = range(1, MAX_PARTS_IN_FLIGHT + 2)
        sender = threading.Thread(target=submit_all, args=(greedy, uploader, numbers))
        sender.start()
        uploader.wait_for(lambda: len(uploader.started) == MAX_PARTS_IN_FLIGHT)
        with uploader.pipeline(executor) as modest:
            for number in (100, 101, 102):
                modest.submit(number, uploader.part())
            assert [part.number for part in modest.wait()] == [100, 101, 102]
        assert sorted(uploader.started)[:-3] == list(range(1, MAX_PARTS_IN_FLIGHT + 1))
        gate.set()
        sender.join(PATIENCE)
        assert len(greedy.wait()) == MAX_PARTS_IN_FLIGHT + 1


def test_uploads_take_turns_where_slots_are_few(uploader: FakeUploader) -> None:
    """A part waits for those that were there before it, and for no more of the same upload."""
    gate = uploader.gate(1)
    with (
        ThreadPoolExecutor(1) as narrow,
        uploader.pipeline(narrow) as greedy,
        uploader.pipeline(narrow) as modest,
    ):
        submit_all(greedy, uploader, range(1, MAX_PARTS_IN_FLIGHT + 1))
        later = range(MAX_PARTS_IN_FLIGHT + 1, 2 * MAX_PARTS_IN_FLIGHT)
        sender = threading.Thread(target=submit_all, args=(greedy, uploader, later))
        sender.start()
        modest.submit(100, uploader.part())
        gate.set()
        modest.wait()
        assert uploader.started.index(100) == MAX_PARTS_IN_FLIGHT
        sender.join(PATIENCE)
        greedy.wait()


def test_each_part_is_closed_when_it_has_arrived(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    gate = uploader.gate(2)
    with uploader.pipeline(executor) as pipeline:
        pipeline.submit(1, uploader.part(100))
        pipeline.submit(2, uploader.part(50))
        uploader.wait_for(lambda: uploader.spool.memory.available == BUDGET - 50)
        gate.set()
        pipeline.wait()
    assert uploader.spool.memory.available == BUDGET


@pytest.mark.parametrize("error", [StoreUnavailable("UploadPart"), LockLost("gone"), OSError()])
def test_after_a_failure_nothing_more_is_begun(
    uploader: FakeUploader, executor: ThreadPoolExecutor, error: Exception
) -> None:
    uploader.errors = {1: error}
    with uploader.pipeline(executor) as pipeline:
        pipeline.submit(1, uploader.part())
        uploader.wait_for(pipeline._failed.is_set)
        with pytest.raises(type(error)) as caught:
            submit_all(pipeline, uploader, range(2, 20))
    assert caught.value is error
    assert uploader.started == [1]
    assert uploader.spool.memory.available == BUDGET


def test_the_first_failure_is_the_news(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """And not that later parts were not begun because of it."""
    error = StoreUnavailable("UploadPart")
    uploader.errors = {2: error}
    gate = uploader.gate(2)
    with uploader.pipeline(executor) as pipeline:
        submit_all(pipeline, uploader, range(1, MAX_PARTS_IN_FLIGHT + 1))
        gate.set()
        with pytest.raises(StoreUnavailable) as caught:
            pipeline.wait()
    assert caught.value is error


def test_the_request_is_told_how_far_the_parts_are_without_a_gap(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    gate = uploader.gate(6)
    with uploader.pipeline(executor) as pipeline:
        submit_all(pipeline, uploader, range(5, 9))
        uploader.wait_for(lambda: uploader.spool.memory.available == BUDGET - 10)
        pipeline.submit(9, uploader.part())
        assert set(map(tuple, uploader.reported)) <= {(5,)}
        gate.set()
        pipeline.wait()
    assert uploader.reported[-1] == [5, 6, 7, 8, 9]


def test_the_request_is_told_nothing_while_the_first_part_is_missing(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """R-42: no parts would reach less far than the tail that the first one swallows."""
    gate = uploader.gate(5)
    with uploader.pipeline(executor) as pipeline:
        submit_all(pipeline, uploader, range(5, 9))
        uploader.wait_for(lambda: uploader.spool.memory.available == BUDGET - 10)
        pipeline.submit(9, uploader.part())
        assert uploader.reported == []
        gate.set()
        pipeline.wait()
    assert uploader.reported[-1] == [5, 6, 7, 8, 9]


def test_leaving_waits_for_what_has_begun(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """Otherwise a part could arrive after the upload's lock has passed on."""
    gate = uploader.gate(1)
    left = threading.Event()

    def use() -> None:
        with suppress(ValueError), uploader.pipeline(executor) as pipeline:
            pipeline.submit(1, uploader.part())
            raise ValueError
        left.set()

    thread = threading.Thread(target=use)
    thread.start()
    uploader.wait_for(lambda: uploader.started == [1])
    assert not left.wait(0.05)
    gate.set()
    thread.join(PATIENCE)
    assert left.is_set()


def test_what_is_queued_when_the_request_fails_is_not_begun(uploader: FakeUploader) -> None:
    gate = uploader.gate(1)
    with ThreadPoolExecutor(1) as narrow:
        with suppress(ValueError), uploader.pipeline(narrow) as pipeline:
            pipeline.submit(1, uploader.part())
            pipeline.submit(2, uploader.part())
            uploader.wait_for(lambda: uploader.started == [1])
            threading.Timer(0.05, gate.set).start()
            raise ValueError
        assert uploader.started == [1]
        assert uploader.spool.memory.available == BUDGET


def test_slots_are_shared_and_a_stalled_request_holds_none(uploader: FakeUploader) -> None:
    """Ten idle uploads do not block an eleventh: a slot is held only while S3 is talked to."""
    with ThreadPoolExecutor(1) as narrow:
        idle = [uploader.pipeline(narrow) for _ in range(10)]
        for number, pipeline in enumerate(idle):
            pipeline.submit(number, uploader.part())
        with uploader.pipeline(narrow) as busy:
            busy.submit(100, uploader.part())
            assert [part.number for part in busy.wait()] == [100]
        for pipeline in idle:
            pipeline.wait()
