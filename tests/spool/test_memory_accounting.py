"""Memory that was granted comes back, whatever ends a request while it waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tus_wsgi.spool import block as block_module
from tus_wsgi.spool import buffer_pool, memory
from tus_wsgi.spool.block import SENDING, Block
from tus_wsgi.spool.memory import MemoryBudget
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.spool import Spool

SIZE = 1024
SMALL = SIZE // 16
NOW = 1000.0


class Killed(BaseException):
    """Like gevent's `GreenletExit` and `Timeout`, and `SystemExit` of a signal handler."""


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Scale the sizes down, and let no wait take real time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_module, "MAX_SMALL_BLOCK", SMALL)
        patch.setattr(buffer_pool, "MIN_REUSED_BUFFER", SMALL // 4)
        patch.setattr(memory, "CHECK_INTERVAL", 0.0)
        patch.setattr(memory, "time", SimpleNamespace(monotonic=lambda: NOW))
        yield


def sending(budget: MemoryBudget) -> list[Block]:
    """Use up the memory for large blocks, and send all of them."""
    blocks = []
    for _ in range(3):
        block = budget.acquire(SIZE // 4)
        assert block is not None
        budget.expect(block, SENDING)
        blocks.append(block)
    return blocks


def assert_unused(budget: MemoryBudget) -> None:
    counts = (budget.available, budget._growing, budget._large)
    assert counts == (SIZE, 0, 0)
    assert not budget._queue
    assert not budget._returning


@pytest.mark.parametrize("is_granted", [False, True])
def test_a_request_that_is_killed_while_it_waits_gives_its_memory_back(*, is_granted: bool) -> None:
    """Otherwise its place in the queue gets memory that no request ever releases."""
    budget = MemoryBudget(SIZE)
    blocks = sending(budget)

    def die() -> bool:
        if is_granted:
            budget.release(blocks.pop())
        raise Killed

    with pytest.raises(Killed):
        budget.acquire(SIZE // 4, is_interrupted=die)
    for block in blocks:
        budget.release(block)
    assert_unused(budget)


def test_a_buffer_that_cannot_be_allocated_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(_size: int) -> bytearray:
        raise MemoryError

    monkeypatch.setattr(memory, "new_buffer", allocate)
    budget = MemoryBudget(SIZE)
    with pytest.raises(MemoryError):
        budget.acquire(SMALL)
    assert_unused(budget)


@pytest.mark.parametrize("number", range(1, 5))
def test_a_request_that_is_killed_in_an_observer_gives_its_memory_back_once(
    tmp_path: Path, number: int
) -> None:
    """An observer may wait, for example to send a measurement."""
    reports: list[int] = []

    def report(size: int) -> None:
        reports.append(size)
        if len(reports) == number:
            raise Killed

    spool = Spool(SIZE, str(tmp_path), disk_budget=10 * SIZE, on_memory=report)
    with (
        suppress(Killed),
        SpooledPart(spool.memory, spool.disk, spool.file, 2 * SIZE, None, first=SMALL) as part,
    ):
        while not part.is_full:
            part.write(bytes(SMALL))
    part.close()
    assert len(reports) >= number
    assert_unused(spool.memory)
    assert spool.disk.used == 0


class Requests:
    """Requests of a budget in one thread: while one waits, the next steps of a script run.

    Args:
        script: the steps, each with two numbers.
    """

    def __init__(self, script: list[tuple[str, int, int]]) -> None:
        self.budget = MemoryBudget(SIZE)
        self.held: list[Block] = []
        self._script = iter(script)

    def run(self) -> None:
        while self.step() is not None:
            held = sum(block.size for block in self.held)
            assert self.budget.available == SIZE - held
            assert self.budget._pool.size <= self.budget.available

    def step(self) -> str | None:
        kind, first, second = next(self._script, (None, 0, 0))
        match kind:
            case "acquire" | "acquire slowly":
                self._acquire(first, is_slow=kind == "acquire slowly", is_final=second % 2 == 0)
            case "release" if self.held:
                self.budget.release(self.held.pop(first % len(self.held)))
            case "expect" if self.held:
                times = (SENDING, NOW + 1, NOW - 1)
                self.budget.expect(self.held[first % len(self.held)], times[second % 3])
        return kind

    def _acquire(self, size: int, *, is_slow: bool, is_final: bool) -> None:
        try:
            block = self.budget.acquire(
                size, is_slow=is_slow, is_final=is_final, is_interrupted=self._is_interrupted
            )
        except Killed:
            return
        if block is not None:
            assert len(block.data) == block.size == size
            self.held.append(block)

    def _is_interrupted(self) -> bool:
        kind = self.step()
        if kind == "kill":
            raise Killed
        return kind in {"interrupt", None}


STEPS = ("acquire", "acquire", "acquire slowly", "release", "expect", "expect", "kill", "interrupt")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(1, SIZE), st.integers(0, 5)), max_size=40
    )
)
def test_the_memory_in_use_is_that_of_the_blocks(script: list[tuple[str, int, int]]) -> None:
    requests = Requests(script)
    requests.run()
    for block in requests.held:
        requests.budget.release(block)
    assert_unused(requests.budget)
