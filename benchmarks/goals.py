"""The project's performance goals, compared with the medians of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.results import Result, number
from benchmarks.testbed import NODE, TUS_WSGI

BOTO3 = "boto3, CRC-32"
MEMORY_BUDGET = 256
"""The default of TUS_MEMORY_BUDGET in MiB."""


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
    node = _ratio(large, "CPU s/GiB", NODE, TUS_WSGI)
    yield Goal("large: @tus/server's CPU / tus_wsgi's", node, 8, is_maximum=False)
    yield Goal("many: failed", many.median(TUS_WSGI, "failed"), 0)
    yield Goal("many: peak RSS, MiB", many.median(TUS_WSGI, "peak RSS MiB"), MEMORY_BUDGET + 100)
    yield Goal("many: temporary files left", many.median(TUS_WSGI, "temporary files left"), 0)
    share = many.median(TUS_WSGI, "MiB/s") / large.median(TUS_WSGI, "MiB/s")
    yield Goal("many: throughput / large's", share, 0.9, is_maximum=False)
    for mode in ("POST with data", "POST and PATCH"):
        rate = _ratio(small, f"{mode}: uploads/s", TUS_WSGI, NODE)
        yield Goal(f"small, {mode}: uploads/s / @tus/server's", rate, 2, is_maximum=False)
        calls = _ratio(small, f"{mode}: S3 calls/upload", TUS_WSGI, NODE)
        yield Goal(f"small, {mode}: S3 calls / @tus/server's", calls, 0.5)
    far, slow = results.get("far S3", empty), results.get("slow clients", empty)
    yield Goal("far S3: x of the link's limit", far.median(TUS_WSGI, "x of the link's limit"), 1.15)
    yield Goal("slow clients: rate kept", slow.median(TUS_WSGI, "rate kept"), 0.8, is_maximum=False)
    yield Goal(
        "slow clients: peak RSS, MiB", slow.median(TUS_WSGI, "peak RSS MiB"), MEMORY_BUDGET + 100
    )


def _ratio(result: Result, figure: str, numerator: str, denominator: str) -> float:
    return result.median(numerator, figure) / result.median(denominator, figure)
