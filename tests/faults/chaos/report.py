"""What a chaos run has counted, and what went wrong."""

from __future__ import annotations

import threading
from collections import Counter


class Report:
    """Counts of a run, by group and name. Methods may be called from any thread.

    Attributes:
        problems: lost bytes, contradictions and unexpected failures.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._mutex = threading.Lock()

    def count(self, group: str, name: str, number: int = 1) -> None:
        """Add to a count."""
        with self._mutex:
            self._counts[group, name] += number

    def fail(self, problem: str) -> None:
        """Add a problem, and show it at once."""
        with self._mutex:
            self.problems.append(problem)
        print(f"PROBLEM: {problem}", flush=True)

    def total(self, group: str, name: str) -> int:
        """Return a count."""
        with self._mutex:
            return self._counts[group, name]

    def sum(self, group: str) -> int:
        """Return the sum of the counts of a group."""
        with self._mutex:
            return sum(number for (key, _), number in self._counts.items() if key == group)

    def lines(self) -> list[str]:
        """Return the table of all counts."""
        with self._mutex:
            counts = sorted(self._counts.items())
            problems = len(self.problems)
        rows = [f"{group:16}{name:40}{number:>12,}" for (group, name), number in counts]
        return [*rows, f"{'problems':56}{problems:>12,}"]
