"""Figures, and what is made of them: medians, ratios, JSON, Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One target in one round.

    Attributes:
        target: its name.
        round: from 1.
        figures: by names that have their unit.
    """

    target: str
    round: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario's outcome.

    Attributes:
        name: the scenario's.
        what: a sentence.
        samples: all of them.
        notes: lines below its table.
    """

    name: str
    what: str
    samples: list[Sample]
    notes: list[str] = field(default_factory=list)

    def targets(self) -> list[str]:
        """Their names, in the order in which they were first seen."""
        return list(dict.fromkeys(sample.target for sample in self.samples))

    def figures(self) -> list[str]:
        """The names of all figures, in their order."""
        return list(dict.fromkeys(name for one in self.samples for name in one.figures))

    def median(self, target: str, figure: str) -> float:
        """Over the rounds; NaN where there is none."""
        values = [
            one.figures[figure]
            for one in self.samples
            if one.target == target and figure in one.figures
        ]
        return statistics.median(values) if values else math.nan

    def spread(self, target: str, figure: str) -> tuple[float, float]:
        """The least and the greatest."""
        values = [
            one.figures[figure]
            for one in self.samples
            if one.target == target and figure in one.figures
        ]
        return min(values), max(values)


def as_json(result: Result) -> dict[str, object]:
    """All there is to a result."""
    return {
        "scenario": result.name,
        "what": result.what,
        "medians": {
            target: {
                figure: value
                for figure in result.figures()
                if not math.isnan(value := result.median(target, figure))
            }
            for target in result.targets()
        },
        "samples": [
            {"target": one.target, "round": one.round, "figures": dict(one.figures)}
            for one in result.samples
        ],
        "notes": result.notes,
    }


def as_markdown(result: Result) -> str:
    """A table: a line for each figure, medians, and behind them how many times the first target's
    they are."""
    first, *others = result.targets()
    lines = [
        f"### {result.name}",
        "",
        result.what,
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
    """Three digits that mean something."""
    if math.isnan(value):
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


Measure = Callable[[], Mapping[str, float]]


def in_turn(rounds: int, measures: Callable[[], Mapping[str, Measure]]) -> Iterable[Sample]:
    """Let every target have its turn in every round, and another one begin each time.

    Args:
        rounds: how many.
        measures: asked in each round for what is measured, by the targets' names.
    """
    for turn in range(rounds):
        named = list(measures().items())
        start = turn % len(named)
        for name, measure in [*named[start:], *named[:start]]:
            yield Sample(name, turn + 1, measure())
