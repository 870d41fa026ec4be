"""The figures of a scenario, and their medians and ratios as JSON and Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one target in one round.

    Attributes:
        target: the name of the target.
        round: the number of the round, from 1.
        figures: the values by name. The names include the units.
    """

    target: str
    round: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a scenario.

    Attributes:
        name: the name of the scenario.
        description: a sentence on what was measured.
        samples: the samples of all targets and rounds.
        notes: lines to print below the table.
    """

    name: str
    description: str
    samples: list[Sample]
    notes: list[str] = field(default_factory=list)

    def targets(self) -> list[str]:
        """Return the names of the targets, in order of their first sample."""
        return list(dict.fromkeys(sample.target for sample in self.samples))

    def figures(self) -> list[str]:
        """Return the names of all figures, in order of their first sample."""
        return list(dict.fromkeys(name for sample in self.samples for name in sample.figures))

    def median(self, target: str, figure: str) -> float:
        """Return the median over the rounds, or NaN without a value."""
        values = [
            sample.figures[figure]
            for sample in self.samples
            if sample.target == target and figure in sample.figures
        ]
        return statistics.median(values) if values else math.nan


def as_json(result: Result) -> dict[str, object]:
    """Return medians and samples of a result."""
    medians: dict[str, dict[str, float]] = {}
    for target in result.targets():
        values = {figure: result.median(target, figure) for figure in result.figures()}
        medians[target] = {name: value for name, value in values.items() if not math.isnan(value)}
    return {
        "scenario": result.name,
        "what": result.description,
        "medians": medians,
        "samples": [
            {"target": sample.target, "round": sample.round, "figures": dict(sample.figures)}
            for sample in result.samples
        ],
        "notes": result.notes,
    }


def as_markdown(result: Result) -> str:
    """Return a Markdown table of medians, with a row for each figure and a column for each target.

    Each target but the first also has the ratio to the first target's median, in parentheses.
    """
    first, *others = result.targets()
    lines = [
        f"### {result.name}",
        "",
        result.description,
        "",
        f"| | {' | '.join([first, *others])} |",
        f"|---|{'---|' * (1 + len(others))}",
    ]
    for figure in result.figures():
        base = result.median(first, figure)
        cells = [number(base)]
        for other in others:
            value = result.median(other, figure)
            has_ratio = base > 0 and not math.isnan(value)
            cells.append(number(value) + (f" ({value / base:.2f} x)" if has_ratio else ""))
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Format a value with two or three significant digits, or as an integer from 100 on."""
    if math.isnan(value):
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


Measure = Callable[[], Mapping[str, float]]


def alternate(rounds: int, measures: Callable[[], Mapping[str, Measure]]) -> Iterable[Sample]:
    """Measure every target once per round. Each round starts with another target.

    Args:
        rounds: the number of rounds.
        measures: returns the measurement of each target, by name. Called in each round.
    """
    for index in range(rounds):
        named = list(measures().items())
        start = index % len(named)
        for name, measure in [*named[start:], *named[:start]]:
            yield Sample(name, index + 1, measure())
