"""What this project wants of itself, held against the medians of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.results import Result, number
from benchmarks.testbed import NODE, OURS

BOTO3 = "boto3, as here"
BUDGET = 256
"""MiB: the default of TUS_MEMORY_BUDGET."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound, at most or at least."""

    text: str
    value: float
    bound: float
    is_most: bool = True

    @property
    def is_met(self) -> bool:
        return self.value <= self.bound if self.is_most else self.value >= self.bound


def goals(results: Mapping[str, Result]) -> list[Goal]:
    """Those whose figures are there."""
    return [goal for goal in _all(results) if not math.isnan(goal.value)]


def as_markdown(found: list[Goal]) -> str:
    """A table."""
    lines = ["### What is wanted", "", "| | measured | wanted | |", "|---|---|---|---|"]
    for goal in found:
        sign = "<=" if goal.is_most else ">="
        verdict = "yes" if goal.is_met else "**no**"
        cells = [goal.text, number(goal.value), f"{sign} {number(goal.bound)}", verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _all(results: Mapping[str, Result]) -> Iterator[Goal]:
    empty = Result("", "", [])
    large, many, small = (results.get(name, empty) for name in ("large", "many", "small"))
    yield Goal("large: wall time / boto3's", _ratio(large, "wall s", OURS, BOTO3), 1.10)
    yield Goal("large: CPU / boto3's", _ratio(large, "CPU s/GiB", OURS, BOTO3), 1.5)
    node = _ratio(large, "CPU s/GiB", NODE, OURS)
    yield Goal("large: @tus/server's CPU / ours", node, 8, is_most=False)
    yield Goal("many: failed", many.median(OURS, "failed"), 0)
    yield Goal("many: peak RSS, MiB", many.median(OURS, "peak RSS MiB"), BUDGET + 100)
    yield Goal("many: temporary files left", many.median(OURS, "temporary files left"), 0)
    share = many.median(OURS, "MiB/s") / large.median(OURS, "MiB/s")
    yield Goal("many: throughput / large's", share, 0.9, is_most=False)
    for mode in ("POST with the bytes", "POST and PATCH"):
        rate = _ratio(small, f"{mode}: uploads/s", OURS, NODE)
        yield Goal(f"small, {mode}: uploads/s / @tus/server's", rate, 2, is_most=False)
        calls = _ratio(small, f"{mode}: S3 calls/upload", OURS, NODE)
        yield Goal(f"small, {mode}: S3 calls / @tus/server's", calls, 0.5)
    far, slow = results.get("far S3", empty), results.get("slow clients", empty)
    yield Goal("far S3: x of the line's limit", far.median(OURS, "x of the line's limit"), 1.15)
    yield Goal("slow clients: rate kept", slow.median(OURS, "kept"), 0.8, is_most=False)
    yield Goal("slow clients: peak RSS, MiB", slow.median(OURS, "peak RSS MiB"), BUDGET + 100)


def _ratio(result: Result, figure: str, above: str, below: str) -> float:
    return result.median(above, figure) / result.median(below, figure)
