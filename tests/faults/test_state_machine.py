"""Random sequences of requests and faults: the file is stored as it was sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.faulty_s3 import FaultyS3
from tests.faults.state_machine import SharedUploadMachine, UploadMachine

pytestmark = [pytest.mark.faults, pytest.mark.property, pytest.mark.timeout(1200)]

EXAMPLES = [20, pytest.param(100, marks=pytest.mark.long)]
"""Each example is some hundred requests."""


@pytest.fixture(autouse=True)
def _few_parts_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record the number of stored parts after every second part, and forget the ETags of parts."""
    monkeypatch.setattr("tus_wsgi.stores.s3.appender.RECORD_INTERVAL", 2)
    monkeypatch.setattr("tus_wsgi.stores.s3.confirmed_parts.MAX_KEPT_PARTS", 1)


def run(machine: type[UploadMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.parametrize("examples", EXAMPLES)
def test_the_offset_never_decreases_and_the_bytes_are_the_file(
    faulty_s3: FaultyS3, examples: int
) -> None:
    """D-02, D-03, D-06, D-09: Create, append, cut, fail, restart, write late, finish, terminate."""
    UploadMachine.faulty_s3 = faulty_s3
    run(UploadMachine, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_cache_is_not_used_after_another_process_has_changed_the_upload(
    faulty_s3: FaultyS3, tmp_path: Path, examples: int
) -> None:
    """D-03: The same with two processes that share their locks and serve requests in turn."""
    SharedUploadMachine.faulty_s3 = faulty_s3
    SharedUploadMachine.lock_directory = tmp_path
    run(SharedUploadMachine, examples)
