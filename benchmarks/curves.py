"""Draw how a cost changes while an amount grows: curves on logarithmic axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.plot import document, text_at

PALETTE = [
    *("#2563eb", "#f59e0b", "#10b981", "#ef4444", "#a855f7"),
    *("#0f172a", "#0891b2", "#84cc16", "#db2777", "#94a3b8"),
]
WIDTH, PLOT_WIDTH, PLOT_HEIGHT, LEFT, MARGIN, LINE_HEIGHT = 900, 520, 300, 60, 50, 18

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves on common axes.

    Attributes:
        title: the text above the chart.
        curves: by name, the amounts and the costs of a unit. Both are positive.
    """

    title: str
    curves: Mapping[str, Points]


def as_svg(charts: Sequence[Chart]) -> str:
    """Return an SVG with the charts, one below the other.

    Each curve begins at 1: amounts and costs are relative to the first ones.
    """
    height = PLOT_HEIGHT + 2 * MARGIN
    elements = [
        element
        for number, chart in enumerate(charts)
        for element in _chart(chart, number * height + MARGIN)
    ]
    return document(WIDTH, height * len(charts), elements)


@dataclass(frozen=True, slots=True)
class _Axes:
    """The exponents of ten at the ends of the axes, and the upper edge of the chart."""

    right: int
    bottom: int
    top: int
    edge: int

    def x(self, value: float) -> int:
        return LEFT + round(math.log10(value) / self.right * PLOT_WIDTH)

    def y(self, value: float) -> int:
        share = (self.top - math.log10(value)) / (self.top - self.bottom)
        return self.edge + round(share * PLOT_HEIGHT)


def _chart(chart: Chart, edge: int) -> Iterator[str]:
    curves = {name: _relative(points) for name, points in chart.curves.items() if points}
    every = [point for points in curves.values() for point in points] or [(1.0, 1.0)]
    axes = _Axes(
        right=max(1, math.ceil(math.log10(max(x for x, _ in every)))),
        bottom=min(-1, math.floor(math.log10(min(y for _, y in every)))),
        top=max(1, math.ceil(math.log10(max(y for _, y in every)))),
        edge=edge,
    )
    yield text_at(LEFT, edge - LINE_HEIGHT, chart.title, weight="bold")
    yield from _grid(axes)
    for number, (name, points) in enumerate(curves.items()):
        color = PALETTE[number % len(PALETTE)]
        line = " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in points)
        yield f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>'
        for x, y in points:
            yield f'<circle cx="{axes.x(x)}" cy="{axes.y(y)}" r="3" fill="{color}"/>'
        top = edge + number * LINE_HEIGHT
        left = LEFT + PLOT_WIDTH + 20
        yield f'<rect x="{left}" y="{top}" width="14" height="4" fill="{color}"/>'
        yield text_at(left + 20, top + 6, name)


def _grid(axes: _Axes) -> Iterator[str]:
    below = axes.edge + PLOT_HEIGHT
    for exponent in range(axes.right + 1):
        x = axes.x(10.0**exponent)
        yield _line(x, axes.edge, x, below)
        yield text_at(x, below + LINE_HEIGHT, f"{10**exponent:,} x", anchor="middle")
    for exponent in range(axes.bottom, axes.top + 1):
        y = axes.y(10.0**exponent)
        yield _line(LEFT, y, LEFT + PLOT_WIDTH, y, width=2 if exponent == 0 else 1)
        yield text_at(LEFT - 8, y + 4, f"{10.0**exponent:g} x", anchor="end")


def _line(x1: int, y1: int, x2: int, y2: int, *, width: int = 1) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#cbd5e1" stroke-width="{width}"/>'
    )


def _relative(points: Points) -> Points:
    amount, cost = points[0]
    return [(x / amount, y / cost) for x, y in points]
