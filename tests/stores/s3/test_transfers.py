"""Concurrent part uploads of one request: their order, their limit and their failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.harness.bodies import INTERRUPT_TIMEOUT
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.transfers import MAX_PARTS_IN_FLIGHT, PartPipeline

BUDGET = 1000


class FakeUploader:
    """An uploader of parts that the test controls.

    Attributes:
        started: the numbers of the parts whose upload started, in order.
        max_running: the maximum of concurrent uploads.
        reported: the part numbers of each call of `on_parts`.
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
        """Pretend to upload a part: wait for its gate, then raise its error or return the part."""
        with self._mutex:
            self.started.append(number)
            self._running_count += 1
            self.max_running = max(self.max_running, self._running_count)
        if number in self._gates:
            assert self._gates[number].wait(INTERRUPT_TIMEOUT)
        with self._mutex:
            self._running_count -= 1
        if number in self.errors:
            raise self.errors[number]
        return Part(number, part.size, f'"{bytes(part.content())!r}"')  # type: ignore[arg-type]

    def gate(self, *numbers: int) -> threading.Event:
        """Block the uploads of these parts until the event is set."""
        event = threading.Event()
        self._gates |= dict.fromkeys(numbers, event)
        return event

    def part(self, size: int = 10) -> SpooledPart:
        part = self.spool.part(size, size)
        part.write(b"x" * size)
        return part

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + INTERRUPT_TIMEOUT
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


