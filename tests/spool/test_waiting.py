"""Which request gets memory, which one waits for it, and which one uses the disk.

Time is simulated: a wait does not take real time, but advances the clock by `CHECK_INTERVAL`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bodies import INTERRUPT_TIMEOUT, ScriptedBody
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import MIB
from tus_wsgi.spool import memory
from tus_wsgi.spool.block import MAX_SMALL_BLOCK, SENDING, Block
from tus_wsgi.spool.memory import (
    CHECK_INTERVAL,
    MAX_BLIND_WAIT,
    MAX_MEMORY_WAIT,
    SOON,
    MemoryBudget,
)
from tus_wsgi.spool.part import FIRST_BUFFER
from tus_wsgi.spool.spool import Spool

LARGE = 4 * MAX_SMALL_BLOCK
SIZE = 16 * MAX_SMALL_BLOCK


class Clock:
    """A fake of `time.monotonic`. A waiting request advances it and runs the steps of a test.

    Attributes:
        steps: what happens at the next checks of waiting requests, in order.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.steps: list[Callable[[], object]] = []

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def check(self) -> bool:
        """Pass the time of one wait. Never interrupts."""
        self.now += CHECK_INTERVAL
        if self.steps:
            self.steps.pop(0)()
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(memory, "CHECK_INTERVAL", 0.0)
    return clock


@pytest.fixture
def budget() -> MemoryBudget:
    return MemoryBudget(SIZE)


def take(budget: MemoryBudget, size: int = LARGE, *, is_final: bool = True) -> Block:
    block = budget.acquire(size, is_final=is_final)
    assert block is not None
    return block


def fill(budget: MemoryBudget, *, sending: int = 0) -> list[Block]:
    """Use up the budget with large blocks and a small one, and send some of the large ones."""
    blocks: list[Block] = []
    while budget.available > LARGE:
        blocks.append(take(budget))
    while budget.available:
        take(budget, MAX_SMALL_BLOCK)
    for block in blocks[:sending]:
        budget.expect(block, SENDING)
    return blocks


