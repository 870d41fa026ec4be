"""What the memory budget reports to observers."""

from __future__ import annotations

from tus_wsgi.domain.model import MIB
from tus_wsgi.spool.memory import MemoryBudget


def test_changes_are_reported_in_sixteenths_of_the_budget() -> None:
    reports: list[int] = []
    budget = MemoryBudget(16 * MIB, reports.append)
    small = budget.acquire(MIB // 2)
    large = budget.acquire(4 * MIB)
    assert small is not None
    assert large is not None
    assert reports == [9 * MIB // 2]
    budget.release(small, MIB // 2)
    assert reports == [9 * MIB // 2]
    budget.release(large, 4 * MIB)
    assert reports == [9 * MIB // 2, 0]


def test_a_budget_of_zero_reports_nothing() -> None:
    reports: list[int] = []
    budget = MemoryBudget(0, reports.append)
    assert budget.acquire(1) is None
    budget.release(bytearray(), 0)
    assert reports == []
