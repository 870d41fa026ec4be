"""What came out, rule by rule: as JSON for programs, and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .rules import LEVELS, NOT_TESTED, RULES

PASSED, FAILED, DEVIATES, UNEXPECTED, ABSENT, NOT_RUN = (
    "passed",
    "failed",
    "deviates",
    "passed against its deviation",
    "not applicable",
    "not run",
)

OUTCOMES = (PASSED, FAILED, DEVIATES, UNEXPECTED, ABSENT, NOT_RUN)


@dataclass(slots=True)
class Result:
    """What became of one test.

    Attributes:
        test: its name, without folders.
        ids: of the rules that it proves.
        level: of `LEVELS`.
        outcome: one of `OUTCOMES`.
        reason: why, unless it passed.
        measured: numbers that it took on the way.
    """

    test: str
    ids: list[str]
    level: str
    outcome: str
    reason: str = ""
    measured: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """A whole run against one server.

    Attributes:
        server: its name and version.
        offers: what OPTIONS said.
        checks_content: whether the files were read and compared.
        results: of each test.
    """

    server: str
    offers: dict[str, object] = field(default_factory=dict)
    checks_content: bool = False
    results: list[Result] = field(default_factory=list)

    def of(self, id: str, level: str) -> list[Result]:
        """The results that are about one rule at one level."""
        return [one for one in self.results if id in one.ids and one.level == level]

    def count(self, level: str) -> dict[str, int]:
        """How many tests of a level came out how."""
        outcomes = [one.outcome for one in self.results if one.level == level]
        return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def write(report: Report, path: Path) -> None:
    """Write a report to a file, as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        text = json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"
    else:
        text = as_markdown([report])
    path.write_text(text, encoding="utf-8")


def read(path: Path) -> Report:
    """Read a report in JSON."""
    data = json.loads(path.read_text(encoding="utf-8"))
    results = [Result(**one) for one in data.pop("results")]
    return Report(**data, results=results)


def as_markdown(reports: Sequence[Report]) -> str:
    """The matrix, and below it what differs and why."""
    lines = [*_summary(reports), "", *_matrix(reports), ""]
    for report in reports:
        lines += _differences(report)
    return "\n".join(lines).rstrip() + "\n"


def summary_of(report: Report) -> Iterable[str]:
    """A few lines for the terminal."""
    for level in LEVELS:
        counts = report.count(level)
        said = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
        yield f"{level:9}{said or 'nothing'}"
    absent = {one.reason for one in report.results if one.outcome == ABSENT}
    if absent:
        yield f"not applicable: {'; '.join(sorted(absent))}"
    for one in report.results:
        for name, value in one.measured.items():
            yield f"measured: {name}: {value} ({one.test})"


def _summary(reports: Sequence[Report]) -> list[str]:
    """One row a server and level."""
    rows = [_row(["server", "level", *OUTCOMES]), _row(["---"] * (2 + len(OUTCOMES)))]
    for report in reports:
        for level in LEVELS:
            counts = report.count(level)
            rows.append(_row([report.server, level, *map(str, counts.values())]))
    return rows


def _matrix(reports: Sequence[Report]) -> list[str]:
    """One row a rule and level, one column a server."""
    names = [report.server for report in reports]
    rows = [_row(["rule", "level", "", *names]), _row(["---"] * (3 + len(names)))]
    for id, text in RULES.items():
        levels = [level for level in LEVELS if any(report.of(id, level) for report in reports)]
        for level in levels:
            cells = [_cell(report.of(id, level)) for report in reports]
            rows.append(_row([id, level, text, *cells]))
        if not levels and id in NOT_TESTED:
            rows.append(_row([id, "", f"{text} ({NOT_TESTED[id]})", *([" "] * len(names))]))
    return rows


def _cell(results: Sequence[Result]) -> str:
    """A sign, and how many of how many if only some of them failed."""
    judged = [one for one in results if one.outcome not in {ABSENT, NOT_RUN}]
    if not judged:
        return "–"
    bad = [one for one in judged if one.outcome in {FAILED, DEVIATES}]
    if not bad:
        return "✔"
    return f"✘ {len(bad)}/{len(judged)}" if len(bad) < len(judged) else "✘"


def _differences(report: Report) -> list[str]:
    """What a server does otherwise; the same reason stands there once."""
    by_reason: dict[str, list[Result]] = {}
    for one in report.results:
        if one.outcome in {FAILED, DEVIATES, UNEXPECTED}:
            by_reason.setdefault(one.reason, []).append(one)
    if not by_reason:
        return [f"**{report.server}**: no differences.", ""]
    lines = [f"**{report.server}**", ""]
    for reason, ones in by_reason.items():
        lines.append(f"- {_where(ones)}: {_plain(reason)}")
    return [*lines, ""]


def _where(results: Sequence[Result]) -> str:
    """`C-02 (must, 8 tests)`, and so on."""
    found: Mapping[tuple[str, str], list[Result]] = {
        (id, level): [one for one in results if id in one.ids and one.level == level]
        for id in RULES
        for level in LEVELS
    }
    return ", ".join(f"{id} ({level}: {len(ones)})" for (id, level), ones in found.items() if ones)


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"
