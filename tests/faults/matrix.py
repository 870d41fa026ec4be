"""The table of the fault tests: every scenario with every fault at every call, and the results.

| pass             | what fails                                                                   |
|------------------|------------------------------------------------------------------------------|
| the fault's name | one call, as `Fault` says; every call in turn                                |
| retried          | the same for some faults, while boto3 repeats failed calls by itself         |
| cached           | the same for two faults, with the cached upload of the previous request      |
| alternating      | the same for two faults, with two processes whose caches become stale        |
| restarted        | the same for one fault, with a new process for each request                  |
| absence masked   | the same for two faults, with a service that answers 403 instead of 404      |
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.application import ProcessMode
from tests.faults.case_runner import Case, CaseResult
from tests.faults.scenarios import SCENARIOS
from tests.faults.server_under_test import ServerUnderTest
from tests.faults.worker_pool import WorkerPool
from tests.harness.proxies.faults import Fault, FaultStep

FAULTS = tuple(fault for fault in Fault if not (fault.kills_client or fault.holds_call))
"""The faults of one call that the app survives."""

_OPERATIONS = {Fault.ERROR_IN_200: {"CompleteMultipartUpload", "UploadPartCopy"}}
"""The operations that can have a fault, if not all of them can."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A column of the table.

    Attributes:
        name: the name of the column.
        fault: the fault that one call at a time has.
        retries, mode, masks_absence: see `Case`.
    """

    name: str
    fault: Fault
    retries: bool = False
    mode: ProcessMode = ProcessMode.UNCACHED
    masks_absence: bool = False

    def fault_free(self, scenario: str) -> Case:
        """Return the case in which nothing fails."""
        return Case(
            scenario, retries=self.retries, mode=self.mode, masks_absence=self.masks_absence
        )

    def cases(self, scenario: str, operations: Sequence[str]) -> list[Case]:
        """Return all cases of a scenario, given the operations of its calls in order."""
        scripts = _single_faults(self.fault, operations)
        return [replace(self.fault_free(scenario), faults=script) for script in scripts]


PASSES = {
    column.name: column
    for column in [
        *(Pass(fault.value, fault) for fault in FAULTS),
        Pass("503, retried", Fault.SLOW_DOWN, retries=True),
        Pass("cut after, retried", Fault.CUT_AFTER, retries=True),
        Pass("504, late after 7, retried", Fault.GATEWAY_LATE_AFTER_7, retries=True),
        Pass("200, body lost, retried", Fault.LOST_BODY, retries=True),
        Pass("500, cached", Fault.INTERNAL_ERROR, mode=ProcessMode.CACHED),
        Pass("cut after, cached", Fault.CUT_AFTER, mode=ProcessMode.CACHED),
        Pass("500, alternating", Fault.INTERNAL_ERROR, mode=ProcessMode.ALTERNATING),
        Pass("cut after, alternating", Fault.CUT_AFTER, mode=ProcessMode.ALTERNATING),
        Pass("cut after, restarted", Fault.CUT_AFTER, mode=ProcessMode.RESTARTED),
        Pass("500, absence masked", Fault.INTERNAL_ERROR, masks_absence=True),
        Pass("cut after, absence masked", Fault.CUT_AFTER, masks_absence=True),
    ]
}

CORE = tuple(scenario.name for scenario in SCENARIOS.values() if scenario.is_core)

_MASKED = ("three appends", "created with parts")

_ANSWERS = (
    Fault.FORBIDDEN,
    Fault.EMPTY_404,
    Fault.HTML_404,
    Fault.CONFLICT,
    Fault.ABORTED,
    Fault.CONDITION_FAILED,
    Fault.NOT_IMPLEMENTED,
    Fault.HTML_200,
)
"""Faults that `test_pairs.py` tries in all scenarios."""

_CORE_ONLY = {"503", *(fault.value for fault in _ANSWERS)}
_CORE_ONLY |= {name for name, column in PASSES.items() if column.retries}
_CORE_ONLY |= {name for name, column in PASSES.items() if column.mode is not ProcessMode.UNCACHED}
"""Passes that differ little from others: they run with the core scenarios only."""


def _is_included(scenario: str, column: Pass) -> bool:
    if column.masks_absence:
        return scenario in _MASKED
    return scenario in CORE or column.name not in _CORE_ONLY


TINY_PARTS = tuple(
    (scenario, name)
    for scenario in SCENARIOS
    for name, column in PASSES.items()
    if _is_included(scenario, column)
)
"""The cells (scenario and pass) with tiny parts. To run all of them takes long."""

_MANY_CALLS = (
    "concat, within parts",
    "expiry extended",
    "terminated with a hook",
    "planned and answered",
)
"""Core scenarios that run with two faults by default, and the other core scenarios with four."""

TINY_PARTS_DEFAULT = {
    (scenario, fault.value)
    for scenario in CORE
    for fault in (
        *(Fault.INTERNAL_ERROR, Fault.CUT_AFTER),
        *((Fault.GATEWAY_LATE_AFTER_2, Fault.EMPTY_200) if scenario not in _MANY_CALLS else ()),
    )
}
"""The cells of `TINY_PARTS` that are not marked as long. In CI, `test_pairs.py` tries the other
kinds of faults, each followed by a second fault."""

_WITH_DELAYS = ("three appends", "deferred, long", "concat, within parts", "created with parts")

AWS_PARTS = tuple(
    (scenario, fault.value)
    for scenario in CORE
    for fault in FAULTS
    if not fault.is_delayed and fault not in {Fault.CUT_WITHIN, Fault.LOST_BODY}
) + tuple(
    (scenario, fault.value)
    for scenario in _WITH_DELAYS
    for fault in (
        Fault.CUT_WITHIN,
        Fault.LOST_BODY,
        Fault.LATE_AFTER_2,
        Fault.LATE_AFTER_7,
        Fault.GATEWAY_LATE_AFTER_2,
    )
)
"""The cells with parts of the size that AWS requires."""

AWS_PARTS_DEFAULT = {("three appends", "cut after"), ("five parts", "500")}

OTHER_SERVICES = tuple(
    (scenario, fault.value)
    for scenario in ("one part", "three appends", "created with parts", "terminated midway")
    for fault in (
        Fault.INTERNAL_ERROR,
        Fault.CUT_BEFORE,
        Fault.CUT_AFTER,
        Fault.GATEWAY_LATE_AFTER_2,
        Fault.EMPTY_200,
    )
)
"""The cells for services that are slow or rare."""

OTHER_SERVICES_DEFAULT: set[tuple[str, str]] = set()
"""No cell, because `tests/compat` tests the store on these services in every run."""


def _single_faults(fault: Fault, operations: Sequence[str]) -> list[tuple[FaultStep, ...]]:
    """Return a script for each call that can have the fault; the script hits this call only."""
    possible = _OPERATIONS.get(fault, set(operations))
    return [
        (FaultStep(fault, skip=index),)
        for index, operation in enumerate(operations)
        if operation in possible
    ]


@dataclass(slots=True)
class Cell:
    """A row and a column of the table."""

    server: str
    scenario: str
    name: str
    cases: int = 0
    failures: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Matrix:
    """The results of all cells."""

    cells: list[Cell] = field(default_factory=list)
    _operations: dict[tuple[str, Case], tuple[str, ...]] = field(default_factory=dict)

    def run(self, server: str, pool: WorkerPool, scenario: str, column: Pass) -> list[CaseResult]:
        """Run all cases of a cell and add it to the table; return the results that failed."""
        began = time.monotonic()
        fault_free = column.fault_free(scenario)
        cases = column.cases(scenario, self._operations_of(server, pool, fault_free))
        results = list(pool.run(cases))
        failed = [result for result in results if result.problems]
        missed = sum(not result.hit for result in results)
        seconds = time.monotonic() - began
        self.cells.append(Cell(server, scenario, column.name, len(results), len(failed), seconds))
        _assert_most_hit(missed, len(results))
        return failed

    def count(self, server: str, scenario: str, name: str, is_failure: bool) -> None:
        """Count a case in the cell with this server, scenario and name."""
        cell = self._find_cell(server, scenario, name)
        cell.cases += 1
        if is_failure:
            cell.failures += 1

    def _find_cell(self, server: str, scenario: str, name: str) -> Cell:
        """Return a cell; add it to the table if it is new."""
        for cell in self.cells:
            if (cell.server, cell.scenario, cell.name) == (server, scenario, name):
                return cell
        cell = Cell(server, scenario, name)
        self.cells.append(cell)
        return cell

    def run_on_server(
        self, name: str, server: ServerUnderTest, scenario: str, fault: Fault
    ) -> list[str]:
        """Let each call that gunicorn makes in a scenario fail, and add the cell to the table.

        Returns:
            The problems of each case that failed, as one text for each case.
        """
        began = time.monotonic()
        fault_free = server.run(SCENARIOS[scenario])
        assert not fault_free.problems, "\n".join(fault_free.problems)
        results = [
            server.run(SCENARIOS[scenario], [FaultStep(fault, skip=index)])
            for index in range(fault_free.calls)
        ]
        failed = ["\n    ".join(result.problems) for result in results if result.problems]
        missed = sum(not result.is_hit for result in results)
        seconds = time.monotonic() - began
        self.cells.append(Cell(name, scenario, fault.value, len(results), len(failed), seconds))
        _assert_most_hit(missed, len(results))
        return failed

    def _operations_of(self, server: str, pool: WorkerPool, case: Case) -> tuple[str, ...]:
        """Return the operations of the calls of a case without faults. Run it once, to see them."""
        if (server, case) not in self._operations:
            [result] = pool.run([case])
            assert not result.problems, str(result)
            self._operations[server, case] = tuple(call.operation for call in result.calls)
        return self._operations[server, case]

    def write(self, path: Path) -> None:
        """Write the table as JSON."""
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
        """Return the lines of the table: each cell has its cases and, behind a slash, failures."""
        out: list[str] = []
        for server in sorted({cell.server for cell in self.cells}):
            cells = {
                (cell.scenario, cell.name): cell for cell in self.cells if cell.server == server
            }
            names = _order(cells)
            out += [f"{server}: cases, and /failures", *_header(names)]
            for scenario in SCENARIOS:
                row = [cells.get((scenario, name)) for name in names]
                if any(row):
                    out.append(_row([scenario, *(_shown(cell) for cell in row)]))
            total = [cell for cell in self.cells if cell.server == server]
            cases, failures = sum(c.cases for c in total), sum(c.failures for c in total)
            seconds = sum(c.seconds for c in total)
            out.append(f"{cases} cases, {failures} failures, {seconds:.0f} s")
        return out


def _assert_most_hit(missed: int, cases: int) -> None:
    """Check that three of four faults hit a call. A case whose fault hit nothing tests nothing.

    Some may miss: parallel calls arrive in any order, so a case may have one call less than the
    case without faults.
    """
    assert missed * 4 <= cases, f"{missed} of {cases} faults hit nothing"


def _order(cells: dict[tuple[str, str], Cell]) -> list[str]:
    """Return the names of the columns: passes in their order, then other names sorted."""
    present = {name for _, name in cells}
    known = [name for name in PASSES if name in present]
    return known + sorted(present - set(known))


def _shown(cell: Cell | None) -> str:
    if cell is None or not cell.cases:
        return "-"
    return f"{cell.cases}/{cell.failures}" if cell.failures else str(cell.cases)


def _header(names: Sequence[str]) -> list[str]:
    """Return the names of the columns, with one word in each line."""
    words = [name.replace(",", "").split() for name in names]
    return [_row(["", *line]) for line in itertools.zip_longest(*words, fillvalue="")]


def _row(words: Sequence[str]) -> str:
    first, *others = words
    return f"{first:32}" + "".join(f"{word:>11}" for word in others)
