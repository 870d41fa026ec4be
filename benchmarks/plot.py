"""Draw the results as an SVG bar chart, without a plotting library."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

from benchmarks.results import Result, number

SHOWN = {
    "large": ["wall s", "CPU s/GiB", "peak RSS MiB"],
    "many": ["MiB/s", "CPU s/GiB", "peak RSS MiB"],
    "small": ["POST with data: uploads/s", "POST and PATCH: uploads/s"],
    "far S3": ["x of the link's limit", "CPU s/GiB"],
    "slow clients": ["with slow clients MiB/s", "rate kept"],
    "S3 calls": [],
}
"""The figures to draw for each scenario. An empty list means all."""

COLORS = ["#2563eb", "#f59e0b", "#10b981", "#94a3b8", "#a855f7", "#ef4444"]
WIDTH, LABEL_WIDTH, BAR_WIDTH, LINE_HEIGHT = 860, 330, 420, 18


def as_svg(results: Iterable[Result]) -> str:
    """Return an SVG with one bar for the median of each figure and target."""
    drawn: list[str] = []
    top = 10
    colors: dict[str, str] = {}
    for result in results:
        top += 2 * LINE_HEIGHT
        drawn.append(text_at(10, top - LINE_HEIGHT // 2, result.name, weight="bold"))
        for figure in SHOWN.get(result.name) or result.figures():
            top = _group(drawn, top, result, figure, colors)
    return document(WIDTH, top + 10, drawn)


def document(width: int, height: int, elements: Iterable[str]) -> str:
    """Return an SVG document with a white background."""
    body = "\n".join(elements)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _group(drawn: list[str], top: int, result: Result, figure: str, colors: dict[str, str]) -> int:
    """Append the bars of one figure to `drawn`, and return the y coordinate below them.

    Args:
        drawn: the elements of the SVG.
        top: the y coordinate of the first bar.
        result: the result that has the figure.
        figure: the name of the figure.
        colors: the color of each target, to which new targets are added.
    """
    values = {target: result.median(target, figure) for target in result.targets()}
    measured = {target: value for target, value in values.items() if not math.isnan(value)}
    largest = max([*measured.values(), 1e-9])  # never 0, because lengths are divided by it
    for target, value in measured.items():
        color = colors.setdefault(target, COLORS[len(colors) % len(COLORS)])
        length = max(1, round(value / largest * BAR_WIDTH))
        drawn.append(text_at(LABEL_WIDTH - 8, top + 13, f"{figure} - {target}", anchor="end"))
        drawn.append(
            f'<rect x="{LABEL_WIDTH}" y="{top + 2}" width="{length}" '
            f'height="{LINE_HEIGHT - 4}" fill="{color}"/>'
        )
        drawn.append(text_at(LABEL_WIDTH + length + 6, top + 13, number(value)))
        top += LINE_HEIGHT
    return top + LINE_HEIGHT // 2


def text_at(x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    """Return an SVG element with a text."""
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="#111">'
        f"{html.escape(text)}</text>"
    )
