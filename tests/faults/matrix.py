"""Which cases there are: every scenario with every call failing in every way, and what it came to.

| pass          | what fails                                                                       |
|---------------|----------------------------------------------------------------------------------|
| the kinds     | one call, as `proxy.Fault` says; every call in turn                              |
| with retries  | the same for two kinds, while boto3 tries again by itself                        |
| restarting    | the same for one kind, while every request meets a process that was just started |
| two at once   | two calls in a row, each in any way; a sample, the same in every run             |
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.pool import Pool
from tests.faults.proxy import Fault
from tests.faults.ring import Case, Verdict
from tests.faults.scenarios import SCENARIOS

KINDS = (
    Fault.ERROR,
    Fault.SLOW_DOWN,
    Fault.CUT_BEFORE,
    Fault.CUT_AFTER,
    Fault.CUT_WITHIN,
    Fault.STALL_BEFORE,
    Fault.STALL_AFTER,
    Fault.LATE,
    Fault.LATER,
    Fault.LATEST,
)
"""Those that leave the client alive."""

SAMPLE = 12
"""Double faults for each scenario."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A column of the table.

    Attributes:
        name: of the column.
        kind: what fails, one call at a time; None for two calls at once.
        retries: whether boto3 tries again by itself.
        restarts: whether each request meets a process that was just started.
    """

    name: str
    kind: Fault | None
    retries: bool = False
    restarts: bool = False

    def clean(self, scenario: str) -> Case:
        """The scenario as it is run when nothing fails."""
        return Case(scenario, retries=self.retries, restarts=self.restarts)

    def cases(self, scenario: str, calls: int) -> list[Case]:
        """All cases for a scenario that makes so many calls."""
        if self.kind is None:
            sample = _doubles(scenario, calls)
        else:
            sample = [((number, self.kind),) for number in range(1, calls + 1)]
        return [
            Case(scenario, faults, retries=self.retries, restarts=self.restarts)
            for faults in sample
        ]


PASSES = {
    one.name: one
    for one in [
        *(Pass(kind.value, kind) for kind in KINDS),
        Pass("503, retried", Fault.SLOW_DOWN, retries=True),
        Pass("cut after, retried", Fault.CUT_AFTER, retries=True),
        Pass("cut after, restarting", Fault.CUT_AFTER, restarts=True),
        Pass("two at once", None),
    ]
}

CORE = tuple(scenario.name for scenario in SCENARIOS.values() if scenario.is_core)

_CORE_ONLY = {"503", "503, retried", "cut after, retried", "cut after, restarting"}
"""Passes that differ little from others, so that fewer scenarios do."""

TINY = tuple(
    (scenario, name)
    for scenario in SCENARIOS
    for name in PASSES
    if scenario in CORE or name not in _CORE_ONLY
)
"""Rows and columns where parts are tiny."""

REAL = tuple(
    (scenario, kind.value)
    for scenario in CORE
    for kind in KINDS
    if kind is not Fault.CUT_WITHIN and not kind.is_late
)
"""Rows and columns where parts are as large as AWS wants them."""


SHORT = tuple(
    (scenario, kind.value)
    for scenario in ("one part", "pieces", "created with parts", "terminated midway")
    for kind in (Fault.ERROR, Fault.CUT_BEFORE, Fault.CUT_AFTER)
)
"""Rows and columns for services that are slow, or that only few have."""


def _doubles(scenario: str, calls: int) -> list[tuple[tuple[int, Fault], ...]]:
    chance = random.Random(scenario)
    kinds = [kind for kind in KINDS if not kind.is_slow] * 3 + [Fault.STALL_AFTER, Fault.LATER]
    sample = [
        (chance.randint(1, calls), chance.choice(kinds), chance.choice(kinds))
        for _ in range(SAMPLE)
    ]
    return [((number, first), (number + 1, second)) for number, first, second in sample]


@dataclass(slots=True)
class Cell:
    """A row and a column."""

    server: str
    scenario: str
    name: str
    cases: int = 0
    missed: int = 0
    failures: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Matrix:
    """What all passes came to."""

    cells: list[Cell] = field(default_factory=list)
    _calls: dict[tuple[str, Case], int] = field(default_factory=dict)

    def run(self, server: str, pool: Pool, scenario: str, one: Pass) -> list[Verdict]:
        """Run all cases of a cell; the verdicts that are bad."""
        began = time.monotonic()
        cases = one.cases(scenario, self._count(server, pool, one.clean(scenario)))
        verdicts = list(pool.run(cases))
        bad = [verdict for verdict in verdicts if verdict.problems]
        missed = sum(not verdict.hit for verdict in verdicts)
        seconds = time.monotonic() - began
        self.cells.append(
            Cell(server, scenario, one.name, len(verdicts), missed, len(bad), seconds)
        )
        # Calls that run beside each other come in any order, so now and then one too few comes.
        assert missed * 4 <= len(verdicts), f"{missed} of {len(verdicts)} faults hit nothing"
        return bad

    def _count(self, server: str, pool: Pool, case: Case) -> int:
        """How many calls a scenario makes when nothing fails."""
        if (server, case) not in self._calls:
            [verdict] = pool.run([case])
            assert not verdict.problems, str(verdict)
            self._calls[server, case] = verdict.calls
        return self._calls[server, case]

    def write(self, path: Path) -> None:
        """Keep the table as JSON."""
        rows = [
            {
                "server": cell.server,
                "scenario": cell.scenario,
                "pass": cell.name,
                "cases": cell.cases,
                "failures": cell.failures,
                "seconds": round(cell.seconds, 2),
            }
            for cell in sorted(self.cells, key=lambda cell: (cell.server, cell.scenario, cell.name))
        ]
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")

    def lines(self) -> list[str]:
        """The table as text: cases, and failures behind a slash where there are any."""
        out: list[str] = []
        for server in sorted({cell.server for cell in self.cells}):
            cells = {
                (cell.scenario, cell.name): cell for cell in self.cells if cell.server == server
            }
            names = _order(cells)
            out += [f"{server}: cases, and /failures", *_heads(names)]
            for scenario in SCENARIOS:
                row = [cells.get((scenario, name)) for name in names]
                if any(row):
                    out.append(_row([scenario, *(_shown(cell) for cell in row)]))
            total = [cell for cell in self.cells if cell.server == server]
            cases, failures = sum(c.cases for c in total), sum(c.failures for c in total)
            seconds = sum(c.seconds for c in total)
            out.append(f"{cases} cases, {failures} failures, {seconds:.0f} s")
        return out


def _order(cells: dict[tuple[str, str], Cell]) -> list[str]:
    present = {name for _, name in cells}
    known = [name for name in PASSES if name in present]
    return known + sorted(present - set(known))


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.cases}/{cell.failures}" if cell.failures else str(cell.cases)


def _heads(names: Sequence[str]) -> list[str]:
    """The columns' names, a word a line."""
    words = [name.replace(",", "").split() for name in names]
    height = max(map(len, words))
    return [
        _row(["", *(one[line] if line < len(one) else "" for one in words)])
        for line in range(height)
    ]


def _row(words: Sequence[str]) -> str:
    first, *others = words
    return f"{first:32}" + "".join(f"{word:>11}" for word in others)