class Queue:
    """Requests that wait in threads of their own, in the order in which they came."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._threads = ThreadPoolExecutor(8)

    def add(self, size: int) -> Future[Block | None]:
        count = len(self._budget._queue)
        future = self._threads.submit(
            self._budget.acquire, size, is_interrupted=threading.Event().is_set
        )
        deadline = time.perf_counter() + INTERRUPT_TIMEOUT
        while len(self._budget._queue) == count and not future.done():
            assert time.perf_counter() < deadline
        return future


# -- who waits -------------------------------------------------------------------------------------


def test_a_fast_client_waits_for_memory_that_is_being_sent(
    budget: MemoryBudget, clock: Clock
) -> None:
    sent = fill(budget, sending=2)
    clock.steps = [lambda: None, lambda: None, lambda: budget.release(sent[0])]
    assert budget.acquire(LARGE, is_interrupted=clock.check) is not None


def test_a_fast_client_waits_for_a_part_that_is_about_to_be_full(
    budget: MemoryBudget, clock: Clock
) -> None:
    first, second, _ = fill(budget)
    budget.expect(first, clock.now + SOON)
    budget.expect(second, clock.now + SOON)
    clock.steps = [lambda: budget.release(second)]
    assert budget.acquire(LARGE, is_interrupted=clock.check) is not None


def test_memory_that_stalled_clients_hold_is_not_waited_for(
    budget: MemoryBudget, clock: Clock
) -> None:
    """A stalled client must not delay others: their parts go to disk at once."""
    fill(budget)
    began = clock.now
    assert budget.acquire(LARGE, is_interrupted=clock.check) is None
    assert clock.now == began


def test_a_client_that_stalls_in_its_part_is_no_longer_waited_for(
    budget: MemoryBudget, clock: Clock
) -> None:
    for block in fill(budget):
        budget.expect(block, clock.now + SOON)
    began = clock.now
    assert budget.acquire(LARGE, is_interrupted=clock.check) is None
    assert SOON <= clock.now - began <= SOON + 2 * CHECK_INTERVAL


def test_a_client_that_needs_long_for_its_part_is_not_waited_for(
    budget: MemoryBudget, clock: Clock
) -> None:
    for block in fill(budget):
        budget.expect(block, clock.now + SOON + 0.1)
    assert budget.acquire(LARGE, is_interrupted=clock.check) is None


def test_a_small_part_of_the_memory_is_not_waited_for(clock: Clock) -> None:
    """Otherwise fast clients would share the rate of a few blocks while others hold the rest."""
    budget = MemoryBudget(64 * MIB)
    blocks = [take(budget) for _ in range(15)]
    for block in blocks[:3]:
        budget.expect(block, SENDING)
    take(budget, MAX_SMALL_BLOCK)
    assert budget.acquire(LARGE, is_interrupted=clock.check) is None
    budget.expect(blocks[3], SENDING)
    clock.steps = [lambda: budget.release(blocks[0])]
    assert budget.acquire(LARGE, is_interrupted=clock.check) is not None


def test_a_slow_client_does_not_wait(budget: MemoryBudget, clock: Clock) -> None:
    """Released memory is for fast clients."""
    fill(budget, sending=3)
    began = clock.now
    assert budget.acquire(LARGE, is_slow=True, is_interrupted=clock.check) is None
    assert clock.now == began


def test_a_slow_client_leaves_half_of_the_budget(budget: MemoryBudget) -> None:
    take(budget)
    assert budget.acquire(LARGE, is_slow=True) is not None
    assert budget.acquire(1, is_slow=True) is None


def test_slow_clients_leave_room_for_the_beginnings_of_fast_ones(budget: MemoryBudget) -> None:
    while budget.acquire(MAX_SMALL_BLOCK, is_slow=True, is_final=False) is not None:
        pass
    beginnings = [take(budget, MAX_SMALL_BLOCK, is_final=False) for _ in range(4)]
    assert sum(block.size for block in beginnings) == SIZE // 4
    assert budget.acquire(LARGE) is not None


def test_a_block_that_never_fits_is_not_waited_for(budget: MemoryBudget, clock: Clock) -> None:
    fill(budget, sending=3)
    began = clock.now
    assert budget.acquire(SIZE + 1, is_interrupted=clock.check) is None
    assert clock.now == began


def test_a_part_waits_for_memory_that_other_parts_release(tmp_path: Path) -> None:
    spool = Spool(1000, str(tmp_path))
    first = spool.part(800, 800)
    first.write(b"x" * 800)
    first.payload()
    timer = threading.Timer(0.05, first.close)
    timer.start()
    with spool.part(800, 800) as second:
        second.write(b"x")
        assert second._file is None
    timer.join()


def test_a_part_does_not_wait_if_no_memory_is_released(tmp_path: Path, clock: Clock) -> None:
    spool = Spool(1000, str(tmp_path))
    with spool.part(800, 800) as first:
        first.write(b"x")
        clock.advance(SOON)
        began = clock.now
        with spool.part(800, 800) as second:
            second.write(b"x")
            assert second._file is not None
    assert clock.now == began


def test_replacing_a_buffer_does_not_make_others_wait(clock: Clock) -> None:
    """The part uses more memory than before."""
    spool = Spool(MIB)
    with spool.part(MIB // 2, None) as part:
        for _ in range(5):
            part.write(bytes(FIRST_BUFFER))
        began = clock.now
        assert spool.memory.acquire(MIB) is None
        assert clock.now == began


# -- how long --------------------------------------------------------------------------------------


def test_a_wait_is_bounded(budget: MemoryBudget, clock: Clock) -> None:
    """For example if S3 does not answer."""
    fill(budget, sending=3)
    began = clock.now
    assert budget.acquire(LARGE, is_interrupted=clock.check) is None
    assert MAX_MEMORY_WAIT <= clock.now - began <= MAX_MEMORY_WAIT + CHECK_INTERVAL


def test_a_wait_that_cannot_be_interrupted_is_short(
    budget: MemoryBudget, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload must release its lock within two seconds."""
    fill(budget, sending=3)
    began = clock.now
    comes_back = budget._comes_back

    def check(size: int) -> bool:
        clock.advance(CHECK_INTERVAL)
        return comes_back(size)

    monkeypatch.setattr(budget, "_comes_back", check)
    assert budget.acquire(LARGE) is None
    assert clock.now - began <= MAX_BLIND_WAIT + 2 * CHECK_INTERVAL


