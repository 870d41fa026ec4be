"""The report of `python -m benchmarks growth`: which costs grow faster than their work."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.curves import Chart, as_svg
from benchmarks.growth import MAX_GROWTH, Verdict, main, verdicts, verdicts_as_markdown, write
from benchmarks.growth_rows import ROWS, Row
from benchmarks.results import Result, Sample, number

COST, CALLS = "CPU ms/request", "S3 calls/request"
AMOUNTS = (1, 10, 100)


ROW = Row(
    name="requests",
    description="",
    amounts=AMOUNTS,
    measure=lambda _testbed, _amount: {},
    cpu=(COST,),
    calls=(CALLS,),
)


def result_of(*costs: float, row: Row = ROW) -> Result:
    samples = [
        Sample(row.text(amount), 1, {COST: cost, CALLS: 2.0})
        for amount, cost in zip(row.amounts, costs, strict=True)
    ]
    return Result(row.name, "", samples)


@pytest.mark.parametrize(
    ("costs", "growth", "is_met"),
    [
        ((1.0, 2.0, 2.0), 1.0, True),
        ((1.0, 2.0, 2.0 * MAX_GROWTH), MAX_GROWTH, True),
        ((1.0, 2.0, 8.0), 4.0, False),
        ((9.0, 2.0, 1.0), 0.5, True),
    ],
    ids=["constant", "at the bound", "faster", "slower"],
)
def test_a_verdict_compares_the_largest_amount_with_the_middle_one(
    costs: tuple[float, ...], growth: float, *, is_met: bool
) -> None:
    cpu, calls = verdicts(ROW, result_of(*costs))
    assert cpu == Verdict("requests", COST, "10", "100", growth)
    assert cpu.is_met is is_met
    assert (calls.growth, calls.is_met) == (1.0, True)


@pytest.mark.parametrize("missing", [0.0, math.nan])
def test_a_cost_that_was_not_measured_gets_no_verdict(missing: float) -> None:
    assert [verdict.figure for verdict in verdicts(ROW, result_of(1.0, missing, 1.0))] == [CALLS]


def test_the_table_marks_what_grows_faster_than_its_work() -> None:
    table = verdicts_as_markdown(list(verdicts(ROW, result_of(1.0, 1.0, 3.0))))
    assert f"| requests: {COST} | 10 | 100 | 3.00 x | **yes** |" in table
    assert f"| requests: {CALLS} | 10 | 100 | 1.00 x | no |" in table


def test_a_report_has_figures_a_table_and_a_plot(tmp_path: Path) -> None:
    from_zero = replace(ROW, name="idle", amounts=(0, 10, 100))
    measured = [(ROW, result_of(1.0, 1.0, 1.0)), (from_zero, result_of(1, 1, 9, row=from_zero))]
    judged = write(measured, tmp_path, "a command")
    assert [verdict.is_met for verdict in judged] == [True, True, False, True]
    content = json.loads((tmp_path / "growth.json").read_text())
    assert len(content["verdicts"]) == 4
    assert content["about"]["command"] == "a command"
    assert "| CPU ms/request | 1.00 | 1.00 (1.00 x) |" in (tmp_path / "growth.md").read_text()
    plot = ET.fromstring((tmp_path / "growth.svg").read_text())
    assert [len(line) for line in points_of(plot)] == [3, 2, 3, 2]  # an amount of 0 has no place


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00421, "0.0042"), (0.5, "0.50"), (12.34, "12.3"), (1e4, "10,000")],
)
def test_small_costs_keep_their_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_curves_begin_at_one_and_are_logarithmic() -> None:
    plot = ET.fromstring(as_svg([Chart("", {"a": [(5, 2), (50, 20), (500, 200)], "b": [(1, 3)]})]))
    first, second = points_of(plot)
    assert first[0] == second[0]
    across = [x for x, _ in first]
    upward = [-y for _, y in first]
    for places in (across, upward):
        assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=1)
        assert places[1] > places[0]


def points_of(plot: ET.Element) -> list[list[tuple[float, float]]]:
    lines = plot.iter("{http://www.w3.org/2000/svg}polyline")
    return [
        [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in line.attrib["points"].split())
        ]
        for line in lines
    ]


def test_all_rows_are_measured_by_default_and_unknown_ones_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for row in ROWS.values():
        assert list(row.amounts) == sorted(set(row.amounts))
        assert len({row.text(amount) for amount in row.amounts}) == len(row.amounts)
    with pytest.raises(SystemExit):
        main(["--rows", "parts,typo"])
    assert "no such row: typo" in capsys.readouterr().err
