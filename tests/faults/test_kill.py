"""A worker is killed at every S3 call in turn: another one goes on, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.matrix import Matrix
from tests.faults.server_under_test import Sites
from tests.harness.proxies.faults import Fault
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

BRIEF = ("created with parts", "pieces", "terminated midway", "no hook, one part")

MORE = (
    "created with one part",
    "deferred, long",
    "five parts",
    "no hook, one part in pieces",
    "no hook, terminated, finished",
    "terminated, finished",
    "joined across seams",
    "RUFH, parts",
    "RUFH, appended",
)


@pytest.fixture(scope="module")
def sites(ministack: S3Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    sites = Sites(ministack, tmp_path_factory.mktemp("killed"), workers=2)
    yield sites
    sites.close()


@pytest.mark.parametrize("fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER], ids=lambda one: one.value)
@pytest.mark.parametrize(
    "name", [*BRIEF, *(pytest.param(one, marks=pytest.mark.long) for one in MORE)]
)
def test_no_killed_worker_costs_a_byte(
    sites: Sites, matrix: Matrix, name: str, fault: Fault
) -> None:
    """C-44: the lock dies with its holder, and what was acknowledged is there."""
    bad = matrix.run_on_site("gunicorn, killed", sites.of(name), name, fault)
    assert not bad, "\n".join(bad)