def test_parts_are_returned_in_the_order_of_their_numbers(
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


def test_wait_without_parts_returns_at_once(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    with uploader.pipeline(executor) as pipeline:
        assert pipeline.wait() == []


def test_submit_blocks_at_the_limit_of_parts_in_flight(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """The request then stops reading, which is the back-pressure."""
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
        late.join(INTERRUPT_TIMEOUT)
        assert len(pipeline.wait()) == MAX_PARTS_IN_FLIGHT + 1
    assert uploader.max_running <= MAX_PARTS_IN_FLIGHT


@pytest.mark.parametrize(
    ("receive_seconds", "upload_seconds", "waits"),
    [(0.5, 6.0, True), (2.0, 6.0, False), (0.5, None, True)],
    ids=["quick client", "client as fast as the store", "no upload has ended"],
)
def test_a_part_is_received_ahead_only_if_that_saves_time(
    uploader: FakeUploader,
    executor: ThreadPoolExecutor,
    *,
    receive_seconds: float,
    upload_seconds: float | None,
    waits: bool,
) -> None:
    """Otherwise the part would take memory for nothing."""
    gate = uploader.gate(*range(2, MAX_PARTS_IN_FLIGHT + 2))
    with uploader.pipeline(executor) as pipeline:
        first = 1 if upload_seconds is not None else 2
        if upload_seconds is not None:
            pipeline.submit(1, uploader.part())
            uploader.wait_for(lambda: uploader.spool.memory.available == BUDGET)
            pipeline._upload_seconds = upload_seconds
        submit_all(pipeline, uploader, range(2, MAX_PARTS_IN_FLIGHT + 2))
        reader = threading.Thread(target=pipeline.before_part, args=(receive_seconds,))
        reader.start()
        reader.join(0.05 if waits else INTERRUPT_TIMEOUT)
        assert reader.is_alive() == waits
        gate.set()
        reader.join(INTERRUPT_TIMEOUT)
        assert [part.number for part in pipeline.wait()] == list(
            range(first, MAX_PARTS_IN_FLIGHT + 2)
        )


def test_a_failed_upload_ends_the_wait_before_a_part(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """D-03: no byte is read after it."""
    error = LockLost("gone")
    uploader.errors = {1: error}
    first = uploader.gate(1)
    others = uploader.gate(*range(2, MAX_PARTS_IN_FLIGHT + 1))
    with uploader.pipeline(executor) as pipeline:
        submit_all(pipeline, uploader, range(1, MAX_PARTS_IN_FLIGHT + 1))
        first.set()
        with pytest.raises(LockLost) as caught:
            pipeline.before_part(0.0)
        others.set()
    assert caught.value is error


def test_one_upload_does_not_use_all_workers(uploader: FakeUploader) -> None:
    """Even if it has many parts and S3 is slow."""
    gate = uploader.gate(*range(1, MAX_PARTS_IN_FLIGHT + 2))
    with (
        ThreadPoolExecutor(MAX_PARTS_IN_FLIGHT + 1) as executor,
        uploader.pipeline(executor) as large,
    ):
        numbers = range(1, MAX_PARTS_IN_FLIGHT + 2)
        sender = threading.Thread(target=submit_all, args=(large, uploader, numbers))
        sender.start()
        uploader.wait_for(lambda: len(uploader.started) == MAX_PARTS_IN_FLIGHT)
        with uploader.pipeline(executor) as small:
            for number in (100, 101, 102):
                small.submit(number, uploader.part())
            assert [part.number for part in small.wait()] == [100, 101, 102]
        assert sorted(uploader.started)[:-3] == list(range(1, MAX_PARTS_IN_FLIGHT + 1))
        gate.set()
        sender.join(INTERRUPT_TIMEOUT)
        assert len(large.wait()) == MAX_PARTS_IN_FLIGHT + 1


def test_uploads_share_a_small_executor_fairly(uploader: FakeUploader) -> None:
    """A part waits only for parts that were submitted before it."""
    gate = uploader.gate(1)
    with (
        ThreadPoolExecutor(1) as executor_of_one,
        uploader.pipeline(executor_of_one) as large,
        uploader.pipeline(executor_of_one) as small,
    ):
        submit_all(large, uploader, range(1, MAX_PARTS_IN_FLIGHT + 1))
        later = range(MAX_PARTS_IN_FLIGHT + 1, 2 * MAX_PARTS_IN_FLIGHT)
        sender = threading.Thread(target=submit_all, args=(large, uploader, later))
        sender.start()
        small.submit(100, uploader.part())
        gate.set()
        small.wait()
        assert uploader.started.index(100) == MAX_PARTS_IN_FLIGHT
        sender.join(INTERRUPT_TIMEOUT)
        large.wait()


def test_each_part_is_closed_after_its_upload(
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
def test_no_upload_starts_after_a_failure(
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


def test_the_first_failure_is_raised(uploader: FakeUploader, executor: ThreadPoolExecutor) -> None:
    """D-03: the parts that were skipped after this failure have an error too, which is ignored."""
    error = StoreUnavailable("UploadPart")
    uploader.errors = {2: error}
    gate = uploader.gate(2)
    with uploader.pipeline(executor) as pipeline:
        submit_all(pipeline, uploader, range(1, MAX_PARTS_IN_FLIGHT + 1))
        gate.set()
        with pytest.raises(StoreUnavailable) as caught:
            pipeline.wait()
    assert caught.value is error


def test_progress_covers_the_parts_without_a_gap(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """D-02, D-03."""
    gate = uploader.gate(6)
    with uploader.pipeline(executor) as pipeline:
        submit_all(pipeline, uploader, range(5, 9))
        uploader.wait_for(lambda: uploader.spool.memory.available == BUDGET - 10)
        pipeline.submit(9, uploader.part())
        assert set(map(tuple, uploader.reported)) <= {(5,)}
        gate.set()
        pipeline.wait()
    assert uploader.reported[-1] == [5, 6, 7, 8, 9]


def test_there_is_no_progress_while_the_first_part_is_missing(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """R-42: the first part contains the stored tail, so an offset without this part is too low."""
    gate = uploader.gate(5)
    with uploader.pipeline(executor) as pipeline:
        submit_all(pipeline, uploader, range(5, 9))
        uploader.wait_for(lambda: uploader.spool.memory.available == BUDGET - 10)
        pipeline.submit(9, uploader.part())
        assert uploader.reported == []
        gate.set()
        pipeline.wait()
    assert uploader.reported[-1] == [5, 6, 7, 8, 9]


def test_leaving_the_context_waits_for_running_uploads(
    uploader: FakeUploader, executor: ThreadPoolExecutor
) -> None:
    """Otherwise a part could arrive after another request has acquired the lock."""
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
    thread.join(INTERRUPT_TIMEOUT)
    assert left.is_set()


def test_queued_parts_do_not_start_after_the_request_failed(uploader: FakeUploader) -> None:
    gate = uploader.gate(1)
    with ThreadPoolExecutor(1) as executor_of_one:
        with suppress(ValueError), uploader.pipeline(executor_of_one) as pipeline:
            pipeline.submit(1, uploader.part())
            pipeline.submit(2, uploader.part())
            uploader.wait_for(lambda: uploader.started == [1])
            # The exit of the pipeline waits for part 1, so another thread has to open the gate.
            threading.Timer(0.05, gate.set).start()
            raise ValueError
        assert uploader.started == [1]
        assert uploader.spool.memory.available == BUDGET


class RefusingExecutor(ThreadPoolExecutor):
    """Fails after it has queued a task, as `ThreadPoolExecutor` does if no thread can be started.

    Args:
        after_queued: called before the failure.
    """

    def __init__(self, after_queued: Callable[[], object]) -> None:
        super().__init__(1)
        self._after_queued = after_queued

    def submit(self, *args: Any, **options: Any) -> Future[Any]:
        super().submit(*args, **options)
        self._after_queued()
        raise RuntimeError("can't start new thread")


def test_a_part_that_is_being_sent_is_not_closed_if_its_submission_fails(
    uploader: FakeUploader,
) -> None:
    """D-01: otherwise its buffer gets the bytes of another upload while it is sent."""
    gate = uploader.gate(1)
    part = uploader.part()
    contents: list[object] = []

    def be_sent() -> None:
        uploader.wait_for(lambda: uploader.started == [1])
        threading.Timer(0.05, open_gate).start()

    def open_gate() -> None:
        contents.append(bytes(part.content()))  # type: ignore[arg-type]
        gate.set()

    with RefusingExecutor(be_sent) as executor, uploader.pipeline(executor) as pipeline:
        with pytest.raises(RuntimeError):
            pipeline.submit(1, part)
        part.close()  # as `Appender` does
    assert contents == [b"x" * 10]


def test_a_part_whose_submission_fails_is_not_sent_later(uploader: FakeUploader) -> None:
    """The pipeline does not wait for it, so it would arrive after the lock is released."""
    gate = uploader.gate(1)
    executor = RefusingExecutor(lambda: None)
    with executor:
        ThreadPoolExecutor.submit(executor, gate.wait, INTERRUPT_TIMEOUT)
        with uploader.pipeline(executor) as pipeline:
            with pytest.raises(RuntimeError):
                pipeline.submit(1, uploader.part())
            assert uploader.spool.memory.available == BUDGET
        gate.set()
    assert uploader.started == []


def test_a_stalled_request_occupies_no_worker(uploader: FakeUploader) -> None:
    """Ten idle uploads do not block another one: a worker is busy only during an S3 call."""
    with ThreadPoolExecutor(1) as executor_of_one:
        idle = [uploader.pipeline(executor_of_one) for _ in range(10)]
        for number, pipeline in enumerate(idle):
            pipeline.submit(number, uploader.part())
        with uploader.pipeline(executor_of_one) as busy:
            busy.submit(100, uploader.part())
            assert [part.number for part in busy.wait()] == [100]
        for pipeline in idle:
            pipeline.wait()
