"""What the memory budget reports to observers."""

from __future__ import annotations

from tus_wsgi.domain.model import MIB
from tus_wsgi.spool.block import Block
from tus_wsgi.spool.memory import MemoryBudget


def test_changes_are_reported_in_sixteenths_of_the_budget() -> None:
    reports: list[int] = []
    budget = MemoryBudget(16 * MIB, reports.append)
    blocks = [budget.acquire(MIB // 4) for _ in range(5)]
    assert reports == [MIB // 4, 5 * MIB // 4]
    large = budget.acquire(4 * MIB)
    assert large is not None
    assert reports[2:] == [21 * MIB // 4]
    budget.release(large)
    assert reports[3:] == [5 * MIB // 4]
    for block in blocks:
        assert block is not None
        budget.release(block)
    assert reports[4:] == [MIB, 0], "an unused budget is reported as such"


def test_a_budget_of_zero_reports_nothing() -> None:
    reports: list[int] = []
    budget = MemoryBudget(0, reports.append)
    assert budget.acquire(1) is None
    budget.release(Block(bytearray(), 0))
    assert reports == []
