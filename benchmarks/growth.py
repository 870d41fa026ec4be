"""Measure CPU time and S3 calls of a unit of work while the amount of work grows.

    python -m benchmarks growth [--rows uploads,parts]

Nothing may grow faster than its work: the cost of a unit at the largest amount is about that at a
middle amount. Each amount has servers of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.curves import Chart, as_svg
from benchmarks.growth_rows import ROWS, Row
from benchmarks.options import Options
from benchmarks.report import write_report
from benchmarks.results import Result, alternate, as_markdown
from benchmarks.testbed import ROOT, Testbed
from tus_wsgi.settings.values import parse_size

MAX_GROWTH = 1.5
"""A cost that grows more than this is reported. Below it is what other programs can cause."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """How the cost of a unit of work changes.

    Attributes:
        row: the name of the row.
        figure: the name of the cost.
        middle: the text of the middle amount.
        largest: the text of the largest amount.
        growth: the cost at the largest amount, divided by that at the middle amount.
    """

    row: str
    figure: str
    middle: str
    largest: str
    growth: float

    @property
    def is_met(self) -> bool:
        return self.growth <= MAX_GROWTH


def measure_row(row: Row, options: Options) -> Result:
    """Measure all amounts of a row. The columns of the result are the amounts."""
    adapted = row.adapt(options)

    def measure(amount: int) -> Mapping[str, float]:
        print(f"{row.name}: {row.text(amount)} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            own = dataclasses.replace(adapted, directory=Path(directory))
            with Testbed(own) as testbed:
                return row.measure(testbed, amount)

    measures = {row.text(amount): partial(measure, amount) for amount in row.amounts}
    samples = list(alternate(options.rounds, lambda: measures))
    return Result(row.name, row.description, samples)


def verdicts(row: Row, result: Result) -> Iterator[Verdict]:
    """Yield a verdict for each cost of a row that was measured."""
    middle, largest = (row.text(row.amounts[index]) for index in (len(row.amounts) // 2, -1))
    for figure in (*row.cpu, *row.calls):
        costs = [result.median(amount, figure) for amount in (middle, largest)]
        if costs[0] > 0 and not math.isnan(costs[1]):
            yield Verdict(row.name, figure, middle, largest, costs[1] / costs[0])


def verdicts_as_markdown(judged: Sequence[Verdict]) -> str:
    """Return a Markdown table."""
    lines = [
        "### Growth",
        "",
        "The cost of a unit at the largest amount, divided by that at the middle amount.",
        "",
        "| | from | to | grows | faster than its work |",
        "|---|---|---|---|---|",
    ]
    for verdict in judged:
        cells = [
            f"{verdict.row}: {verdict.figure}",
            verdict.middle,
            verdict.largest,
            f"{verdict.growth:.2f} x",
            "no" if verdict.is_met else "**yes**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(measured: Sequence[tuple[Row, Result]]) -> str:
    """Return an SVG with two charts: CPU time and S3 calls of a unit of work."""
    cpu, calls = (
        {
            f"{row.name}: {figure}": list(_points(row, result, figure))
            for row, result in measured
            for figure in getattr(row, kind)
        }
        for kind in ("cpu", "calls")
    )
    across = "amount, from the smallest"
    return as_svg(
        [
            Chart(f"CPU time of a unit of work (up) by {across}", cpu),
            Chart(f"S3 calls of a unit of work (up) by {across}", calls),
        ]
    )


def _points(row: Row, result: Result, figure: str) -> Iterator[tuple[float, float]]:
    for amount in row.amounts:
        cost = result.median(row.text(amount), figure)
        if amount > 0 and cost > 0:  # not NaN
            yield amount, cost


def write(measured: Sequence[tuple[Row, Result]], directory: Path, command: str) -> list[Verdict]:
    """Write `growth.json`, `growth.md` and `growth.svg`. Return the verdicts."""
    judged = [verdict for row, result in measured for verdict in verdicts(row, result)]
    write_report(
        directory / "growth",
        command,
        [result for _, result in measured],
        title="Growth",
        conclusions={
            "verdicts": [{**dataclasses.asdict(each), "is_met": each.is_met} for each in judged]
        },
        conclusion_table=verdicts_as_markdown(judged),
        plot=plot(measured),
    )
    return judged


def _parse_rows(text: str) -> list[Row]:
    names = text.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(unknown)}")
    return [ROWS[name] for name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = ",".join(ROWS)
    add("--rows", type=_parse_rows, default=names, help=f"rows to measure; default: {names}")
    add("--rounds", type=int, default=1, help="measurements of each amount")
    add("--size", type=parse_size, default="1GiB", help="bytes of the uploads of one figure")
    add("--output", type=Path, default=ROOT / "benchmarks" / "results", help="a directory")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Run the command line. Exit with 1 if a cost grows faster than its work."""
    given = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks", "growth", *arguments])
    measured: list[tuple[Row, Result]] = []
    judged: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="tus-bench-") as scratch:
        options = Options(
            directory=Path(scratch), rounds=given.rounds, size=given.size, has_peers=False
        )
        for row in given.rows:
            result = measure_row(row, options)
            print(as_markdown(result), flush=True)
            measured.append((row, result))
            # Write after each row, so that a later failure loses no results.
            judged = write(measured, given.output, command)
    print(verdicts_as_markdown(judged))
    print(f"written to {given.output}")
    sys.exit(any(not verdict.is_met for verdict in judged))
