"""Which cases there are: every scenario, every call failing in every way, and what it came to.

| pass           | what fails                                                                      |
|----------------|---------------------------------------------------------------------------------|
| the kinds      | one call, as `proxy.Fault` says; every call in turn                             |
| with retries   | the same for some kinds, while boto3 tries again by itself                      |
| remembering    | the same for two kinds, while a request goes on from the memo of the one before |
| taking turns   | the same for two kinds, with two processes whose memos get stale                |
| restarting     | the same for one kind, while every request meets a process just started         |
| absence hidden | the same for two kinds, with a service that answers 403 where others answer 404 |
| two at once    | two calls in a row, each in any way; a sample, the same in every run            |
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.application import Process
from tests.faults.case_runner import Case, Outcome
from tests.faults.scenarios import SCENARIOS
from tests.faults.server_under_test import Site
from tests.faults.worker_pool import Pool
from tests.harness.proxies.faults import Fault

KINDS = (
    Fault.ERROR,
    Fault.SLOW_DOWN,
    Fault.REFUSAL,
    Fault.CUT_BEFORE,
    Fault.CUT_AFTER,
    Fault.CUT_WITHIN,
    Fault.STALL_BEFORE,
    Fault.STALL_AFTER,
    Fault.LATE,
    Fault.LATER,
    Fault.LATEST,
    Fault.GATEWAY_LATE,
    Fault.GATEWAY_LATER,
    Fault.GATEWAY_LATEST,
    Fault.EMPTY,
    Fault.EMPTIED,
    Fault.ERROR_IN_200,
)
"""Those that leave the client alive."""

SAMPLE = 12
"""Double faults for each scenario."""

_OPERATIONS = {Fault.ERROR_IN_200: {"CompleteMultipartUpload", "UploadPartCopy"}}
"""Where a kind can happen, if not everywhere."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A column of the table.

    Attributes:
        name: of the column.
        kind: what fails, one call at a time; None for two calls at once.
        retries, process, hides_absence: see `Case`.
    """

    name: str
    kind: Fault | None
    retries: bool = False
    process: Process = Process.FORGETS
    hides_absence: bool = False

    def clean(self, scenario: str) -> Case:
        """The scenario as it is run when nothing fails."""
        return Case(
            scenario,
            retries=self.retries,
            process=self.process,
            hides_absence=self.hides_absence,
        )

    def cases(self, scenario: str, operations: Sequence[str]) -> list[Case]:
        """All cases for a scenario that makes these calls."""
        if self.kind is None:
            sample = _doubles(scenario, len(operations))
        else:
            possible = _OPERATIONS.get(self.kind, set(operations))
            sample = [
                ((number, self.kind),)
                for number, operation in enumerate(operations, 1)
                if operation in possible
            ]
        return [replace(self.clean(scenario), faults=faults) for faults in sample]


PASSES = {
    one.name: one
    for one in [
        *(Pass(kind.value, kind) for kind in KINDS),
        Pass("503, retried", Fault.SLOW_DOWN, retries=True),
        Pass("cut after, retried", Fault.CUT_AFTER, retries=True),
        Pass("504 later, retried", Fault.GATEWAY_LATER, retries=True),
        Pass("200 emptied, retried", Fault.EMPTIED, retries=True),
        Pass("500, remembering", Fault.ERROR, process=Process.REMEMBERS),
        Pass("cut after, remembering", Fault.CUT_AFTER, process=Process.REMEMBERS),
        Pass("500, taking turns", Fault.ERROR, process=Process.TAKES_TURNS),
        Pass("cut after, taking turns", Fault.CUT_AFTER, process=Process.TAKES_TURNS),
        Pass("cut after, restarting", Fault.CUT_AFTER, process=Process.RESTARTS),
        Pass("500, absence hidden", Fault.ERROR, hides_absence=True),
        Pass("cut after, absence hidden", Fault.CUT_AFTER, hides_absence=True),
        Pass("two at once", None),
    ]
}

CORE = tuple(scenario.name for scenario in SCENARIOS.values() if scenario.is_core)

_HIDDEN = ("pieces", "created with parts")

_CORE_ONLY = {"503", *(name for name, one in PASSES.items() if one.retries)}
_CORE_ONLY |= {name for name, one in PASSES.items() if one.process is not Process.FORGETS}
"""Passes that differ little from others, so that fewer scenarios do."""


def _is_run(scenario: str, one: Pass) -> bool:
    if one.hides_absence:
        return scenario in _HIDDEN
    return scenario in CORE or one.name not in _CORE_ONLY


EVERYTHING = tuple(
    (scenario, name)
    for scenario in SCENARIOS
    for name, one in PASSES.items()
    if _is_run(scenario, one)
)
"""Rows and columns where parts are tiny. All of them take long."""

_MANY_CALLS = ("joined across seams", "kept alive")

BRIEF = {
    (scenario, kind.value)
    for scenario in CORE
    for kind in (
        *(Fault.ERROR, Fault.CUT_AFTER),
        *(
            (Fault.CUT_BEFORE, Fault.LATE, Fault.GATEWAY_LATE, Fault.EMPTY)
            if scenario not in _MANY_CALLS
            else ()
        ),
    )
}
"""Those that are run each time: some 1,200 cases, and five minutes of a processor."""

LATE_ONES = ("pieces", "deferred, long", "joined across seams", "created with parts")

REAL = tuple(
    (scenario, kind.value)
    for scenario in CORE
    for kind in KINDS
    if not kind.is_late and kind not in {Fault.CUT_WITHIN, Fault.EMPTIED}
) + tuple(
    (scenario, kind.value)
    for scenario in LATE_ONES
    for kind in (Fault.CUT_WITHIN, Fault.EMPTIED, Fault.LATE, Fault.LATER, Fault.GATEWAY_LATE)
)
"""Rows and columns where parts are as large as AWS wants them."""

BRIEF_REAL = {("pieces", "cut after"), ("five parts", "500")}
"""Those of them that are run each time."""

SHORT = tuple(
    (scenario, kind.value)
    for scenario in ("one part", "pieces", "created with parts", "terminated midway")
    for kind in (
        Fault.ERROR,
        Fault.CUT_BEFORE,
        Fault.CUT_AFTER,
        Fault.GATEWAY_LATE,
        Fault.EMPTY,
    )
)
"""Rows and columns for services that are slow, or that only few have."""

BRIEF_SHORT = {("pieces", "cut after")}
"""Those of them that are run each time."""


def _doubles(scenario: str, calls: int) -> list[tuple[tuple[int, Fault], ...]]:
    chance = random.Random(scenario)
    quick = [kind for kind in KINDS if not kind.is_slow and kind not in _OPERATIONS]
    kinds = quick * 3 + [Fault.STALL_AFTER, Fault.LATER]
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
    _calls: dict[tuple[str, Case], tuple[str, ...]] = field(default_factory=dict)

    def run(self, server: str, pool: Pool, scenario: str, one: Pass) -> list[Outcome]:
        """Run all cases of a cell; the verdicts that are bad."""
        began = time.monotonic()
        cases = one.cases(scenario, self._operations(server, pool, one.clean(scenario)))
        verdicts = list(pool.run(cases))
        bad = [verdict for verdict in verdicts if verdict.problems]
        missed = sum(not verdict.hit for verdict in verdicts)
        seconds = time.monotonic() - began
        self.cells.append(
            Cell(server, scenario, one.name, len(verdicts), missed, len(bad), seconds)
        )
        # Calls that run beside each other come in any order, so now and then one too few comes.
        # A case without any hit is nothing that was tried.
        assert missed * 4 <= len(verdicts), f"{missed} of {len(verdicts)} faults hit nothing"
        return bad

    def run_on_site(self, server: str, site: Site, scenario: str, kind: Fault) -> list[str]:
        """Let each call fail that gunicorn makes in a scenario; what is wrong."""
        began = time.monotonic()
        clean = site.run(SCENARIOS[scenario], 0, kind)
        assert not clean.problems, "\n".join(clean.problems)
        outcomes = [
            site.run(SCENARIOS[scenario], number, kind) for number in range(1, clean.calls + 1)
        ]
        bad = ["\n    ".join(one.problems) for one in outcomes if one.problems]
        missed = sum(not one.is_hit for one in outcomes)
        seconds = time.monotonic() - began
        self.cells.append(
            Cell(server, scenario, kind.value, len(outcomes), missed, len(bad), seconds)
        )
        assert missed * 4 <= len(outcomes), f"{missed} of {len(outcomes)} faults hit nothing"
        return bad

    def _operations(self, server: str, pool: Pool, case: Case) -> tuple[str, ...]:
        """The calls that a scenario makes when nothing fails."""
        if (server, case) not in self._calls:
            [verdict] = pool.run([case])
            assert not verdict.problems, str(verdict)
            self._calls[server, case] = verdict.operations
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
    if cell is None or not cell.cases:
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
