"""A worker is killed at every S3 call in turn; another worker resumes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.matrix import Matrix
from tests.faults.server_under_test import ServersUnderTest
from tests.harness.proxies.faults import Fault
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

NOT_LONG = ("created with parts", "three appends", "terminated midway", "no hook, one part")

LONG = (
    "created with one part",
    "deferred, long",
    "five parts",
    "no hook, one part, three appends",
    "no hook, terminated, finished",
    "terminated, finished",
    "concat, within parts",
    "RUFH, parts",
    "RUFH, appended",
)


@pytest.fixture(scope="module")
def servers(
    ministack: S3Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServersUnderTest]:
    servers = ServersUnderTest(ministack, tmp_path_factory.mktemp("killed"), workers=2)
    yield servers
    servers.close()


@pytest.mark.parametrize(
    "fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER], ids=lambda fault: fault.value
)
@pytest.mark.parametrize(
    "scenario", [*NOT_LONG, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)]
)
def test_no_byte_is_lost_when_a_worker_is_killed(
    servers: ServersUnderTest, matrix: Matrix, scenario: str, fault: Fault
) -> None:
    """C-44, D-03: The lock dies with its holder, and what was acknowledged is stored."""
    server = servers.for_scenario(scenario)
    failed = matrix.run_on_server("gunicorn, killed", server, scenario, fault)
    assert not failed, "\n".join(failed)
