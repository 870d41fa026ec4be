"""The model of capacities: it grows as its load does, and counts calls as the server makes them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.capacity import (
    EXAMPLES,
    LOCKERS,
    Costs,
    Load,
    calls,
    capacity,
    duration,
    main,
    report,
    table,
)
from benchmarks.capacity_check import Run, as_markdown, predicted_rate
from tus_wsgi.domain.model import GIB, KIB, MIB

DOCUMENT = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text(encoding="utf-8")

LOAD = Load(uploads_per_month=1e6, size=5 * MIB)


def test_the_document_contains_the_table_of_the_model() -> None:
    """To update it, paste the output of `python -m benchmarks.capacity --table`."""
    block = re.search(r"<!-- table:begin -->\n(.*)<!-- table:end -->", DOCUMENT, re.DOTALL)
    assert block is not None
    assert block[1] == table()


def test_the_document_contains_an_example_of_the_output() -> None:
    command = re.search(r"^python -m benchmarks\.capacity (--uploads.*)$", DOCUMENT, re.MULTILINE)
    assert command is not None
    assert command[1].split() == ["--uploads-per-month", "100e6", "--size", "5MiB"]
    assert report(replace(LOAD, uploads_per_month=100e6)) in DOCUMENT


def test_the_document_lists_the_costs_of_the_model() -> None:
    costs = Costs()
    for text in (
        f"| {costs.upload_cpu * 1000:.1f} ms |",
        f"| {costs.request_cpu * 1000:.1f} ms |",
        f"| {costs.gib_cpu:.1f} s |",
        f"| {costs.heartbeat_cpu * 1000:.1f} ms |",
        f"| {costs.worker_memory // MIB} MiB |",
        f"| {costs.connection_memory // KIB} KiB |",
        f"| {costs.connections} |",
    ):
        assert text in DOCUMENT


def test_the_command_accepts_what_the_document_shows(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--uploads-per-month", "100e6", "--size", "5MiB", "--locker", "s3"])
    assert "writes of DynamoDB" in capsys.readouterr().out


@pytest.mark.parametrize("locker", LOCKERS)
def test_more_load_never_needs_less(locker: str) -> None:
    load = replace(LOAD, locker=locker)
    for larger in (
        replace(load, uploads_per_month=100e6),
        replace(load, size=GIB),
        replace(load, peak=40.0),
        replace(load, requests=20),
        replace(load, resumes=3.0),
        replace(load, client_rate=64 * KIB),
    ):
        before, after = capacity(load), capacity(larger)
        assert after.workers >= before.workers
        assert after.writes >= before.writes
        assert after.reads >= before.reads
        assert sum(after.dollars.values()) >= sum(before.dollars.values())


@pytest.mark.parametrize(
    ("size", "writes", "reads"),
    [(100 * KIB, 2, 0), (16 * MIB, 2, 0), (40 * MIB, 7, 1)],
)
def test_an_upload_in_one_request_makes_the_calls_that_benchmarks_count(
    size: int, writes: int, reads: int
) -> None:
    """`python -m benchmarks costs`: 2 calls, or 8 for 40 MiB."""
    load = replace(LOAD, size=size, requests=1, resumes=0.0, locker="file")
    assert (calls(load).writes, calls(load).reads) == (writes, reads)


def test_locks_cost_what_their_page_says() -> None:
    """docs/locks.md: an hour of upload in one request."""
    hour = replace(LOAD, size=3600 * MIB, requests=1, resumes=0.0)
    assert duration(hour) == 3600
    assert calls(replace(hour, locker="dynamodb")).lock_writes == 2402
    free = calls(replace(hour, locker="file")).writes
    assert calls(replace(hour, locker="s3")).writes - free == 2401


def test_workers_follow_the_cpu_or_the_connections() -> None:
    busy = Load(uploads_per_month=100e6, size=100 * KIB, locker="file")
    slow = replace(busy, client_rate=KIB)
    assert capacity(slow).workers == pytest.approx(capacity(slow).running / 500, abs=1)
    assert capacity(busy).workers < capacity(slow).workers


def test_the_largest_example_has_a_thousand_workers() -> None:
    found = capacity(EXAMPLES[-1][1])
    assert 900 <= found.workers <= 1100


def test_a_prediction_is_limited_by_the_workers_or_the_machine() -> None:
    first = Run(workers=1, rate=90.0, server=0.01, everything=0.015, left=2.0)
    assert predicted_rate(first, first) == pytest.approx(100)
    second = Run(workers=4, rate=130.0, server=0.01, everything=0.015, left=2.0)
    assert predicted_rate(second, first) == pytest.approx(133.3, abs=0.1)
    assert as_markdown([first, second]).count("\n") == 4
