"""Reports: JSON for programs, Markdown tables for readers.

Combine several JSON reports into one matrix:

    python -m tus_conformance.report a.json b.json > matrix.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .rules import LEVELS, NOT_TESTED, RULES

PASSED, FAILED, DEVIATES, UNEXPECTED_PASS, NOT_APPLICABLE, NOT_RUN = (
    "passed",
    "failed",
    "deviates",
    "passed against its deviation",
    "not applicable",
    "not run",
)

OUTCOMES = (PASSED, FAILED, DEVIATES, UNEXPECTED_PASS, NOT_APPLICABLE, NOT_RUN)


@dataclass(slots=True)
class Result:
    """The result of one test.

    Attributes:
        test: its name, without folders.
        ids: the ids of the rules that the test proves.
        level: one of `LEVELS`.
        outcome: one of `OUTCOMES`.
        reason: why it did not pass; empty if it did.
        measured: the values that it measured, with their units.
    """

    test: str
    ids: list[str]
    level: str
    outcome: str
    reason: str = ""
    measured: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """The results of a run against one server.

    Attributes:
        server: its name and version.
        capabilities: what OPTIONS returned.
        checks_content: whether finished files were read and compared.
        results: the result of each test.
    """

    server: str
    capabilities: dict[str, object] = field(default_factory=dict)
    checks_content: bool = False
    results: list[Result] = field(default_factory=list)

    def results_of(self, id: str, level: str) -> list[Result]:
        """Return the results of one rule at one level."""
        return [result for result in self.results if id in result.ids and result.level == level]

    def count(self, level: str) -> dict[str, int]:
        """Count the tests of a level by outcome."""
        outcomes = [result.outcome for result in self.results if result.level == level]
        return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON, or as Markdown if the file's name does not end in `.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        text = json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"
    else:
        text = as_markdown([report])
    path.write_text(text, encoding="utf-8")


def read_report(path: Path) -> Report:
    """Read a JSON report."""
    data = json.loads(path.read_text(encoding="utf-8"))
    results = [Result(**result) for result in data.pop("results")]
    return Report(**data, results=results)


def as_markdown(reports: Sequence[Report]) -> str:
    """Return the matrix of several servers, followed by their differences."""
    lines = [*_summary(reports), "", *_matrix(reports), ""]
    for report in reports:
        lines += _differences(report)
    return "\n".join(lines).rstrip() + "\n"


def summary_lines(report: Report) -> Iterable[str]:
    """Return a summary for the terminal."""
    for level in LEVELS:
        counts = report.count(level)
        text = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
        yield f"{level:9}{text or 'nothing'}"
    reasons = {result.reason for result in report.results if result.outcome == NOT_APPLICABLE}
    if reasons:
        yield f"not applicable: {'; '.join(sorted(reasons))}"
    for result in report.results:
        for name, value in result.measured.items():
            yield f"measured: {name}: {value} ({result.test})"


def _summary(reports: Sequence[Report]) -> list[str]:
    """Return one row for each server and level."""
    rows = [_row(["server", "level", *OUTCOMES]), _row(["---"] * (2 + len(OUTCOMES)))]
    for report in reports:
        for level in LEVELS:
            counts = report.count(level)
            rows.append(_row([report.server, level, *map(str, counts.values())]))
    return rows


def _matrix(reports: Sequence[Report]) -> list[str]:
    """Return one row for each rule and level, with one column for each server."""
    names = [report.server for report in reports]
    rows = [_row(["rule", "level", "", *names]), _row(["---"] * (3 + len(names)))]
    for id, text in RULES.items():
        levels = [
            level for level in LEVELS if any(report.results_of(id, level) for report in reports)
        ]
        for level in levels:
            cells = [_cell(report.results_of(id, level)) for report in reports]
            rows.append(_row([id, level, text, *cells]))
        if not levels and id in NOT_TESTED:
            rows.append(_row([id, "", f"{text} ({NOT_TESTED[id]})", *([" "] * len(names))]))
    return rows


def _cell(results: Sequence[Result]) -> str:
    """Return a mark: passed, failed or not tested. Add the number if only some tests failed."""
    judged = [result for result in results if result.outcome not in {NOT_APPLICABLE, NOT_RUN}]
    if not judged:
        return "–"
    failed = [result for result in judged if result.outcome in {FAILED, DEVIATES}]
    if not failed:
        return "✔"
    return f"✘ {len(failed)}/{len(judged)}" if len(failed) < len(judged) else "✘"


def _differences(report: Report) -> list[str]:
    """List the differences of one server, grouped by reason."""
    by_reason: dict[str, list[Result]] = {}
    for result in report.results:
        if result.outcome in {FAILED, DEVIATES, UNEXPECTED_PASS}:
            by_reason.setdefault(result.reason, []).append(result)
    if not by_reason:
        return [f"**{report.server}**: no differences.", ""]
    lines = [f"**{report.server}**", ""]
    for reason, results in by_reason.items():
        lines.append(f"- {_rules_of(results)}: {_escape(reason)}")
    return [*lines, ""]


def _rules_of(results: Sequence[Result]) -> str:
    """Return the rules of some results with their numbers of tests: `C-02 (must: 8), ...`."""
    found: list[str] = []
    for id in RULES:
        for level in LEVELS:
            count = sum(id in result.ids and result.level == level for result in results)
            if count:
                found.append(f"{id} ({level}: {count})")
    return ", ".join(found)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(as_markdown([read_report(Path(name)) for name in sys.argv[1:]]))