def test_the_waits_for_the_first_bytes_of_a_part_are_short_together(clock: Clock) -> None:
    """A tail is read back from the store while the lock is held. Its buffer grows several times."""

    class BusyMemory(MemoryBudget):
        """Grants each block shortly before the end of a short wait."""

        def acquire(
            self, size: int, *, is_interrupted: Callable[[], bool] | None = None, **options: Any
        ) -> Block | None:
            end = clock.now + 0.9 * MAX_BLIND_WAIT
            while clock.now < end:
                if is_interrupted is not None and is_interrupted():
                    return None
                clock.advance(CHECK_INTERVAL)
            return super().acquire(size, **options)

    spool = Spool(SIZE)
    spool.memory = BusyMemory(SIZE)
    began = clock.now
    with spool.part(LARGE, LARGE, [bytes(FIRST_BUFFER)] * 70):
        assert clock.now - began <= MAX_BLIND_WAIT + CHECK_INTERVAL


@pytest.mark.parametrize("is_interrupted_before", [False, True])
def test_an_interruption_ends_a_wait(
    budget: MemoryBudget, clock: Clock, *, is_interrupted_before: bool
) -> None:
    """Another request wants the upload's lock, or the process shuts down."""
    fill(budget, sending=3)
    body = ScriptedBody(b"x")
    if is_interrupted_before:
        body.interrupt(BodyEnd.INTERRUPTED)
    clock.steps = [lambda: body.interrupt(BodyEnd.DRAINING)]
    began = clock.now

    def is_interrupted() -> bool:
        return body.is_interrupted() or clock.check()

    assert budget.acquire(LARGE, is_interrupted=is_interrupted) is None
    assert clock.now - began <= CHECK_INTERVAL
    assert not budget._queue


def test_an_interrupted_part_keeps_the_bytes_that_have_arrived(clock: Clock) -> None:
    spool = Spool(SIZE)
    with spool.part(LARGE, LARGE) as part:
        part.fill(ScriptedBody(b"x" * (MAX_SMALL_BLOCK - 1)))
        fill(spool.memory, sending=2)
        body = ScriptedBody(b"y" * 100)
        body.interrupt(BodyEnd.INTERRUPTED)
        part.fill(body)
        assert part.size == MAX_SMALL_BLOCK + 99
        assert part.error is None
        assert part._file is not None


# -- fairness --------------------------------------------------------------------------------------


def test_waiting_requests_are_served_in_their_order(budget: MemoryBudget) -> None:
    sent = fill(budget, sending=3)
    queue = Queue(budget)
    waiting = [queue.add(LARGE) for _ in range(3)]
    for number, block in enumerate(sent):
        budget.release(block)
        assert waiting[number].result(INTERRUPT_TIMEOUT) is not None
        assert not any(future.done() for future in waiting[number + 1 :])


def test_a_later_request_does_not_overtake_a_larger_one(budget: MemoryBudget) -> None:
    sent = fill(budget, sending=3)
    queue = Queue(budget)
    first = queue.add(2 * LARGE)
    second = queue.add(LARGE)
    budget.release(sent[0])
    assert not second.done()
    budget.release(sent[1])
    assert first.result(INTERRUPT_TIMEOUT) is not None
    budget.release(sent[2])
    assert second.result(INTERRUPT_TIMEOUT) is not None


