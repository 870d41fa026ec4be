"""The goals of the project for its performance, compared with the medians of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.results import Result, number
from benchmarks.testbed import NODE, TUS_WSGI
from benchmarks.tusd import TUSD

BOTO3 = "boto3, CRC-32"
MEMORY_BUDGET = 256
"""The default of TUS_MEMORY_BUDGET in MiB."""

MEMORY_BESIDE_BUDGET = 60
"""MiB that a worker may use beside the budget."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound, which is a maximum or a minimum."""

    text: str
    value: float
    bound: float
    is_maximum: bool = True

    @property
    def is_met(self) -> bool:
        return self.value <= self.bound if self.is_maximum else self.value >= self.bound


def goals(results: Mapping[str, Result]) -> list[Goal]:
    """Return the goals whose figures were measured."""
    return [goal for goal in _all(results) if not math.isnan(goal.value)]


def as_markdown(measured: list[Goal]) -> str:
    """Return a Markdown table."""
    lines = ["### Goals", "", "| | measured | goal | met |", "|---|---|---|---|"]
    for goal in measured:
        sign = "<=" if goal.is_maximum else ">="
        is_met = "yes" if goal.is_met else "**no**"
        cells = [goal.text, number(goal.value), f"{sign} {number(goal.bound)}", is_met]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _all(results: Mapping[str, Result]) -> Iterator[Goal]:
    """Yield every goal. The value is NaN if one of its figures was not measured."""
    empty = Result("", "", [])
    large, many, small = (results.get(name, empty) for name in ("large", "many", "small"))
    yield Goal("large: wall time / boto3's", _ratio(large, "wall s", TUS_WSGI, BOTO3), 1.10)
    yield Goal("large: CPU / boto3's", _ratio(large, "CPU s/GiB", TUS_WSGI, BOTO3), 1.5)
    yield Goal("large: peak RSS, MiB", large.median(TUS_WSGI, "peak RSS MiB"), 130)
    node = _ratio(large, "CPU s/GiB", NODE, TUS_WSGI)
    yield Goal("large: @tus/server's CPU / tus_wsgi's", node, 8, is_maximum=False)
    yield Goal("many: failed", many.median(TUS_WSGI, "failed"), 0)
    most_memory = MEMORY_BUDGET + MEMORY_BESIDE_BUDGET
    yield Goal("many: peak RSS, MiB", many.median(TUS_WSGI, "peak RSS MiB"), most_memory)
    yield Goal("many: temporary files left", many.median(TUS_WSGI, "temporary files left"), 0)
    share = many.median(TUS_WSGI, "MiB/s") / large.median(TUS_WSGI, "MiB/s")
    yield Goal("many: throughput / large's", share, 0.9, is_maximum=False)
    cpu = many.median(TUS_WSGI, "CPU s/GiB") / large.median(TUS_WSGI, "CPU s/GiB")
    yield Goal("many: CPU / large's", cpu, 1.4)
    for mode in ("POST with data", "POST and PATCH"):
        rate = _ratio(small, f"{mode}: uploads/s", TUS_WSGI, NODE)
        yield Goal(f"small, {mode}: uploads/s / @tus/server's", rate, 2, is_maximum=False)
        calls = _ratio(small, f"{mode}: S3 calls/upload", TUS_WSGI, NODE)
        yield Goal(f"small, {mode}: S3 calls / @tus/server's", calls, 0.5)
    far, slow = results.get("far S3", empty), results.get("slow clients", empty)
    yield Goal("far S3: x of the link's limit", far.median(TUS_WSGI, "x of the link's limit"), 1.15)
    yield Goal("slow clients: rate kept", slow.median(TUS_WSGI, "rate kept"), 0.8, is_maximum=False)
    slow_memory = slow.median(TUS_WSGI, "peak RSS MiB")
    yield Goal("slow clients: peak RSS, MiB", slow_memory, most_memory)
    yield from _compared_with_tusd(large, many, small)


def _compared_with_tusd(large: Result, many: Result, small: Result) -> Iterator[Goal]:
    """Yield the goals that compare with tusd, which runs with the same settings."""
    yield Goal("large: wall time / tusd's", _ratio(large, "wall s", TUS_WSGI, TUSD), 1)
    yield Goal("large: CPU / tusd's", _ratio(large, "CPU s/GiB", TUS_WSGI, TUSD), 0.5)
    yield Goal("many: CPU / tusd's", _ratio(many, "CPU s/GiB", TUS_WSGI, TUSD), 0.7)
    for mode, most_cpu in (("POST with data", 0.9), ("POST and PATCH", 0.8)):
        cpu = _ratio(small, f"{mode}: CPU ms/upload", TUS_WSGI, TUSD)
        yield Goal(f"small, {mode}: CPU / tusd's", cpu, most_cpu)
        rate = _ratio(small, f"{mode}: uploads/s", TUS_WSGI, TUSD)
        yield Goal(f"small, {mode}: uploads/s / tusd's", rate, 1.1, is_maximum=False)
        p99 = _ratio(small, f"{mode}: p99 ms", TUS_WSGI, TUSD)
        yield Goal(f"small, {mode}: p99 / tusd's", p99, 1)


def _ratio(result: Result, figure: str, numerator: str, denominator: str) -> float:
    return result.median(numerator, figure) / result.median(denominator, figure)
