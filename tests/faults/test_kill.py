"""A worker is killed at every S3 call in turn; another worker resumes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.faults.matrix import Matrix
from tests.faults.server_under_test import ServersUnderTest
from tests.harness.proxies.faults import Fault
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SCENARIOS = (
    "created with parts",
    "three appends",
    "terminated midway",
    "no hook, one part",
    "created with one part",
    "deferred, long",
    "five parts",
    "no hook, one part, three appends",
    "no hook, terminated, finished",
    "terminated, finished",
    "concat, within parts",
    "RUFH, parts",
    "RUFH, appended",
    *("rejected, one part", "rejected, parts", "rejected after a failure", "rejected as planned"),
    *("terminated with a hook", "terminated, hook fails once", "terminated as planned"),
    *("planned and answered", "one part, planned", "answered, hook fails once"),
    *("hook fails once", "RUFH, answered"),
)


@pytest.fixture(scope="module")
def servers(
    ministack: S3Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServersUnderTest]:
    servers = ServersUnderTest(ministack, tmp_path_factory.mktemp("killed"), workers=2)
    yield servers
    servers.close()


NOT_LONG = (
    ("created with parts", Fault.KILL_AFTER),
    ("three appends", Fault.KILL_AFTER),
    ("terminated midway", Fault.KILL_AFTER),
    ("no hook, one part", Fault.KILL_BEFORE),
    ("rejected, one part", Fault.KILL_AFTER),
)
"""The cells of every run. They are few, because `test_matrix.py` tests the same states: a process
that dies at a call leaves the same as a process whose call fails."""


@pytest.mark.parametrize(
    ("scenario", "fault"),
    [
        pytest.param(*cell, marks=() if cell in NOT_LONG else pytest.mark.long)
        for cell in itertools.product(SCENARIOS, (Fault.KILL_BEFORE, Fault.KILL_AFTER))
    ],
)
def test_no_byte_is_lost_when_a_worker_is_killed(
    servers: ServersUnderTest, matrix: Matrix, scenario: str, fault: Fault
) -> None:
    """C-44, D-03: The lock dies with its holder, and what was acknowledged is stored."""
    server = servers.for_scenario(scenario)
    failed = matrix.run_on_server("gunicorn, killed", server, scenario, fault)
    assert not failed, "\n".join(failed)