def test_a_small_upload_does_not_wait_for_large_parts(budget: MemoryBudget) -> None:
    blocks = [take(budget) for _ in range(3)]
    for block in blocks:
        budget.expect(block, SENDING)
    large = Queue(budget).add(LARGE)
    assert not large.done(), "a sixteenth of the budget is reserved for small blocks"
    assert budget.acquire(MAX_SMALL_BLOCK) is not None
    budget.release(blocks[0])
    assert large.result(INTERRUPT_TIMEOUT) is not None


class Killed(BaseException):
    """Like gevent's `GreenletExit`."""


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_request_that_gives_up_lets_the_next_one_proceed(
    budget: MemoryBudget, *, is_killed: bool
) -> None:
    sent = fill(budget, sending=3)
    body = ScriptedBody(b"x")

    def is_interrupted() -> bool:
        if is_killed and body.is_interrupted():
            raise Killed
        return body.is_interrupted()

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(budget.acquire, 2 * LARGE, is_interrupted=is_interrupted)
        while not budget._queue:
            pass
        second = Queue(budget).add(LARGE)
        budget.release(sent[0])
        body.interrupt(BodyEnd.INTERRUPTED)
        failure = first.exception(INTERRUPT_TIMEOUT)
        assert isinstance(failure, Killed) if is_killed else first.result() is None
    assert second.result(INTERRUPT_TIMEOUT) is not None


# -- liveness --------------------------------------------------------------------------------------


def test_parts_that_have_only_begun_leave_half_of_the_memory_to_whole_parts(
    budget: MemoryBudget,
) -> None:
    """Otherwise many beginnings could use up the memory, and none of their parts could be filled.

    A request holds the beginning of its part while it waits for the memory of the whole part.
    """
    count = 0
    while budget.acquire(MAX_SMALL_BLOCK, is_final=False) is not None:
        count += 1
    assert count * MAX_SMALL_BLOCK == SIZE // 2
    assert budget.acquire(LARGE) is not None


def test_many_fast_clients_need_no_disk(clock: Clock) -> None:
    """Their parts together are much larger than the budget. Each gets memory for its part in turn.

    The store takes one part at a time. No client sends anything while it waits.
    """
    budget = MemoryBudget(SIZE)
    clients = [take(budget, MAX_SMALL_BLOCK, is_final=False) for _ in range(8)]
    sending: list[Block] = []
    for beginning in clients:
        clock.steps = [lambda: None, lambda: budget.release(sending.pop(0))]
        whole = budget.acquire(LARGE, is_interrupted=clock.check)
        assert whole is not None
        budget.release(beginning)
        budget.expect(whole, SENDING)
        sending.append(whole)
    for block in sending:
        budget.release(block)
    assert budget.available == SIZE


def test_a_part_is_expected_back_when_its_client_will_have_filled_it(clock: Clock) -> None:
    """While the part is sent, its return depends on the store (`SENDING`)."""
    spool = Spool(SIZE)
    seconds = 1.0
    body = ScriptedBody(*[bytes(MIB)] * 3, on_read=lambda: clock.advance(seconds), stalls=True)
    with spool.part(LARGE, LARGE) as part, ThreadPoolExecutor(1) as threads:
        filled = threads.submit(part.fill, body)
        assert body.waiting.wait(INTERRUPT_TIMEOUT)
        block = part._block
        assert block.size == LARGE
        assert clock.now <= block.returns_at <= clock.now + 1.5 * seconds
        body.interrupt(BodyEnd.INTERRUPTED)
        filled.result(INTERRUPT_TIMEOUT)
        part.payload()
        assert block.returns_at == SENDING
        assert block in spool.memory._returning
    assert not spool.memory._returning
    assert spool.memory.available == SIZE
